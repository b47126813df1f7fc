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
longer than ``MAX_BYTES``     sent whole             cut, `names.TRUNCATED` added
key that is no text           attribute dropped      ``str(key)``
============================  =====================  ============================
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from spanwise import names
from spanwise.encode.cut import MAX_BYTES, MAX_VALUES, Room, TooLong, TooManyValues, tell_cut
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


def _text(value: str) -> bytes:
    return nested(b"\x0a", utf8(value))


def any_value(value: Any) -> bytes:
    """The body of an AnyValue message, cut to ``MAX_BYTES``. Never raises.

    Args:
        value: anything; see the module's table for what OTLP has no type for.
    """
    room = Room(cuts=True)
    encoded = _value(value, room)
    if room.cut:
        tell_cut(room.cut, "a value")
    return encoded


def _whole_value(value: Any) -> bytes:
    """The same, where nothing has to be cut.

    Raises:
        TooLong: something has.
    """
    return _value(value, Room(cuts=False))


def _value(value: Any, room: Room) -> bytes:
    try:
        return _any(value, 0, room)
    except TooManyValues:
        return _text(TOO_LARGE)
    except TooLong:
        raise
    except Exception:
        # A container that fails while it is read.
        return _text(UNENCODABLE)


def _any(value: Any, depth: int, room: Room) -> bytes:
    """The same for a value inside another: ``room`` is what one attribute may still hold."""
    # The order is the stock encoder's: bool before int, text before sequence.
    if value is None:
        return b""
    if isinstance(value, bool):
        return b"\x10\x01" if value else b"\x10\x00"
    if isinstance(value, str):
        return nested(b"\x0a", room.text(value))
    if isinstance(value, int):
        # The plain number behind an enum's member or another subclass.
        number = integer(int.__index__(value))
        return number if len(number) < MAX_BYTES else _text(TOO_LARGE)
    if isinstance(value, float):
        return b"\x21" + double(value)
    if isinstance(value, bytes):
        return nested(b"\x3a", room.content(value))
    if isinstance(value, (Sequence, Mapping)):
        if depth >= MAX_DEPTH:
            return _text(TOO_DEEP)
        if isinstance(value, Sequence):
            return nested(b"\x2a", repeated(b"\x0a", _members(value, depth, room)))
        # An encoded pair brings its own length.
        pairs = [b"\x0a" + pair(*item) for item in _items(value, depth, room)]
        return nested(b"\x32", b"".join(pairs))
    return nested(b"\x0a", room.text(_readable(value)))


def _members(values: Sequence[Any], depth: int, room: Room) -> list[bytes]:
    members = []
    for value in values:
        room.take_value()
        members.append(_any(value, depth + 1, room))
    return members


def _items(values: Mapping[Any, Any], depth: int, room: Room) -> list[tuple[bytes, bytes]]:
    items = []
    for key, value in values.items():
        room.take_value()
        name = room.text(key if isinstance(key, str) else _readable(key))
        items.append((b"\x0a" + varint(len(name)) + name, _any(value, depth + 1, room)))
    return items


def _readable(value: Any) -> str:
    try:
        return str(value)
    except Exception:
        return UNENCODABLE


MEMO: Final = Memo(_whole_value)
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
    cuts = 0
    try:
        for key, value in list(attributes.items()):
            if key == names.TRUNCATED and type(value) is int:
                cuts += value  # of the span's name, say
                continue
            one, cut_of_it = _safe_pair(key, value)
            encoded.append(tag + one)
            if cut_of_it:
                cuts += cut_of_it
                tell_cut(cut_of_it, key)
    except Exception:
        # The mapping fails half-way: what was read of it stays.
        encoded.append(tag + _safe_pair(UNENCODABLE, UNENCODABLE)[0])
    if cuts:
        encoded.append(tag + _safe_pair(names.TRUNCATED, cuts)[0])
    return b"".join(encoded)


def _safe_pair(key: Any, value: Any) -> tuple[bytes, int]:
    """The pair, and how much of it was cut."""
    of_key, of_value = Room(cuts=True), Room(cuts=True)
    name = of_key.text(key if isinstance(key, str) else _readable(key))
    return pair(nested(b"\x0a", name), _value(value, of_value)), of_key.cut + of_value.cut
