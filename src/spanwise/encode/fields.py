"""Reads the protobuf wire format as far as where each field begins and ends.

Source: https://protobuf.dev/programming-guides/encoding/
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, TypeAlias

from spanwise.encode.wire import FIXED32, FIXED64, LENGTH, VARINT

__all__ = ["Bytes", "Field", "fields", "inside", "readable"]

Bytes: TypeAlias = "bytes | memoryview"

_FIXED = {FIXED64: 8, FIXED32: 4}


class Field(NamedTuple):
    """Where a field stands.

    Attributes:
        number: the field's.
        kind: its wire type.
        start: offset of its tag.
        value: offset of its content, behind tag and length; for a varint the number itself.
        end: offset behind it.
    """

    number: int
    kind: int
    start: int
    value: int
    end: int


def fields(data: Bytes) -> Iterator[Field]:
    """The fields of a message, one after the other.

    Raises:
        ValueError: the bytes are no message, from here on.
    """
    at, size = 0, len(data)
    while at < size:
        start = at
        tag, at = _varint(data, at)
        kind = tag & 7
        if kind == VARINT:
            value, end = _varint(data, at)
        elif kind == LENGTH:
            length, value = _varint(data, at)
            end = value + length
        elif kind in _FIXED:
            value, end = at, at + _FIXED[kind]
        else:
            raise ValueError(f"no wire type: {kind}")
        if end > size:
            raise ValueError("the message is cut off")
        yield Field(tag >> 3, kind, start, value, end)
        at = end


def readable(message: Bytes) -> Iterator[Field]:
    """A message's fields, as far as they can be read."""
    try:
        yield from fields(message)
    except ValueError:
        return


def inside(message: bytes, number: int) -> Iterator[bytes]:
    """The contents of the fields of one number that have a length: messages, texts."""
    for field in readable(message):
        if (field.number, field.kind) == (number, LENGTH):
            yield message[field.value : field.end]


def _varint(data: Bytes, at: int) -> tuple[int, int]:
    """A number, and the offset behind it."""
    value = shift = 0
    while at < len(data) and shift < 70:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
    raise ValueError("a number has no end")
