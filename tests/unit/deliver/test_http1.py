"""One exchange has one deadline, whatever the server does; and what counts as an answer."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import misbehaving
from spanwise.deliver.answer import Answer, Fate
from spanwise.deliver.destinations import Destination
from spanwise.deliver.http1 import Connection
from spanwise.deliver.http1_answer import LONGEST_HEAD, BadAnswer, Response
from spanwise.deliver.otlp_http import Client

LONG = 30.0


def send(url: str, timeout: float = 0.3, body: bytes = b"body", **more: str) -> Answer:
    """Sends once. Fails where that does not come back: each of these servers goes on for ever."""
    client = Client(Destination(url=url, **more))
    answers: list[Answer] = []
    thread = threading.Thread(target=lambda: answers.append(client.send((body,), timeout)), daemon=True)
    thread.start()
    thread.join(LONG)
    client.close()
    assert answers, "held past every time-out"
    return answers[0]


@pytest.mark.parametrize(
    "behaviour",
    [
        misbehaving.dripping(b"", misbehaving.CONTINUE),
        misbehaving.dripping(b"HTTP/1.1 100 Continue\r\nx: ", b"y"),
        misbehaving.dripping(b"", b"H"),
        misbehaving.dripping(b"HTTP/1.1 200 OK\r\n", b"a: b\r\n"),
        misbehaving.dripping(b"HTTP/1.1 200 OK\r\nx-long: ", b"y"),
        misbehaving.dripping(b"HTTP/1.1 200 OK\r\ncontent-length: 60000\r\n\r\n", b"\0"),
        misbehaving.dripping(b"HTTP/1.1 200 OK\r\n\r\n", b"\0"),
        misbehaving.dripping(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", b"1\r\n\0\r\n"),
        misbehaving.dripping(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n", b"t: r\r\n"),
        misbehaving.wait_for_close,
    ],
    ids=[
        "endless 100 Continue",
        "endless header of a 100 Continue",
        "status line",
        "headers",
        "one header",
        "body of a length",
        "body until the end",
        "chunks",
        "trailers",
        "nothing",
    ],
)
def test_a_server_that_drips_is_left_in_time(behaviour: misbehaving.Behaviour) -> None:
    with misbehaving.server(behaviour) as address:
        answer = send(f"http://{address}/")
    assert (answer.fate, answer.reason) == (Fate.RETRY, "TimeoutError")


def test_a_server_that_reads_nothing_or_a_little_is_left_in_time() -> None:
    def sip(connection: socket.socket) -> None:
        while connection.recv(10):
            threading.Event().wait(0.02)

    for behaviour in (sip, lambda connection: threading.Event().wait(LONG)):
        with misbehaving.server(behaviour) as address:
            answer = send(f"http://{address}/", body=b"x" * 30_000_000)
        assert (answer.fate, answer.reason) == (Fate.RETRY, "TimeoutError")


@pytest.mark.parametrize(
    "flood", [misbehaving.CONTINUE, b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 100, b"x" * 1000]
)
def test_a_server_that_floods_is_left_at_once(flood: bytes) -> None:
    """With an hour to go: reading all of it would take that hour of the processor."""

    def behave(connection: socket.socket) -> None:
        misbehaving.read_request(connection)
        while True:
            connection.sendall(flood * 100)

    with misbehaving.server(behave) as address:
        answer = send(f"http://{address}/", timeout=3600.0)
    assert (answer.fate, answer.reason) == (Fate.RETRY, "BadAnswer")


def test_an_address_that_does_not_answer_leaves_time_for_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    found = socket.getaddrinfo
    # The server's backlog is full: a connection to it is neither made nor refused.
    with socket.socket() as full, misbehaving.server(misbehaving.answering(misbehaving.OK)) as address:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        waiting = [socket.socket() for _ in range(8)]
        for each in waiting:
            each.setblocking(False)
            each.connect_ex(full.getsockname())
        port = int(address.rpartition(":")[2])
        there = [*found(*full.getsockname(), type=socket.SOCK_STREAM)]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: there + found("127.0.0.1", port))
        assert send("http://two.addresses/", timeout=1.0).delivered
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: there * 3)
        assert send("http://three.addresses/").reason == "TimeoutError"
        for each in waiting:
            each.close()


@pytest.fixture
def tls(pair: tuple[str, str]) -> Callable[[misbehaving.Behaviour], misbehaving.Behaviour]:
    """Puts TLS before a behaviour; the authority is the pair's certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*pair)

    def encrypted(behaviour: misbehaving.Behaviour) -> misbehaving.Behaviour:
        return lambda connection: behaviour(context.wrap_socket(connection, server_side=True))

    return encrypted


def test_the_deadline_holds_for_tls_too(
    tls: Callable[[misbehaving.Behaviour], misbehaving.Behaviour], pair: tuple[str, str]
) -> None:
    drip = misbehaving.dripping(b"HTTP/1.1 200 OK\r\ncontent-length: 60000\r\n\r\n", b"\0")
    for behaviour in (tls(drip), misbehaving.wait_for_close):
        with misbehaving.server(behaviour) as address:
            answer = send(f"https://{address}/", certificate=pair[0], timeout=0.5)
        assert (answer.fate, answer.reason) == (Fate.RETRY, "TimeoutError")
    with misbehaving.server(tls(misbehaving.answering(misbehaving.OK))) as address:
        certificate = pair[0]
        assert send(
            f"https://{address}/", certificate=certificate, body=b"x" * 5_000_000, timeout=LONG
        ).delivered


def test_a_connection_that_a_server_of_tls_has_closed_is_replaced_unnoticed(
    tls: Callable[[misbehaving.Behaviour], misbehaving.Behaviour], pair: tuple[str, str]
) -> None:
    """However large the next request is: what fails is its sending, with an error of TLS's own."""
    with misbehaving.server(tls(misbehaving.answering(misbehaving.OK))) as address:
        client = Client(Destination(url=f"https://{address}/", certificate=pair[0]))
        for body in (b"small", b"x" * 5_000_000, b"x" * 5_000_000):
            answer = client.send((body,), LONG)
            assert answer.delivered, answer
        client.close()


def test_a_proxy_s_tunnel_is_used_and_may_drip_no_longer(
    tls: Callable[[misbehaving.Behaviour], misbehaving.Behaviour],
    pair: tuple[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[bytes] = []

    def proxy(connection: socket.socket) -> None:
        asked.append(connection.recv(65536))
        connection.sendall(b"HTTP/1.0 200 Connection established\r\nvia: x\r\n\r\n")
        tls(misbehaving.answering(misbehaving.OK))(connection)

    monkeypatch.delenv("no_proxy", raising=False)
    certificate = pair[0]
    with misbehaving.server(proxy) as address:
        monkeypatch.setenv("https_proxy", f"http://me:secret@{address}")
        assert send("https://127.0.0.1:4318/", certificate=certificate, timeout=LONG).delivered
    assert asked[0].startswith(b"CONNECT 127.0.0.1:4318 HTTP/1.1\r\n")
    assert b"proxy-authorization: Basic bWU6c2VjcmV0\r\n" in asked[0]
    for behaviour, reason in (
        (lambda connection: connection.sendall(b"HTTP/1.1 407 No\r\n\r\n"), "ProxyRefused"),
        (misbehaving.wait_for_close, "TimeoutError"),
    ):
        with misbehaving.server(behaviour) as address:
            monkeypatch.setenv("https_proxy", f"http://{address}")
            assert send("https://127.0.0.1:4318/", certificate=certificate).reason == reason


def post(answer: bytes, *, byte_by_byte: bool = False) -> Response | type[OSError]:
    """What a connection makes of an answer; the class of its error where it makes nothing of it."""

    def behave(connection: socket.socket) -> None:
        misbehaving.read_request(connection)
        for part in (answer[at : at + 1] for at in range(len(answer))) if byte_by_byte else (answer,):
            connection.sendall(part)
        connection.shutdown(socket.SHUT_WR)
        misbehaving.wait_for_close(connection)

    with misbehaving.server(behave) as address:
        host, _, port = address.rpartition(":")
        connection = Connection(host, int(port))
        try:
            return connection.post("/", {"host": "x"}, (b"body",), time.monotonic() + LONG, 1000)
        except OSError as error:
            return type(error)
        finally:
            connection.close()


@pytest.mark.parametrize(
    ("answer", "status", "body"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", 200, b"ok"),
        (b"HTTP/1.1 200\nX: y\nContent-Length: 2\n\nok", 200, b"ok"),
        (b"HTTP/1.0 503 Later\r\n\r\nuntil the end", 503, b"until the end"),
        (b"HTTP/1.1 204 No\r\n\r\n", 204, b""),
        (misbehaving.CONTINUE * 3 + b"HTTP/1.1 103 Hints\r\nlink: x\r\n\r\n" + misbehaving.OK, 200, b"ok"),
        (
            b"HTTP/1.1 200 \r\nTransfer-Encoding: chunked\r\n\r\n2;x=y\r\nab\r\n1\r\nc\r\n0\r\nt: r\r\n\r\n",
            200,
            b"abc",
        ),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n7d0\r\n" + b"x" * 2000, 200, b"x" * 1000),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2000\r\n\r\n" + b"x" * 2000, 200, b"x" * 1000),
        (b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 2000, 200, b"x" * 1000),
    ],
)
def test_answers(answer: bytes, status: int, body: bytes) -> None:
    for byte_by_byte in (False, True):
        response = post(answer, byte_by_byte=byte_by_byte)
        assert isinstance(response, Response)
        assert (response.status, response.body) == (status, body)


@pytest.mark.parametrize(
    "answer",
    [
        b"\x00\x00\x12\x04\x00\x00\x00\x00\x00\x00\x03\x00\x00\x00d\n\n",  # HTTP/2: the port is gRPC's
        b"220 mail.example ESMTP\r\n",
        b"HTTP/1.1 OK\r\n\r\n",
        b"HTTP/1.1 20\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: two\r\n\r\nok",
        "HTTP/1.1 200 OK\r\ncontent-length: ²\r\n\r\nok".encode("latin-1"),
        b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nx\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n-1\r\n",
        b"HTTP/1.1 200 OK\r\nx: " + b"y" * LONGEST_HEAD,
        misbehaving.CONTINUE * 3000,
        b"HTTP/1.1 200 OK\r\n",
    ],
)
def test_what_is_no_answer(answer: bytes) -> None:
    assert post(answer) is BadAnswer


WORDS = [b"HTTP/1.1 ", b"200", b" OK", b"\r\n", b"\n", b"content-length: ", b"3", b"transfer-encoding: "]
WORDS += [b"chunked", b"connection: close", b"\0", b"abc", b"100", b"ff", b";", b":", misbehaving.CONTINUE]


@settings(max_examples=60)
@given(st.lists(st.sampled_from(WORDS) | st.binary(max_size=8), max_size=24).map(b"".join))
def test_whatever_comes_it_is_an_answer_or_an_os_error(answer: bytes) -> None:
    made = post(answer)
    assert isinstance(made, Response) or issubclass(made, OSError)


def test_a_refusal_before_the_whole_request_was_read_is_understood() -> None:
    """As nginx and the Collector refuse what is too large: they answer, and read no further."""

    def refuse(connection: socket.socket) -> None:
        connection.recv(1000)
        connection.sendall(b"HTTP/1.1 413 Too large\r\nconnection: close\r\ncontent-length: 0\r\n\r\n")
        connection.close()  # with bytes unread: a reset

    with misbehaving.server(refuse) as address:
        answer = send(f"http://{address}/", timeout=LONG, body=b"x" * 30_000_000)
    assert (answer.fate, answer.reason) == (Fate.TOO_LARGE, "413")


def test_a_request_goes_out_whole_and_in_order_whatever_its_pieces() -> None:
    bodies: list[bytes] = []

    def take(connection: socket.socket) -> None:
        while True:
            bodies.append(misbehaving.read_request(connection))
            connection.sendall(misbehaving.OK)

    pieces = [
        bytes([number % 251]) * size for number, size in enumerate([1, 70_000, 0, 5, 16_384, 16_383, 9])
    ]
    views = [memoryview(piece) for piece in pieces]
    with misbehaving.server(take) as address:
        client = Client(Destination(url=f"http://{address}/"))
        assert client.send(pieces, LONG).delivered
        assert client.send(views, LONG).delivered
        assert client.send((), LONG).delivered
        client.close()
    assert bodies == [b"".join(pieces), b"".join(pieces), b""]


def test_no_header_can_end_the_header(caplog: pytest.LogCaptureFixture) -> None:
    heads: list[bytes] = []

    def take(connection: socket.socket) -> None:
        heads.append(connection.recv(65536))
        connection.sendall(misbehaving.OK)

    headers = (
        ("good", "tab\tis fine"),
        ("bad", "x\r\nadded: y"),
        ("a: b\r\nc", "d"),
        ("nul", "\0"),
        ("é", "x"),
    )
    with misbehaving.server(take) as address:
        client = Client(Destination(url=f"http://{address}/a b\u00e9?q=%20", headers=headers))
        assert client.send((), LONG).delivered
        client.close()
    assert heads[0].startswith(b"POST /a%20b%C3%A9?q=%20 HTTP/1.1\r\n")
    assert b"good: tab\tis fine\r\n" in heads[0]
    assert not any(word in heads[0] for word in (b"added", b"bad", b"c: d", b"nul"))
    assert caplog.text.count("is left out") == 4
