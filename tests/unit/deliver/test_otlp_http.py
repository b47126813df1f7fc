"""The HTTP client against a real server on loopback."""

from __future__ import annotations

import gzip
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from time import time
from typing import Any

import pytest

from spanwise.deliver.answer import Fate
from spanwise.deliver.destinations import Destination
from spanwise.deliver.otlp_http import LONGEST_ANSWER, Client
from spanwise.errors import ConfigurationError


class Server(ThreadingHTTPServer):
    """Answers every request with ``status``, ``extra`` headers and ``content``; keeps what it got."""

    daemon_threads = True

    def __init__(self) -> None:
        self.status, self.extra, self.content = 200, {}, b""
        self.hang_up = self.hang_up_once = False
        self.requests: list[dict[str, Any]] = []
        self.connections: set[tuple[str, int]] = set()
        super().__init__(("127.0.0.1", 0), Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1/traces"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        server: Any = self.server
        body = self.rfile.read(int(self.headers["Content-Length"]))
        server.connections.add(self.client_address)
        server.requests.append({"path": self.path, "headers": self.headers, "body": body})
        if server.hang_up or server.hang_up_once:
            server.hang_up_once = False
            # Reset, not closed: what a crashed server leaves behind.
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            self.connection.close()
            self.close_connection = True
            return
        self.send_response(server.status)
        for name, value in server.extra.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(server.content)))
        self.end_headers()
        self.wfile.write(server.content)

    def log_message(self, *_: object) -> None:
        """Quiet."""


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield made
    made.shutdown()
    made.server_close()
    thread.join(60)


@pytest.fixture
def client() -> Iterator[Callable[..., Client]]:
    made: list[Client] = []

    def make(url: str, **more: Any) -> Client:
        made.append(Client(Destination(url=url, timeout=60, **more)))
        return made[-1]

    yield make
    for each in made:
        each.close()


def test_delivers_with_its_headers(server: Server, client: Callable[..., Client]) -> None:
    server.content = b"answer"
    answer = client(server.url + "?tenant=1", headers=(("authorization", "Bearer t"),)).send((b"body",))
    assert answer.delivered
    assert answer.body == b"answer"
    (request,) = server.requests
    assert request["path"] == "/v1/traces?tenant=1"
    assert request["body"] == b"body"
    assert request["headers"]["Content-Type"] == "application/x-protobuf"
    assert request["headers"]["Authorization"] == "Bearer t"
    assert "spanwise" in request["headers"]["User-Agent"]


def test_a_user_s_header_replaces_ours(server: Server, client: Callable[..., Client]) -> None:
    client(server.url, headers=(("User-Agent", "mine"),)).send(b"")
    assert server.requests[0]["headers"].get_all("User-Agent") == ["mine"]


def test_gzip_decodes_to_the_body(server: Server, client: Callable[..., Client]) -> None:
    body = b"the same again, " * 500
    assert client(server.url, gzip=True).send((body,)).delivered
    (request,) = server.requests
    assert request["headers"]["Content-Encoding"] == "gzip"
    assert len(request["body"]) < len(body) / 10
    assert gzip.decompress(request["body"]) == body


def test_a_redirect_is_not_followed_and_not_delivered(server: Server, client: Callable[..., Client]) -> None:
    server.status, server.extra = 307, {"Location": server.url + "/elsewhere"}
    answer = client(server.url).send((b"body",))
    assert (answer.fate, answer.reason) == (Fate.RETRY_FEW, "307")
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("status", "fate"),
    [
        (204, Fate.DELIVERED),
        (400, Fate.MALFORMED),
        (401, Fate.REFUSED),
        (404, Fate.REFUSED),
        (408, Fate.RETRY_FEW),
        (413, Fate.TOO_LARGE),
        (429, Fate.RETRY),
        (499, Fate.REFUSED),
        (500, Fate.RETRY_FEW),
        (501, Fate.RETRY_FEW),
        (502, Fate.RETRY),
        (503, Fate.RETRY),
        (504, Fate.RETRY),
        (505, Fate.RETRY_FEW),
        (700, Fate.RETRY_FEW),
    ],
)
def test_what_is_done_after_each_status(
    status: int, fate: Fate, server: Server, client: Callable[..., Client]
) -> None:
    server.status = status
    answer = client(server.url).send((b"body",))
    assert answer.fate is fate
    assert answer.retry_after is None
    assert answer.reason == ("" if answer.delivered else str(status))


@pytest.mark.parametrize(
    ("header", "least", "most"),
    [
        ("7", 7, 7),
        ("-3", 0, 0),
        (3600, 3000, 3600),  # the date so many seconds from now
        (-3600, 0, 0),
        ("soon", None, None),
    ],
)
def test_retry_after(
    header: str | int, least: int | None, most: int | None, server: Server, client: Callable[..., Client]
) -> None:
    told = header if isinstance(header, str) else formatdate(time() + header, usegmt=True)
    server.status, server.extra = 429, {"Retry-After": told}
    waited = client(server.url).send((b"body",)).retry_after
    if least is None:
        assert waited is None
    else:
        assert waited is not None
        assert least <= waited <= most  # type: ignore[operator]


def test_the_connection_is_kept(server: Server, client: Callable[..., Client]) -> None:
    sender = client(server.url)
    for status in (200, 503, 200, 400, 200):
        server.status, server.content = status, b"x" * 10
        sender.send((b"body",))
    assert len(server.requests) == 5
    assert len(server.connections) == 1


def test_a_stale_connection_is_replaced_unnoticed(server: Server, client: Callable[..., Client]) -> None:
    """A server whose idle time is over closes without a word; the next request finds out."""
    sender = client(server.url)
    assert sender.send((b"one",)).delivered
    server.hang_up_once = True
    assert sender.send((b"two",)).delivered
    assert [request["body"] for request in server.requests] == [b"one", b"two", b"two"]
    assert len(server.connections) == 2


def test_a_fresh_connection_that_fails_too_is_a_failure(
    server: Server, client: Callable[..., Client]
) -> None:
    sender = client(server.url)
    assert sender.send((b"one",)).delivered
    server.hang_up = True
    answer = sender.send((b"two",))
    assert answer.fate is Fate.RETRY
    assert len(server.requests) == 3  # the kept connection, then one attempt on a fresh one
    server.hang_up = False
    assert sender.send((b"three",)).delivered


def test_a_server_that_closes_after_each_answer(server: Server, client: Callable[..., Client]) -> None:
    server.extra = {"Connection": "close"}
    sender = client(server.url)
    assert all(sender.send((b"body",)).delivered for _ in range(3))
    assert len(server.connections) == 3


def test_a_reset_connection_is_tried_again_later(server: Server, client: Callable[..., Client]) -> None:
    server.hang_up = True
    answer = client(server.url).send((b"body",))
    assert answer.fate is Fate.RETRY
    assert answer.reason in ("ConnectionResetError", "RemoteDisconnected")
    assert len(server.requests) == 1


def test_nobody_listens(client: Callable[..., Client]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, not listening: refused
        answer = client(f"http://127.0.0.1:{taken.getsockname()[1]}/v1/traces").send((b"body",))
    assert (answer.fate, answer.reason) == (Fate.RETRY, "ConnectionRefusedError")


def test_a_server_that_never_answers_times_out(client: Callable[..., Client]) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        answer = client(f"http://127.0.0.1:{silent.getsockname()[1]}/").send((b"body",), timeout=0.1)
    assert (answer.fate, answer.reason) == (Fate.RETRY, "TimeoutError")


def test_an_endless_answer_is_cut(server: Server, client: Callable[..., Client]) -> None:
    server.content = b"x" * (LONGEST_ANSWER * 3)
    sender = client(server.url)
    assert len(sender.send((b"one",)).body) == LONGEST_ANSWER
    assert sender.send((b"two",)).delivered


@pytest.mark.parametrize("variable", ["http_proxy", "HTTP_PROXY"])
def test_the_environment_s_proxy_is_used(
    variable: str, server: Server, client: Callable[..., Client], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "no_proxy", "NO_PROXY", "REQUEST_METHOD"):
        monkeypatch.delenv(name, raising=False)
    proxy = server.url.removeprefix("http://").partition("/")[0]
    monkeypatch.setenv(variable, f"http://me:s%40cret@{proxy}")
    assert client("http://collector.invalid:4318/v1/traces").send((b"body",)).delivered
    (request,) = server.requests
    # Plain HTTP goes to a proxy by its whole address; CONNECT is refused by most for such ports.
    assert request["path"] == "http://collector.invalid:4318/v1/traces"
    assert request["headers"]["Host"] == "collector.invalid:4318"
    assert request["headers"]["Proxy-Authorization"] == "Basic bWU6c0BjcmV0"
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    assert client(server.url).send((b"body",)).delivered
    assert server.requests[1]["path"] == "/v1/traces"


@pytest.mark.parametrize(
    ("proxied", "exceptions"),
    [
        (True, ""),
        (True, "10.0.0.0/8,localhost,127.0.0.2"),
        (False, "127.0.0.1"),
        (False, "example.com, 127.0.0.1:{port}"),
        (False, "10.0.0.0/8, 127.0.0.0/8"),
    ],
)
def test_a_proxy_for_all_schemes_and_its_exceptions(
    proxied: bool,
    exceptions: str,
    server: Server,
    client: Callable[..., Client],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "no_proxy", "NO_PROXY", "REQUEST_METHOD"):
        monkeypatch.delenv(name, raising=False)
    there = server.url.removeprefix("http://").partition("/")[0]
    monkeypatch.setenv("ALL_PROXY", there)
    monkeypatch.setenv("NO_PROXY", exceptions.format(port=there.partition(":")[2]))
    assert client(server.url).send((b"body",)).delivered
    assert server.requests[0]["path"].startswith("http://") is proxied


def test_a_proxy_of_another_protocol_is_not_used(
    server: Server, client: Callable[..., Client], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("ALL_PROXY", "socks5://127.0.0.1:9")
    assert client(server.url).send((b"body",)).delivered
    assert server.requests[0]["path"] == "/v1/traces"


def test_a_missing_certificate_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="OTEL_EXPORTER_OTLP_CERTIFICATE"):
        Client(Destination(url="https://localhost", certificate=str(tmp_path / "no.pem")))


def test_tls(server: Server, client: Callable[..., Client], pair: tuple[str, str]) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*pair)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    url = server.url.replace("http:", "https:")
    assert client(url, certificate=pair[0]).send((b"body",)).delivered
    untrusting = client(url).send((b"body",))
    assert not untrusting.delivered
    assert untrusting.reason == "SSLCertVerificationError"
