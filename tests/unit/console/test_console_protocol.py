"""Senders that speak something else than HTTP/1.1 to the console's port."""

from __future__ import annotations

import logging
import socket
from typing import Any

import pytest

from spanwise.console.server import RunningConsole

HTTP2 = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(9)
TLS = b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00"


def hear(sock: socket.socket) -> bytes:
    heard = b""
    while chunk := sock.recv(4096):
        heard += chunk
    return heard


def say(port: int, data: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=60) as sock:
        sock.sendall(data)
        return hear(sock)


@pytest.mark.parametrize(("data", "names"), [(HTTP2, "gRPC client"), (TLS, "https://")])
def test_a_sender_of_another_protocol_is_named_once_with_what_to_set(
    console: RunningConsole, client: Any, caplog: pytest.LogCaptureFixture, data: bytes, names: str
) -> None:
    with caplog.at_level(logging.WARNING):
        answers = [say(client.port, data) for _ in range(3)]
    (line,) = [record.getMessage() for record in caplog.records]
    assert names in line
    for told in ("OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf", console.otlp_endpoint):
        assert told in line
        assert all(told.encode() in answer for answer in answers)
    assert all(answer.startswith(b"HTTP/1.1 400") for answer in answers)
    assert client.get("/healthz").status == 200


def test_a_body_that_begins_like_another_protocol_is_a_body(
    client: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Only how a connection begins tells the protocol; a body may arrive in a packet of its own."""
    head = (
        "POST /v1/traces HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/x-protobuf\r\n"
        f"content-length: {len(HTTP2)}\r\nexpect: 100-continue\r\nconnection: close\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", client.port), timeout=60) as sock:
        sock.sendall(head.encode())
        assert sock.recv(4096).startswith(b"HTTP/1.1 100")
        sock.sendall(HTTP2)
        assert b"not a valid ExportTraceServiceRequest" in hear(sock)
    assert not caplog.records
