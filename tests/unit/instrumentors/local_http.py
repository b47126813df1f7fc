"""An HTTP server of a test's own, whose paths say what it does."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

__all__ = ["Local", "serving"]


class Local:
    """A server under way.

    Attributes:
        base: its address, ``http://127.0.0.1:PORT``.
        port: the port.
        requests: method, path and headers (names in lower case) of each request, in their order.
    """

    def __init__(self, port: int, requests: list[tuple[str, str, dict[str, str]]]) -> None:
        self.port = port
        self.base = f"http://127.0.0.1:{port}"
        self.requests = requests

    @property
    def sent(self) -> list[str]:
        """The ``traceparent`` of each request."""
        return [headers.get("traceparent", "") for _, _, headers in self.requests]


@contextmanager
def serving() -> Iterator[Local]:
    """Serves on loopback until the block's end."""
    requests: list[tuple[str, str, dict[str, str]]] = []
    failed: Counter[str] = Counter()
    release = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            parts = urlsplit(self.path)  # whole where this is a proxy
            headers = {name.lower(): ", ".join(self.headers.get_all(name, ())) for name in self.headers}
            requests.append((self.command, self.path, headers))
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            kind, *rest = parts.path.strip("/").split("/")
            getattr(self, f"on_{kind}", self.on_ok)(*rest)

        do_GET = do_POST = do_PUT = do_HEAD = do_DELETE = do_BREW = do_OPTIONS = answer

        def tell(self, status: int, body: bytes = b"fine", **headers: str) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name.replace("_", "-"), value)
            self.send_header("X-Told", "told")
            if status != 204:
                self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD" and status != 204:
                self.wfile.write(body)

        def on_ok(self, *_: str) -> None:
            self.tell(200)

        def on_status(self, status: str) -> None:
            self.tell(int(status), b"" if status == "204" else b"so it is")

        def on_headers(self) -> None:
            self.tell(200, json.dumps(dict(self.headers.items())).encode())

        def on_redirect(self, hops: str, status: str = "302") -> None:
            left = int(hops)
            self.tell(int(status), Location=f"/redirect/{left - 1}" if left > 1 else "/ok")

        def on_nowhere(self) -> None:
            self.tell(302)

        def on_flaky(self, key: str, times: str) -> None:
            if failed[key] < int(times):
                failed[key] += 1
                self.tell(503)
            else:
                del failed[key]
                self.tell(200)

        def on_login(self) -> None:
            if "Authorization" in self.headers:
                self.tell(200)
            else:
                self.tell(401, WWW_Authenticate='Basic realm="shop"')

        def on_cut(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", "100")
            self.end_headers()
            self.wfile.write(b"only this")
            self.close_connection = True

        def on_chunks(self) -> None:
            self.send_response(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            for part in (b"2\r\nab\r\n", b"1\r\nc\r\n", b"0\r\n\r\n"):
                self.wfile.write(part)

        def on_hang(self) -> None:
            self.close_connection = True
            release.wait(60)

        def on_drop(self) -> None:
            self.close_connection = True

        def log_message(self, *_: Any) -> None:
            """Nothing on the terminal."""

    class Server(ThreadingHTTPServer):
        def handle_error(self, *_: Any) -> None:
            """Clients of these tests go away when they like."""

    server = Server(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield Local(server.server_address[1], requests)
    finally:
        release.set()
        server.shutdown()
        server.server_close()
        thread.join(60)
