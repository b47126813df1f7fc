"""A server that answers what a test says."""

from __future__ import annotations

import json
import threading
import urllib.parse
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

Answer = Callable[[BaseHTTPRequestHandler, dict[str, str]], None]


class Stub:
    """An HTTP server on loopback.

    Attributes:
        address: its base URL.
        asked: the forms that were posted, with their paths as ``path``.
        headers: those of the newest request.
    """

    def __init__(self) -> None:
        self.asked: list[dict[str, str]] = []
        self.headers: dict[str, str] = {}
        self.answer: Answer = lambda handler, form: send(handler, 200, success("matrix", []))
        stub = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
                form = {**dict(urllib.parse.parse_qsl(body)), "path": self.path}
                stub.asked.append(form)
                stub.headers = {key.lower(): value for key, value in self.headers.items()}
                stub.answer(self, form)

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.address = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()


def success(kind: str, result: Any, **more: Any) -> str:
    return json.dumps({"status": "success", "data": {"resultType": kind, "result": result}, **more})


def send(handler: BaseHTTPRequestHandler, status: int, text: str, **headers: str) -> None:
    handler.send_response(status)
    for name, value in headers.items():
        handler.send_header(name, value)
    handler.send_header("Content-Length", str(len(text.encode())))
    handler.end_headers()
    handler.wfile.write(text.encode())


@pytest.fixture
def stub() -> Iterator[Stub]:
    made = Stub()
    yield made
    made.server.shutdown()
    made.server.server_close()
