"""What an HTTP/1.1 server answers, read before a deadline (RFC 9112)."""

from __future__ import annotations

import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["LONGEST_HEAD", "AnswerReader", "BadAnswer", "RemoteDisconnected", "Response", "left"]

# Interim answers and the header of the last, in bytes: servers send some hundred.
LONGEST_HEAD = 64 * 1024
_AT_ONCE = 64 * 1024


class BadAnswer(OSError):
    """What came back is no answer of an HTTP/1.1 server: perhaps the port speaks another protocol."""


class RemoteDisconnected(ConnectionResetError):
    """The server closed the connection before its answer began."""


@dataclass(frozen=True, slots=True)
class Response:
    """An answer.

    Attributes:
        status: 200 to 999.
        headers: by name in lower case; of several with one name the last.
        body: its beginning, as long as was asked for.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes


def left(deadline: float) -> float:
    """Seconds until the deadline.

    Raises:
        TimeoutError: there are none.
    """
    seconds = deadline - time.monotonic()
    if seconds <= 0:
        raise TimeoutError("timed out")
    return seconds


class AnswerReader:
    """What comes back on a connection, until the deadline.

    Args:
        connection: blocking; its time-out is set anew for each read.
        deadline: monotonic seconds.
    """

    def __init__(self, connection: socket.socket, deadline: float) -> None:
        self._connection = connection
        self._deadline = deadline
        self._head_bytes = 0
        self._buffer = bytearray()

    def answer(self, longest: int) -> tuple[Response, bool]:
        """The final answer, with ``longest`` bytes of its body, and whether the connection can be used again.

        Raises:
            BadAnswer: it is none.
            RemoteDisconnected: there is none.
            TimeoutError: the deadline passed.
        """
        while True:
            status, keeps, headers = self.head()
            if not 100 <= status < 200:
                break
        keeps = keeps and "close" not in headers.get("connection", "").lower()
        length = headers.get("content-length")
        if status in (204, 304):
            body, whole = b"", True
        elif "chunked" in headers.get("transfer-encoding", "").lower():
            body, whole = self._chunks(longest)
        elif length is not None:
            if not length.isdecimal():
                raise BadAnswer("a body of no length")
            body, whole = self._take(int(length), longest)
        else:
            body, whole = self._rest(longest), False
        return Response(status, headers, body), keeps and whole and not self._buffer

    def _more(self) -> bool:
        """Reads what is there; False where the server has closed."""
        self._connection.settimeout(left(self._deadline))
        data = self._connection.recv(_AT_ONCE)
        self._buffer += data
        return bool(data)

    def _line(self) -> bytes:
        """The next line, without its end."""
        while (end := self._buffer.find(b"\n")) < 0:
            if len(self._buffer) > LONGEST_HEAD:
                raise BadAnswer("the header has no end")
            if not self._more():
                raise BadAnswer("the answer was cut off")
        line = bytes(self._buffer[:end]).rstrip(b"\r")
        del self._buffer[: end + 1]
        self._head_bytes += end + 1
        if self._head_bytes > LONGEST_HEAD:
            raise BadAnswer("the header has no end")
        return line

    def head(self) -> tuple[int, bool, dict[str, str]]:
        """Status, whether the server keeps connections by itself, and headers of the next answer."""
        if not self._buffer and not self._more():
            raise RemoteDisconnected("no answer")
        version, _, rest = self._line().partition(b" ")
        status = rest[:3]
        if version not in (b"HTTP/1.1", b"HTTP/1.0") or not status.isdigit() or len(status) < 3:
            raise BadAnswer("no HTTP/1.1")
        headers: dict[str, str] = {}
        while line := self._line():
            name, _, value = line.decode("latin-1").partition(":")
            headers[name.strip().lower()] = value.strip()
        return int(status), version == b"HTTP/1.1", headers

    def _take(self, size: int, longest: int) -> tuple[bytes, bool]:
        """The next ``size`` bytes, ``longest`` at most, and whether that was all."""
        wanted = min(size, longest)
        while len(self._buffer) < wanted:
            if not self._more():
                raise BadAnswer("the answer was cut off")
        taken = bytes(self._buffer[:wanted])
        del self._buffer[:wanted]
        return taken, wanted == size

    def _rest(self, longest: int) -> bytes:
        """What comes until the server closes, ``longest`` bytes at most."""
        while len(self._buffer) < longest and self._more():
            pass
        return bytes(self._buffer[:longest])

    def _chunks(self, longest: int) -> tuple[bytes, bool]:
        """A body in chunks, ``longest`` bytes at most, and whether that was all."""
        body = b""
        while True:
            size = self._chunk_size()
            if not size:
                while self._line():  # trailers
                    pass
                return body, True
            piece, whole = self._take(size, longest - len(body))
            body += piece
            if not whole:
                return body, False
            self._line()

    def _chunk_size(self) -> int:
        digits = self._line().partition(b";")[0].strip()
        try:
            size = int(digits, 16)
        except ValueError:
            size = -1
        if size < 0:
            raise BadAnswer("a chunk of no length")
        return size
