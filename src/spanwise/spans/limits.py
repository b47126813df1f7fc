"""The limits on attributes and the rules of cleaning them, with the short cut for plain values.

The rules are the SDK's (`opentelemetry.attributes`): a test compares both over drawn values. Two things are
ours: what raises while it is cleaned becomes a placeholder instead of an error in the application, and a
warning comes once a minute instead of once for each of a hundred thousand attributes.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from opentelemetry.attributes import BoundedAttributes
from opentelemetry.util.types import AnyValue

from spanwise.fixed import Fixed
from spanwise.log import Log
from spanwise.spans.faults import printable
from spanwise.spans.sdk_shape import frozen_over

__all__ = ["FULL", "NO_MAPPING", "AttributeRules", "clean_items", "clean_pair"]

# The SDK's logger and messages, so that filters that applications have for them go on working.
_logger = Log("opentelemetry.attributes")

# Exact types that cleaning returns as they are. A subclass may override what cleaning calls.
PLAIN: Final[frozenset[type]] = frozenset({str, bool, int, float, bytes, type(None)})
_SCALARS: Final = (type(None), bool, int, float, bytes)
_TEXTS: Final = frozenset({str})  # what keys are

FULL: Final = (
    "Attributes dict is full. Dropping the oldest key-value pair from attributes to make space for the new"
    " key-value pair."
)
_INVALID_KEY: Final = "invalid key `%s`. must be non-empty string. Dropping key from attributes."
_INVALID_INNER_KEY: Final = (
    "invalid attribute key `%s`. must be non-empty string. Dropping key from attributes."
)
_KEY_TYPE: Final = (
    "Invalid type `%s` for attribute key `%s`, must be a str. Key's `__str__/__repr__` method will be called"
    " if it exists, otherwise the key/value pair will be dropped."
)
_VALUE_TYPE: Final = (
    "Invalid type `%s` for attribute value. Expected one of bool, str, None, bytes, int, float or a "
    "Mapping or Sequence of those types. Value's __str__ method will be called if it exists, otherwise the"
    " value will be replaced with None."
)
_TOO_LONG: Final = "String attribute value exceeds max length of %d, truncating."
NO_MAPPING: Final = "attributes must be a mapping of names to values, not %s; they are left out"
_UNCLEANABLE: Final = "<value that could not be cleaned>"


class AttributeRules:
    """Limits on the attributes of spans, of events or of links.

    Args:
        at_most: number of attributes, or None.
        max_length: characters of a string value, or None.

    Attributes:
        room: ``at_most`` as a number to compare with.
        plain: the exact types that need no cleaning under these limits.
    """

    __slots__ = ("at_most", "max_length", "plain", "room")

    def __init__(self, at_most: int | None, max_length: int | None) -> None:
        self.at_most = at_most
        self.max_length = max_length
        self.room = sys.maxsize if at_most is None else at_most
        self.plain = PLAIN if max_length is None else PLAIN - {str}

    def is_plain(self, value: object) -> bool:
        """Whether cleaning would leave a value as it is: also for strings that are short enough."""
        if type(value) is str:
            return self.max_length is None or len(value) <= self.max_length
        return type(value) in self.plain

    def plain_copy(self, attributes: Mapping[str, AnyValue]) -> dict[str, AnyValue] | None:
        """A copy of the attributes where nothing needs cleaning and all have room, else None.

        Fixed ones are no copy: whoever writes to them takes one (`FixedError`).
        """
        if type(attributes) is not dict:
            if type(attributes) is not Fixed:
                return None
            if attributes.checked is not self:
                if self.plain_copy(dict(attributes)) is None:
                    return None
                attributes.checked = self
            return attributes
        # The copy first: the caller's dict may change in another thread while it's looked through.
        copy = attributes.copy()
        # Types first, all in C: a loop over them costs as much as the rest of a span's start.
        plain = self.plain.issuperset(map(type, copy.values())) or all(map(self.is_plain, copy.values()))
        if plain and _TEXTS.issuperset(map(type, copy)) and "" not in copy and len(copy) <= self.room:
            return copy
        return None

    def frozen(self, attributes: Any) -> BoundedAttributes:
        """Attributes as the SDK has those of an event or a link: cleaned, bounded, not to be changed.

        Args:
            attributes: a mapping, or whatever the application passed for one.
        """
        if attributes is None:
            return frozen_over({}, self.at_most, self.max_length, 0)
        live = self.plain_copy(attributes)
        dropped = 0
        if live is None:
            live, dropped = clean_items(attributes, self.max_length)
            over = len(live) - self.room
            if over > 0:
                if self.room:
                    _logger.seldom(FULL)
                dropped += over
                live = dict(list(live.items())[over:])
        return frozen_over(live, self.at_most, self.max_length, dropped)


def clean_pair(key: Any, value: Any, max_length: int | None) -> tuple[dict[str, AnyValue], int]:
    """One attribute, cleaned by the rules for a single one.

    Returns:
        The attribute, and how many were left out: one of the two is empty.
    """
    if not isinstance(key, str) or not key:
        _logger.seldom(_INVALID_KEY, key)
        return {}, 1
    return {key: _clean_or_placeholder(value, max_length)}, 0


def clean_items(attributes: Any, max_length: int | None) -> tuple[dict[str, AnyValue], int]:
    """Attributes, cleaned by the rules for several: keys that are no text become text.

    Args:
        attributes: a mapping, or whatever the application passed for one. One value that cannot be cleaned
            becomes a placeholder; one pair that cannot be read is left out.
        max_length: characters of a string value, or None.

    Returns:
        The attributes, and how many were left out.
    """
    try:
        # In one go: another thread may be writing to it.
        items: Iterable[tuple[Any, Any]] = list(attributes.items())
    except Exception:
        if not _empty(attributes):
            _logger.seldom(NO_MAPPING, type(attributes).__name__)
        return {}, 0
    cleaned: dict[str, AnyValue] = {}
    count = 0
    for item in items:
        count += 1
        try:
            key, value = item
            name = _clean_key(key)
        except Exception:
            _logger.seldom(_INVALID_KEY, "that cannot be shown")
            continue
        if name is not None:
            cleaned[name] = _clean_or_placeholder(value, max_length)
    return cleaned, count - len(cleaned)


def _empty(attributes: Any) -> bool:
    try:
        return not attributes
    except Exception:
        return False


def _clean_key(key: Any) -> str | None:
    if not key:
        _logger.seldom(_INVALID_INNER_KEY, key)
        return None
    if isinstance(key, str):
        return key
    _logger.seldom(_KEY_TYPE, type(key), key)
    return str(key) if _has_own_text(key) else None


def _clean_or_placeholder(value: Any, max_length: int | None) -> AnyValue:
    try:
        return _clean(value, max_length)
    except Exception:
        # Cyclic, too deep, or it raises. A collection's own text may be as endless as the collection.
        _logger.seldom(
            "an attribute's value of type %s cannot be cleaned; a placeholder is sent", type(value)
        )
        return _UNCLEANABLE if isinstance(value, (Sequence, Mapping)) else printable(value)


def _clean(value: Any, max_length: int | None) -> AnyValue:
    if isinstance(value, _SCALARS):
        return value
    if isinstance(value, str):
        if max_length is not None and len(value) > max_length:
            _logger.seldom(_TOO_LONG, max_length)
            return value[:max_length]
        return value
    if isinstance(value, Sequence):
        return tuple(_clean(each, max_length) for each in value)
    if isinstance(value, Mapping):
        cleaned: dict[str, AnyValue] = {}
        for key, inner in value.items():
            name = _clean_key(key)
            if name is not None:
                cleaned[name] = _clean(inner, max_length)
        return cleaned
    _logger.seldom(_VALUE_TYPE, type(value))
    return str(value) if _has_own_text(value) else None


def _has_own_text(value: object) -> bool:
    """Whether a class says more of itself than where its object lies in memory."""
    kind = type(value)
    return kind.__str__ is not object.__str__ or kind.__repr__ is not object.__repr__
