"""Key-value pairs and integers, encoded."""

from __future__ import annotations

from typing import Any

from spanwise.encode.cut import MAX_BYTES, TooLong
from spanwise.encode.varint import varint
from spanwise.encode.wire import utf8

__all__ = ["integer", "key_field", "pair"]


def pair(key: bytes, value: bytes) -> bytes:
    """A KeyValue message behind its length, without a tag: it stands in many fields.

    Args:
        key: the key's field, tag and length included.
        value: the AnyValue's body.
    """
    body = b"".join((key, b"\x12", varint(len(value)), value))
    return varint(len(body)) + body


def key_field(key: Any) -> bytes:
    """The key of a KeyValue message, tag and length included.

    Raises:
        TooLong: it has to be cut.
    """
    name = utf8(key if isinstance(key, str) else str(key))
    if len(name) > MAX_BYTES:
        raise TooLong
    return b"\x0a" + varint(len(name)) + name


def integer(value: int) -> bytes:
    """The AnyValue of an integer: text where it needs more than 64 bits, which OTLP cannot hold.

    Decimal as far as Python will print it, hexadecimal beyond.
    """
    if -(1 << 63) <= value < (1 << 63):
        return b"\x18" + varint(value)
    try:
        content = int.__repr__(value).encode()
    except ValueError:
        # Past sys.get_int_max_str_digits().
        content = hex(value).encode()
    return b"\x0a" + varint(len(content)) + content
