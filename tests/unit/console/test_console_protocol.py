"""Senders that speak something else than HTTP/1.1 to the console's port."""

from __future__ import annotations

import contextlib
import logging
import socket
from typing import Any

import pytest

from spanwise.console import protocol, server
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


def test_what_is_no_request_is_told_of_once_a_minute(client: Any, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        answers = [say(client.port, b"\0\1\2\r\n\r\n") for _ in range(3)]
    assert all(answer.startswith(b"HTTP/1.1 400") for answer in answers)
    assert [record.getMessage() for record in caplog.records] == ["Invalid HTTP request received."]


HEAD = b"POST /v1/traces HTTP/1.1\r\nhost: localhost\r\n"
SLOW = {
    "says nothing": b"",
    "never ends its header": HEAD + b"x-slow: ",
    "never sends its body": HEAD + b"content-type: application/x-protobuf\r\ncontent-length: 100\r\n\r\n",
    "never ends its body": HEAD
    + b"content-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n5\r\n",
    "stays after its answer": b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n",
}


@pytest.mark.parametrize("slow", SLOW)
def test_slow_clients_keep_nobody_out(client: Any, slow: str) -> None:
    with contextlib.ExitStack() as held:
        for _ in range(server._MOST_CONNECTIONS + 20):
            one = held.enter_context(socket.create_connection(("127.0.0.1", client.port), timeout=60))
            one.sendall(SLOW[slow])
        assert client.get("/healthz").status == 200
        assert client.send(b"").status == 200


@pytest.mark.parametrize("slow", ["says nothing", "never ends its header", "never sends its body"])
def test_a_slow_client_is_cut_off(client: Any, monkeypatch: pytest.MonkeyPatch, slow: str) -> None:
    monkeypatch.setattr(protocol, "_HEADER_SECONDS", 0.05)
    monkeypatch.setattr(protocol, "_REQUEST_SECONDS", 0.05)
    with (
        contextlib.suppress(ConnectionResetError, BrokenPipeError),
        socket.create_connection(("127.0.0.1", client.port), timeout=60) as sock,
    ):
        sock.sendall(SLOW[slow])
        assert hear(sock) == b""


def test_the_second_request_of_a_connection_has_its_own_time(
    client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_connection(("127.0.0.1", client.port), timeout=60) as sock:
        sock.sendall(SLOW["stays after its answer"])
        hear_ok(sock)
        monkeypatch.setattr(protocol, "_HEADER_SECONDS", 0.05)
        sock.sendall(SLOW["stays after its answer"])
        hear_ok(sock)
        sock.sendall(SLOW["never ends its header"])
        with contextlib.suppress(ConnectionResetError):
            while sock.recv(65536):
                pass


def hear_ok(sock: socket.socket) -> None:
    """Reads one whole answer of the health, which may come in several pieces."""
    heard = b""
    while not heard.endswith(b'{"status":"ok"}'):
        piece = sock.recv(65536)
        assert piece, heard
        heard += piece
    assert b"200 OK" in heard


def test_a_client_that_does_not_read_its_answer_is_cut_off(
    console: RunningConsole, client: Any, monkeypatch: pytest.MonkeyPatch, make: Any
) -> None:
    monkeypatch.setattr(protocol, "_READING_SECONDS", 0.05)
    big = '{"a": "' + "x" * 8_000_000 + '"}'
    row = make.row(span_id=f"{1:016x}", trace_id=f"{1:032x}", attributes=big)
    console._store.submit(make.batch(row), 1).result()
    head = f"host: localhost\r\nauthorization: Bearer {console.token}\r\n\r\n"
    asked = f"GET /api/traces/{1:032x} HTTP/1.1\r\n{head}"
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.settimeout(60)
        sock.connect(("127.0.0.1", client.port))
        sock.sendall(asked.encode())
        until_cut(console)


def until_cut(console: RunningConsole) -> None:
    for _ in range(6000):
        if not console._server.server_state.connections:
            return
        console._thread.join(0.01)
    pytest.fail("the connection stays")
