"""Values as OpenTelemetry's SDK takes them without a word: it logs a line for each that it has no type for.

What comes out is what the SDK would make of it, and placeholders where it raises or never ends.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from spanwise.encode.attributes import MAX_DEPTH, MAX_VALUES, TOO_DEEP, TOO_LARGE, UNENCODABLE

__all__ = ["has_text", "plain_attributes", "plain_value", "readable"]


class _TooLarge(Exception):
    """An attribute holds more than ``MAX_VALUES``."""


def plain_attributes(pairs: Iterable[tuple[Any, Any]], longest: int | None = None) -> dict[str, Any]:
    """Attributes with texts as keys, and with plain values; of what may change, copies.

    Args:
        pairs: keys and values, of any types.
        longest: characters of a text at most; None: any number.

    Raises:
        Exception: whatever ``pairs`` raises.
    """
    attributes: dict[str, Any] = {}
    for key, value in pairs:
        name = _name(key)
        if name:
            attributes[name] = plain_value(value, longest)
    return attributes


def plain_value(value: Any, longest: int | None = None) -> Any:
    """A text, number, bytes, None, or tuples and dictionaries of them. Never raises."""
    try:
        return _plain(value, longest, 0, [MAX_VALUES])
    except _TooLarge:
        return TOO_LARGE
    except Exception:  # a container that fails while it is read
        return UNENCODABLE


def has_text(value: Any) -> bool:
    """Whether an object's text is its own, and not merely its class and address."""
    kind: Any = type(value)
    return kind.__str__ is not object.__str__ or kind.__repr__ is not object.__repr__


def readable(value: Any) -> str:
    """Its text; a placeholder where it has none."""
    try:
        return str(value)
    except Exception:
        return UNENCODABLE


def _name(key: Any) -> str:
    """A key's text; empty, as with the SDK, where the key is false or has no text of its own."""
    if isinstance(key, str):
        return key
    try:
        return str(key) if key and has_text(key) else ""
    except Exception:
        return UNENCODABLE


def _plain(value: Any, longest: int | None, depth: int, left: list[int]) -> Any:
    if isinstance(value, str):
        return value if longest is None or len(value) <= longest else value[:longest]
    if value is None or isinstance(value, (bool, int, float, bytes)):
        return value
    if not isinstance(value, (Sequence, Mapping)):
        text = readable(value)
        return text if longest is None else text[:longest]
    if depth >= MAX_DEPTH:
        return TOO_DEEP
    if isinstance(value, Sequence):
        return tuple([_plain(each, longest, depth + 1, left) for each in value if _take(left)])
    pairs = ((_name(key), each) for key, each in value.items())
    return {key: _plain(each, longest, depth + 1, left) for key, each in pairs if key and _take(left)}


def _take(left: list[int]) -> bool:
    left[0] -= 1
    if left[0] < 0:
        raise _TooLarge
    return True
