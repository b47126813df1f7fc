"""Where the spans come from: a file of OTLP, or a folder of such, gzip or not."""

from __future__ import annotations

import gzip
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
        path: the file: OTLP/JSON lines, one OTLP protobuf request, or requests each after its length; gzip or not.
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
    if not stream.peek(2)[:2] == _GZIP:
        yield from _read(cast(BinaryIO, stream), path, losses)
        return
    unpacked = io.BufferedReader(cast(io.RawIOBase, gzip.GzipFile(fileobj=cast(BinaryIO, stream))), 1 << 20)
    try:
        yield from _read(cast(BinaryIO, unpacked), path, losses)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        what = "the gzip stream is cut off" if isinstance(error, EOFError) else f"gzip: {error}"
        left = path.stat().st_size - counted.position
        losses.add(f"{path}, byte {counted.position} of the packed file", what, size=left)


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
