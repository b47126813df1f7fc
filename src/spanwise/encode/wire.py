"""Primitive writers of the protobuf wire format: tags, text, fixed-size numbers, nested messages.

Source: https://protobuf.dev/programming-guides/encoding/. Fields may come in any order and a field at
its default may be written or left out; readers decode both alike.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable
from typing import Any, Final

from spanwise.encode.varint import TABLE, TABLE_SIZE, varint

__all__ = [
    "FIXED32",
    "FIXED64",
    "LENGTH",
    "MAX_UINT32",
    "MAX_UINT64",
    "VARINT",
    "double",
    "fixed32",
    "fixed64",
    "nested",
    "packed_doubles",
    "packed_fixed64",
    "repeated",
    "sfixed64",
    "tag",
    "text",
    "unsigned",
    "utf8",
]

VARINT: Final = 0
FIXED64: Final = 1
LENGTH: Final = 2
FIXED32: Final = 5

MAX_UINT32: Final = (1 << 32) - 1
MAX_UINT64: Final = (1 << 64) - 1

double: Final[Callable[[float], bytes]] = struct.Struct("<d").pack
"""Eight bytes of a float, little-endian. Infinities and NaN are legal."""

fixed64: Final[Callable[[int], bytes]] = struct.Struct("<Q").pack
"""Eight bytes of an unsigned integer, little-endian; ``struct.error`` if it doesn't fit."""

fixed32: Final[Callable[[int], bytes]] = struct.Struct("<I").pack
"""Four bytes of an unsigned integer, little-endian; ``struct.error`` if it doesn't fit."""

sfixed64: Final[Callable[[int], bytes]] = struct.Struct("<q").pack
"""Eight bytes of a signed integer, little-endian; ``struct.error`` if it doesn't fit."""


def tag(field: int, wire_type: int) -> bytes:
    """The bytes before a field's value: its number and how the value is laid out."""
    return varint(field << 3 | wire_type)


def utf8(value: str) -> bytes:
    """Text as UTF-8. A lone surrogate becomes U+FFFD, a pair of them the character it stands for.

    Protobuf refuses lone surrogates; in a span's name one loses the stock exporter the whole batch.
    """
    try:
        # Not value.encode(): a subclass of str may have its own.
        return str.encode(value)
    except UnicodeEncodeError:
        return str.encode(value, "utf-16-le", "surrogatepass").decode("utf-16-le", "replace").encode()


def nested(prefix: bytes, body: bytes) -> bytes:
    """A length-delimited field: ``prefix`` (its tag, or fields that end in it), length, body."""
    return prefix + varint(len(body)) + body


def text(prefix: bytes, value: str | None) -> bytes:
    """A string field; nothing for ``None`` and the empty string, which is the default."""
    return nested(prefix, utf8(value)) if value else b""


def repeated(prefix: bytes, bodies: Iterable[bytes]) -> bytes:
    """A repeated message field, each body behind the tag ``prefix`` and its length."""
    framed = [(TABLE[size] if (size := len(body)) < TABLE_SIZE else varint(size)) + body for body in bodies]
    # The tag is the separator: one join in C in place of one concatenation a record.
    return prefix + prefix.join(framed) if framed else b""


def packed_fixed64(prefix: bytes, values: Iterable[int]) -> bytes:
    """A packed ``repeated fixed64`` field; nothing when empty."""
    numbers = tuple(values)
    return nested(prefix, struct.pack(f"<{len(numbers)}Q", *numbers)) if numbers else b""


def packed_doubles(prefix: bytes, values: Iterable[float]) -> bytes:
    """A packed ``repeated double`` field; nothing when empty."""
    numbers = tuple(values)
    return nested(prefix, struct.pack(f"<{len(numbers)}d", *numbers)) if numbers else b""


def unsigned(value: Any, limit: int) -> int:
    """The nearest integer from 0 to ``limit``; 0 for ``None`` and for what is no number.

    For fields of which a wrong value must not lose the rest of the message.
    """
    try:
        return min(max(int(value), 0), limit)
    except Exception:
        return 0
