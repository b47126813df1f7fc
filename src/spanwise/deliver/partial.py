"""Reads the one thing an OTLP answer can say: how many items the server refused."""

from __future__ import annotations

__all__ = ["rejected"]

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


def rejected(answer: bytes) -> tuple[int, str]:
    """The refused count and the server's words from an ``Export…ServiceResponse``.

    The three signals' answers have the same shape: field 1 is ``partial_success``, whose field 1 is
    the count and field 2 the message. A truncated or foreign answer reads as nothing refused.

    Args:
        answer: the body of a 2xx answer.
    """
    count, message = 0, ""
    for number, value in _fields(answer):
        if number == 1 and isinstance(value, bytes):
            for inner, content in _fields(value):
                if inner == 1 and isinstance(content, int):
                    count = content
                elif inner == 2 and isinstance(content, bytes):
                    message = content.decode("utf-8", "replace")
    # The count is an int64: a negative one is ten bytes of varint and means nothing here.
    return (count if count < 1 << 63 else 0), message


def _fields(data: bytes) -> list[tuple[int, int | bytes]]:
    fields: list[tuple[int, int | bytes]] = []
    at = 0
    try:
        while at < len(data):
            tag, at = _varint(data, at)
            kind = tag & 7
            if kind == _VARINT:
                value, at = _varint(data, at)
                fields.append((tag >> 3, value))
            elif kind == _BYTES:
                length, at = _varint(data, at)
                if at + length > len(data):
                    break
                fields.append((tag >> 3, data[at : at + length]))
                at += length
            elif kind in (_FIXED64, _FIXED32):
                at += 8 if kind == _FIXED64 else 4
            else:
                break
    except IndexError:
        pass
    return fields


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80 or shift > 63:
            return value, at
        shift += 7
