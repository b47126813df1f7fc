"""A server that answers byte by byte as a test says, on a free port of loopback."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator

Behaviour = Callable[[socket.socket], None]

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


@contextlib.contextmanager
def server(behaviour: Behaviour) -> Iterator[str]:
    """Calls ``behaviour`` with each connection, on a thread of its own; yields the server's address."""
    over = threading.Event()
    connections: list[socket.socket] = []

    def serve(connection: socket.socket) -> None:
        with contextlib.suppress(OSError):
            behaviour(connection)

    def accept() -> None:
        while not over.is_set():
            with contextlib.suppress(OSError):
                connection, _ = listening.accept()
                connections.append(connection)
                threading.Thread(target=serve, args=(connection,), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        try:
            yield f"127.0.0.1:{listening.getsockname()[1]}"
        finally:
            over.set()
            with contextlib.suppress(OSError):
                listening.shutdown(socket.SHUT_RDWR)
            for connection in connections:
                connection.close()
            thread.join(20)


def read_request(connection: socket.socket) -> bytes:
    """A whole request of a known length: its body."""
    data = b""
    while b"\r\n\r\n" not in data:
        data += _some(connection)
    head, _, body = data.partition(b"\r\n\r\n")
    lines = head.decode().lower().split("\r\n")
    length = next(int(line.split(":")[1]) for line in lines if line.startswith("content-length:"))
    while len(body) < length:
        body += _some(connection)
    return body


def answering(answer: bytes, *, then_close: bool = True) -> Behaviour:
    """Reads a request and sends these bytes."""

    def behave(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(answer)
        if then_close:
            connection.close()
        else:
            wait_for_close(connection)

    return behave


def dripping(first: bytes, drop: bytes) -> Behaviour:
    """Reads a request, sends ``first``, and then ``drop`` again and again, for ever: always a little more."""

    def behave(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(first)
        while True:
            connection.sendall(drop)
            threading.Event().wait(0.02)

    return behave


def wait_for_close(connection: socket.socket) -> None:
    """Returns when the other side has closed."""
    while connection.recv(4096):
        pass


def _some(connection: socket.socket) -> bytes:
    data = connection.recv(65536)
    if not data:
        raise OSError("closed")
    return data
