"""MessagePack to Python values: as much as the Datadog agent's protocol uses, which is nearly all.

https://github.com/msgpack/msgpack/blob/master/spec.md
"""

from __future__ import annotations

import struct
from typing import Any

__all__ = ["unpack"]

_NUMBERS = {
    0xCA: ">f",
    0xCB: ">d",
    0xCC: ">B",
    0xCD: ">H",
    0xCE: ">I",
    0xCF: ">Q",
    0xD0: ">b",
    0xD1: ">h",
    0xD2: ">i",
    0xD3: ">q",
}
_CONSTANTS = {0xC0: None, 0xC2: False, 0xC3: True}
# Type byte -> format of the length that follows.
_BYTES = {0xC4: ">B", 0xC5: ">H", 0xC6: ">I"}
_TEXTS = {0xD9: ">B", 0xDA: ">H", 0xDB: ">I"}
_ARRAYS = {0xDC: ">H", 0xDD: ">I"}
_MAPS = {0xDE: ">H", 0xDF: ">I"}


def unpack(data: bytes) -> Any:
    """The one value that ``data`` holds.

    Raises:
        ValueError: it is cut off, followed by something, or uses an extension type.
    """
    reader = _Reader(data)
    value = reader.value()
    if reader.at != len(data):
        raise ValueError(f"{len(data) - reader.at} bytes after the value")
    return value


class _Reader:
    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def value(self) -> Any:
        kind = self.take(1)[0]
        if kind < 0x80:
            return kind
        if kind >= 0xE0:
            return kind - 0x100
        if kind < 0x90:
            return self.mapping(kind & 0x0F)
        if kind < 0xA0:
            return self.array(kind & 0x0F)
        if kind < 0xC0:
            return self.text(kind & 0x1F)
        if kind in _CONSTANTS:
            return _CONSTANTS[kind]
        if kind in _NUMBERS:
            return self.number(_NUMBERS[kind])
        for lengths, read in (
            (_TEXTS, self.text),
            (_BYTES, self.take),
            (_ARRAYS, self.array),
            (_MAPS, self.mapping),
        ):
            if kind in lengths:
                return read(self.number(lengths[kind]))
        raise ValueError(f"MessagePack type 0x{kind:02x} at byte {self.at - 1} is not supported")

    def take(self, count: int) -> bytes:
        piece = self.data[self.at : self.at + count]
        if len(piece) < count:
            raise ValueError(f"cut off at byte {len(self.data)}")
        self.at += count
        return piece

    def number(self, layout: str) -> Any:
        return struct.unpack(layout, self.take(struct.calcsize(layout)))[0]

    def text(self, length: int) -> str:
        return self.take(length).decode("utf-8", "replace")

    def array(self, length: int) -> list[Any]:
        return [self.value() for _ in range(length)]

    def mapping(self, length: int) -> dict[Any, Any]:
        return {self.value(): self.value() for _ in range(length)}
