"""Reading a request's body without trusting it: a cap on what it unpacks to, and on how long it takes."""

from __future__ import annotations

import asyncio
import zlib
from typing import Final

from starlette.requests import ClientDisconnect, Request

__all__ = ["MAX_BODY_BYTES", "BodyError", "read_body"]

# Some 50,000 spans; the stock exporter sends 512 at a time. A larger cap lets one request
# take that much more memory, several times over while it is decoded.
MAX_BODY_BYTES: Final = 16 * 1024 * 1024
# A sender on the same machine needs milliseconds; a stalled one must not hold a connection.
_READ_SECONDS: Final = 30.0


class BodyError(Exception):
    """The body cannot be read.

    Attributes:
        status: the HTTP status to answer with.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


async def read_body(request: Request, limit: int = MAX_BODY_BYTES) -> bytes:
    """The request's body, unpacked, at most ``limit`` bytes.

    A gzip body is unpacked piece by piece, so one that unpacks to gigabytes costs no more than the cap.

    Raises:
        BodyError: 413 past the cap, 415 for an encoding other than gzip, 400 for a broken gzip stream or
            a sender that went away, 408 for one that stalls.
    """
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ("identity", "gzip", ""):
        raise BodyError(415, f"content-encoding {encoding[:40]!r} is not supported; use gzip or none")
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and int(announced) > limit:
        raise BodyError(413, f"the body is larger than {limit} bytes; send smaller batches")
    sink: _Plain | _Gzip = _Gzip(limit) if encoding == "gzip" else _Plain(limit)
    try:
        await asyncio.wait_for(_drain(request, sink), _READ_SECONDS)
    except asyncio.TimeoutError:
        raise BodyError(408, f"the body did not arrive within {_READ_SECONDS:.0f} s") from None
    except ClientDisconnect:
        raise BodyError(400, "the body ended before its announced length") from None
    return sink.finish()


async def _drain(request: Request, sink: _Plain | _Gzip) -> None:
    async for chunk in request.stream():
        if chunk:
            sink.feed(chunk)


class _Plain:
    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._out = bytearray()

    def feed(self, chunk: bytes) -> None:
        if len(self._out) + len(chunk) > self._limit:
            raise BodyError(413, f"the body is larger than {self._limit} bytes; send smaller batches")
        self._out += chunk

    def finish(self) -> bytes:
        return bytes(self._out)


class _Gzip(_Plain):
    def __init__(self, limit: int) -> None:
        super().__init__(limit)
        self._unpacker = zlib.decompressobj(16 + zlib.MAX_WBITS)
        self._fed = False

    def feed(self, chunk: bytes) -> None:
        self._fed = True
        try:
            while chunk:
                if self._unpacker.eof:  # a gzip body may hold several members
                    self._unpacker = zlib.decompressobj(16 + zlib.MAX_WBITS)
                # One byte past the cap is enough to know, and all that a bomb gets.
                super().feed(self._unpacker.decompress(chunk, self._limit - len(self._out) + 1))
                chunk = self._unpacker.unused_data if self._unpacker.eof else self._unpacker.unconsumed_tail
        except zlib.error as error:
            raise BodyError(400, f"not a gzip stream: {error}") from None

    def finish(self) -> bytes:
        if self._fed and not self._unpacker.eof:
            raise BodyError(400, "the gzip stream is cut off")
        return super().finish()
