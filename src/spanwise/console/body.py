"""Reading a request's body without trusting it: a cap on what it unpacks to, and on how long it takes."""

from __future__ import annotations

import asyncio
import zlib
from typing import Final

from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request

__all__ = ["MAX_BODY_BYTES", "BodyError", "read_body"]

# Some 50,000 spans; the stock exporter sends 512 at a time. A larger cap lets one request
# take that much more memory, several times over while it is decoded.
MAX_BODY_BYTES: Final = 16 * 1024 * 1024
# A sender on the same machine needs milliseconds; a stalled one must not hold a connection.
_READ_SECONDS: Final = 30.0
# Given to the unpacker at once: what follows a member is copied for each.
_PIECE: Final = 65_536
# Senders make one. A million empty ones would unpack to nothing, in minutes.
_MOST_MEMBERS: Final = 1_000


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

    A gzip body is unpacked piece by piece, so one that unpacks to gigabytes costs no more than the cap; and
    beside the event loop, where others are waiting.

    Raises:
        BodyError: 413 past the cap, 415 for an encoding other than gzip, 400 for a broken gzip stream or
            a sender that went away, 408 for one that stalls.
    """
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ("identity", "gzip", ""):
        raise BodyError(415, f"content-encoding {encoding[:40]!r} is not supported; use gzip or none")
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and int(announced) > limit:
        raise _too_large(limit)
    try:
        body = await asyncio.wait_for(_received(request, limit), _READ_SECONDS)
    except asyncio.TimeoutError:
        raise BodyError(408, f"the body did not arrive within {_READ_SECONDS:.0f} s") from None
    except ClientDisconnect:
        raise BodyError(400, "the body ended before its announced length") from None
    return await run_in_threadpool(_unpacked, body, limit) if encoding == "gzip" else bytes(body)


async def _received(request: Request, limit: int) -> bytearray:
    body = bytearray()
    async for chunk in request.stream():
        if len(body) + len(chunk) > limit:
            raise _too_large(limit)
        body += chunk
    return body


def _too_large(limit: int) -> BodyError:
    return BodyError(413, f"the body is larger than {limit} bytes; send smaller batches")


def _unpacked(body: bytearray, limit: int) -> bytes:
    out = bytearray()
    members = 0
    unpacker = zlib.decompressobj(16 + zlib.MAX_WBITS)
    try:
        for start in range(0, len(body), _PIECE):
            piece = bytes(body[start : start + _PIECE])
            while piece:
                if unpacker.eof:  # a gzip body may hold several members
                    members += 1
                    if members >= _MOST_MEMBERS:
                        raise BodyError(400, f"the gzip stream has more than {_MOST_MEMBERS} members")
                    unpacker = zlib.decompressobj(16 + zlib.MAX_WBITS)
                # One byte past the cap is enough to know, and all that a bomb gets.
                out += unpacker.decompress(piece, limit - len(out) + 1)
                if len(out) > limit:
                    raise _too_large(limit)
                piece = unpacker.unused_data if unpacker.eof else unpacker.unconsumed_tail
    except zlib.error as error:
        raise BodyError(400, f"not a gzip stream: {error}") from None
    if body and not unpacker.eof:
        raise BodyError(400, "the gzip stream is cut off")
    return bytes(out)
