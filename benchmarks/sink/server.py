"""The receiving end, a process of its own: takes every arm's protocol, decodes when asked.

Bodies are kept as they come and decoded at ``GET /bench/received``, after the measurement, so that
decoding takes no time from what is measured on a machine with few cores.
Usage: python -m benchmarks.sink.server   (prints its port, ends with its standard input)
"""

from __future__ import annotations

import gzip
import json
import sys
import threading
import zlib
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

from benchmarks.sink import datadog, elastic, otlp, sentry
from benchmarks.sink.model import Point, Span
from benchmarks.sink.received import summary

__all__ = ["Handler", "decoded", "decompress"]

Decoder = Callable[[str, bytes], Iterator["Span | Point"]]

# Start of the path -> decoder, status and content type of the answer, answer.
PROTOCOLS: tuple[tuple[str, Decoder, int, str, bytes], ...] = (
    ("/v1/", otlp.decode, 200, "application/x-protobuf", b""),
    ("/v0.", datadog.decode, 200, "application/json", b'{"rate_by_service":{}}'),
    ("/api/", sentry.decode, 200, "application/json", b'{"id":"0"}'),
    ("/intake/v2/", elastic.decode, 202, "application/json", b""),
)
# What clients ask before they send.
QUESTIONS = {
    "/": {"version": "8.15.0", "publish_ready": True},
    "/info": {"version": "7.60.0", "endpoints": ["/v0.4/traces", "/v0.5/traces"], "client_drop_p0s": False},
}


def decompress(body: bytes, encoding: str) -> bytes:
    """The body without its content encoding (gzip, deflate or none)."""
    if encoding == "gzip":
        return gzip.decompress(body)
    return zlib.decompress(body) if encoding == "deflate" else body


def decoded(path: str, encoding: str, body: bytes) -> Iterator[Span | Point]:
    """The records of one request; none where the path is nobody's."""
    for start, decode, *_ in PROTOCOLS:
        if path.startswith(start):
            yield from decode(path, decompress(body, encoding))
            return


class Handler(BaseHTTPRequestHandler):
    """One client connection."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # else an answer in two writes waits 40 ms for an acknowledgement
    requests: ClassVar[list[tuple[str, str, bytes]]] = []

    def do_GET(self) -> None:
        """Answers the clients' questions and ours."""
        if self.path == "/bench/received":
            taken = list(self.requests)
            found = summary(record for request in taken for record in decoded(*request))
            found["requests"] = len(taken)
            found["bytes"] = sum(len(body) for _, _, body in taken)
            self._answer(200, "application/json", json.dumps(found).encode())
        elif self.path in QUESTIONS:
            self._answer(200, "application/json", json.dumps(QUESTIONS[self.path]).encode())
        else:
            self._answer(404, "application/json", b"{}")

    def do_POST(self) -> None:
        """Keeps the body."""
        body = self._body()
        if self.path == "/bench/reset":
            self.requests.clear()
            self._answer(200, "application/json", b"{}")
            return
        for start, _, status, content_type, answer in PROTOCOLS:
            if self.path.startswith(start):
                self.requests.append((self.path, self.headers.get("Content-Encoding", ""), body))
                self._answer(status, content_type, answer)
                return
        self._answer(404, "application/json", b"{}")

    do_PUT = do_POST

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        pieces = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            pieces.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(pieces)

    def _answer(self, status: int, content_type: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Quiet."""


def main() -> None:
    """Serves until standard input closes, which it does when the harness ends, however it ends."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(server.server_address[1], flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
