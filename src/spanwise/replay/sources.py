"""Where the spans come from: a file of OTLP, or a folder of such, gzip or not."""

from __future__ import annotations

import io
import re
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, Final, cast

from spanwise.errors import ConfigurationError
from spanwise.replay.json_lines import read_lines
from spanwise.replay.protobuf import FIRST_BYTE, LONGEST_MESSAGE, read_framed, read_request
from spanwise.replay.spans import Batch, Losses

__all__ = ["files_of", "read_file"]

_GZIP: Final = b"\x1f\x8b"
_ZSTD: Final = b"\x28\xb5\x2f\xfd"
# A line feed and a brace are also how a protobuf of 123 bytes begins: only the key's first letter tells.
_JSON: Final = re.compile(rb'(\xef\xbb\xbf)?\s*\{\s*("[A-Za-z]|\})')
_HEAD: Final = 4096


def files_of(source: Path) -> list[Path]:
    """The files to read, by name; hidden ones are passed over.

    Raises:
        ConfigurationError: there is none, or it cannot be read.
    """
    try:
        if not source.is_dir():
            source.stat()
            return [source]
        found = [
            path
            for path in sorted(source.rglob("*"))
            if path.is_file() and not any(part.startswith(".") for part in path.relative_to(source).parts)
        ]
    except OSError as error:
        raise ConfigurationError(f"cannot read the traces: {error.strerror}", where=str(source)) from error
    if not found:
        raise ConfigurationError("the folder holds no file of traces", where=str(source))
    return found


def read_file(path: Path, losses: Losses, advance: Callable[[int], None]) -> Iterator[Batch]:
    """The spans of one file, as it is read.

    Args:
        path: the file: OTLP/JSON lines, one OTLP protobuf request, or requests each after its length; gzip
            or not.
        losses: takes what cannot be read, with the file and the line or byte. With gzip, the byte is that
            of the unpacked data.
        advance: called with the number of bytes of the file that were read.
    """
    try:
        with path.open("rb", buffering=0) as raw:
            yield from _unpacked(raw, path, losses, advance)
    except OSError as error:
        losses.add(str(path), f"cannot be read: {error.strerror or error}")


def _unpacked(raw: Any, path: Path, losses: Losses, advance: Callable[[int], None]) -> Iterator[Batch]:
    counted = _Counted(raw, advance)
    stream = io.BufferedReader(counted, 1 << 20)
    if stream.peek(2)[:2] != _GZIP:
        yield from _read(cast(BinaryIO, stream), path, losses)
        return
    packed = _Gzip(cast(BinaryIO, stream))
    yield from _read(cast(BinaryIO, io.BufferedReader(packed, 1 << 20)), path, losses)
    if packed.problem:
        left = path.stat().st_size - counted.position
        losses.add(f"{path}, byte {packed.position} of the packed file", packed.problem, size=left)


def _read(stream: BinaryIO, path: Path, losses: Losses) -> Iterator[Batch]:
    head = cast(io.BufferedReader, stream).peek(_HEAD)[:_HEAD]
    if not head:
        losses.add(str(path), "it is empty")
    elif _JSON.match(head):
        yield from read_lines(stream, str(path), losses)
    elif head.startswith(FIRST_BYTE):
        yield from read_request(stream, str(path), losses)
    elif int.from_bytes(head[:4], "big") <= LONGEST_MESSAGE and len(head) > 4:
        yield from read_framed(stream, str(path), losses)
    elif b"\0" not in head and not head.startswith(_ZSTD):
        yield from read_lines(stream, str(path), losses)  # text whose first line is damaged
    else:
        fix = "unpack it first" if head.startswith(_ZSTD) else "expected OTLP as JSON lines or protobuf"
        losses.add(f"{path}, byte 0", f"neither JSON nor a request: {fix}", size=path.stat().st_size)


class _Counted(io.RawIOBase):
    """A file that tells how much of it was read."""

    def __init__(self, raw: Any, advance: Callable[[int], None]) -> None:
        self._raw = raw
        self._advance = advance
        self.position = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        count = int(self._raw.readinto(buffer) or 0)
        self.position += count
        self._advance(count)
        return count


class _Gzip(io.RawIOBase):
    """A gzip file, unpacked piece by piece. Where it is damaged it ends, and ``problem`` says why: all that
    could be unpacked before has been read by then."""

    def __init__(self, packed: BinaryIO) -> None:
        self._packed = packed
        self._member: Any = None
        self._waiting = b""
        self.position = 0
        self.problem = ""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self.problem:
            if not self._waiting:
                self._waiting = self._packed.read(1 << 16)
                self.position += len(self._waiting)
                if not self._waiting:
                    self.problem = "" if self._member is None else "the gzip stream is cut off"
                    return 0
            if self._member is None:
                # A file may hold several members, and zeros behind the last one.
                self._waiting = self._waiting.lstrip(b"\0")
                if not self._waiting:
                    continue
                self._member = zlib.decompressobj(16 + zlib.MAX_WBITS)
            try:
                piece: bytes = self._member.decompress(self._waiting, len(buffer))
            except zlib.error as error:
                self.problem = f"gzip: {error}"
                return 0
            self._waiting = self._member.unconsumed_tail
            if self._member.eof:
                self._waiting, self._member = self._member.unused_data, None
            if piece:
                buffer[: len(piece)] = piece
                return len(piece)
        return 0
