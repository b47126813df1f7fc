"""What is whole of a protobuf message that is cut off."""

from __future__ import annotations

from typing import Final

__all__ = ["varint", "whole_part"]

# Wire types: https://protobuf.dev/programming-guides/encoding/#structure
_VARINT, _LENGTH_DELIMITED = 0, 2
_FIXED: Final = {1: 8, 5: 4}
_LONGEST_VARINT: Final = 10


def whole_part(data: bytes, path: bytes) -> bytes:
    """The message as far as it is whole: no field of it is cut off.

    Args:
        data: what there is of the message.
        path: the one-byte tags of the fields to look into, from the outside in: of a field that is cut off
            and has such a tag, what is whole within it is kept too.
    """
    end = 0
    while (after := _end(data, end)) is not None:
        end = after
    kept = data[:end]
    if path and data[end : end + 1] == path[:1]:
        _, start = varint(data, end + 1)
        if start is not None:
            inner = whole_part(data[start:], path[1:])
            kept += path[:1] + _written(len(inner)) + inner
    return kept


def varint(data: bytes, position: int) -> tuple[int, int | None]:
    """A number and where it ends; the end is None where it is cut off or too long."""
    value = 0
    for count, byte in enumerate(data[position : position + _LONGEST_VARINT]):
        value |= (byte & 0x7F) << (7 * count)
        if byte < 0x80:
            return value, position + count + 1
    return value, None


def _end(data: bytes, position: int) -> int | None:
    """Where the field ends that begins here; None where there is none, or it is cut off."""
    tag, after = varint(data, position)
    if after is None:
        return None
    if tag & 7 == _VARINT:
        return varint(data, after)[1]
    if tag & 7 == _LENGTH_DELIMITED:
        length, start = varint(data, after)
        after = None if start is None else start + length
    else:
        size = _FIXED.get(tag & 7)
        after = None if size is None else after + size
    return after if after is not None and after <= len(data) else None


def _written(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)
