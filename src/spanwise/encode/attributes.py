"""Attributes and their values as OTLP's KeyValue and AnyValue.

The decoded result equals the stock encoder's, except where that one drops the attribute:

============================  =====================  ============================
value                         stock                  here
============================  =====================  ============================
text with a lone surrogate    attribute dropped      U+FFFD in its place
integer beyond 64 bits        attribute dropped      its digits, as text
any other type                attribute dropped      ``str(value)``
``str(value)`` raises         attribute dropped      ``UNENCODABLE``
contains itself, or deeper    dropped, or a request  ``TOO_DEEP`` at that place
than ``MAX_DEPTH``            no receiver can parse
more than ``MAX_VALUES``      sent whole             ``TOO_LARGE`` in its place
values in one attribute
key that is no text           attribute dropped      ``str(key)``
============================  =====================  ============================
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from spanwise.encode.memo import Memo
from spanwise.encode.pairs import integer, pair
from spanwise.encode.varint import varint
from spanwise.encode.wire import double, nested, repeated, utf8
from spanwise.fixed import Fixed

__all__ = [
    "MAX_DEPTH",
    "MAX_VALUES",
    "MEMO",
    "TOO_DEEP",
    "TOO_LARGE",
    "UNENCODABLE",
    "any_value",
    "encode_attributes",
]

UNENCODABLE: Final = "<unencodable>"
TOO_DEEP: Final = "<nested too deep>"
TOO_LARGE: Final = "<too many values>"

# Parsers refuse messages nested more than 100 deep (protobuf's default). A mapping takes three levels
# and an attribute's value starts at the ninth in an exemplar, so 30 fits and 31 loses the request.
MAX_DEPTH: Final = 30
# Values in one attribute, nested ones included. A list that holds a list ten times over, ten levels
# deep, is small in memory and gigabytes when written out; so is range(10**9).
MAX_VALUES: Final = 100_000


class _TooLarge(Exception):
    """An attribute holds more than ``MAX_VALUES``."""


def _text(value: str) -> bytes:
    return nested(b"\x0a", utf8(value))


def any_value(value: Any) -> bytes:
    """The body of an AnyValue message. Never raises.

    Args:
        value: anything; see the module's table for what OTLP has no type for.
    """
    try:
        return _any(value, 0, [MAX_VALUES])
    except _TooLarge:
        return _text(TOO_LARGE)
    except Exception:
        # A container that fails while it is read.
        return _text(UNENCODABLE)


def _any(value: Any, depth: int, left: list[int]) -> bytes:
    """The same for a value inside another: ``left`` is what one attribute may still hold."""
    # The order is the stock encoder's: bool before int, text before sequence.
    if value is None:
        return b""
    if isinstance(value, bool):
        return b"\x10\x01" if value else b"\x10\x00"
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, int):
        # The plain number behind an enum's member or another subclass.
        return integer(int.__index__(value))
    if isinstance(value, float):
        return b"\x21" + double(value)
    if isinstance(value, bytes):
        return nested(b"\x3a", value)
    if isinstance(value, (Sequence, Mapping)):
        if depth >= MAX_DEPTH:
            return _text(TOO_DEEP)
        if isinstance(value, Sequence):
            return nested(b"\x2a", repeated(b"\x0a", _members(value, depth, left)))
        # An encoded pair brings its own length.
        pairs = [b"\x0a" + pair(*item) for item in _items(value, depth, left)]
        return nested(b"\x32", b"".join(pairs))
    return _text(_readable(value))


def _members(values: Sequence[Any], depth: int, left: list[int]) -> list[bytes]:
    members = []
    for value in values:
        _take(left)
        members.append(_any(value, depth + 1, left))
    return members


def _items(values: Mapping[Any, Any], depth: int, left: list[int]) -> list[tuple[bytes, bytes]]:
    items = []
    for key, value in values.items():
        _take(left)
        name = utf8(key) if isinstance(key, str) else utf8(_readable(key))
        items.append((b"\x0a" + varint(len(name)) + name, _any(value, depth + 1, left)))
    return items


def _take(left: list[int]) -> None:
    left[0] -= 1
    if left[0] < 0:
        raise _TooLarge


def _readable(value: Any) -> str:
    try:
        return str(value)
    except Exception:
        return UNENCODABLE


MEMO: Final = Memo(any_value)
_KINDS: Final = MEMO.kinds


def encode_attributes(tag: bytes, attributes: Mapping[str, Any] | None) -> bytes:
    """Attributes as a repeated KeyValue field. Never raises.

    Args:
        tag: the field's tag, one byte: it differs from message to message.
        attributes: the mapping, or ``None``. One attribute that cannot be encoded harms only itself.
    """
    try:
        # Only a plain dict is quick to walk. The SDK's own mapping takes a lock and a call a key,
        # unless it is copied, which it does in one go.
        if type(attributes) is dict:
            plain = attributes
        elif type(attributes) is Fixed:
            if attributes.tag == tag:
                return attributes.encoded
            attributes.encoded, attributes.tag = encode_attributes(tag, dict(attributes)), tag
            return attributes.encoded
        else:
            plain = _plain(attributes)
        if not plain:
            return b""
        return tag + tag.join([_KINDS[type(value)][key][value] for key, value in plain.items()])
    except Exception:
        return _one_by_one(tag, attributes)


def _plain(attributes: Mapping[str, Any] | None) -> dict[str, Any]:
    if attributes is None:
        return {}
    copy = getattr(attributes, "copy", None)
    if copy is not None:
        copied = copy()
        if type(copied) is dict:
            return copied
    return dict(attributes.items())


def _one_by_one(tag: bytes, attributes: Any) -> bytes:
    encoded = []
    try:
        for key, value in list(attributes.items()):
            encoded.append(tag + _safe_pair(key, value))
    except Exception:
        # The mapping fails half-way: what was read of it stays.
        encoded.append(tag + _safe_pair(UNENCODABLE, UNENCODABLE))
    return b"".join(encoded)


def _safe_pair(key: Any, value: Any) -> bytes:
    name = utf8(key if isinstance(key, str) else _readable(key))
    return pair(nested(b"\x0a", name), any_value(value))
