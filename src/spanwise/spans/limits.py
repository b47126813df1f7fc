"""The limits on a span's attributes and the rules of cleaning them, with the short cut for plain values.

The rules are the SDK's: its BoundedAttributes cleans and counts whatever isn't plain, so both give the
same result by construction. The short cut only recognises what those rules would leave untouched.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Final

from opentelemetry.attributes import BoundedAttributes
from opentelemetry.sdk.trace import SpanLimits
from opentelemetry.util.types import AnyValue, Attributes

from spanwise.fixed import Fixed
from spanwise.spans.faults import failed, printable
from spanwise.spans.sdk_shape import bounded_over, freeze, set_items

__all__ = ["AttributeRules", "bounded", "fill", "put"]

# Exact types that the SDK's cleaning returns as they are. A subclass may override what cleaning calls.
PLAIN: Final[frozenset[type]] = frozenset({str, bool, int, float, bytes, type(None)})
_TEXTS: Final = frozenset({str})  # what keys are


class AttributeRules:
    """A tracer's limits on span attributes, worked out once.

    Args:
        limits: the provider's limits; None in one of them means no limit.

    Attributes:
        at_most: number of attributes of a span, or None.
        room: the same as a number to compare with.
        max_length: characters of a string value, or None.
        plain: the exact types that need no cleaning under these limits.
    """

    __slots__ = ("at_most", "max_length", "plain", "room")

    def __init__(self, limits: SpanLimits) -> None:
        self.at_most = limits.max_span_attributes
        self.max_length = limits.max_span_attribute_length
        self.room = sys.maxsize if self.at_most is None else self.at_most
        self.plain = PLAIN if self.max_length is None else PLAIN - {str}

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

    def over(self, live: dict[str, AnyValue]) -> BoundedAttributes:
        """The SDK's bounded mapping with these limits over a dict of clean attributes."""
        return bounded_over(live, self.at_most, self.max_length)


def bounded(
    at_most: int | None, attributes: Attributes, max_length: int | None, *, immutable: bool = True
) -> BoundedAttributes:
    """Attributes cleaned by the SDK's rules, within limits of number and of characters of a value.

    A value whose ``__str__`` raises becomes a placeholder; the others are kept.
    """
    try:
        return BoundedAttributes(at_most, attributes, immutable=immutable, max_value_len=max_length)
    except Exception:
        made = BoundedAttributes(at_most, None, immutable=False, max_value_len=max_length)
        fill(made, attributes or {})
        return freeze(made, dict(made)) if immutable else made


def fill(target: BoundedAttributes, attributes: Mapping[str, AnyValue]) -> None:
    """Sets several attributes; one that can't be cleaned harms only itself."""
    try:
        set_items(target, attributes)
    except Exception as error:
        try:
            items = list(attributes.items())
        except Exception:
            failed("set_attributes", attributes, error)
            return
        for key, value in items:
            try:
                set_items(target, {key: value})
            except Exception:
                put(target, key, value)


def put(target: BoundedAttributes, key: str, value: AnyValue) -> None:
    """Sets one attribute; a value that can't be cleaned (cyclic, unprintable) becomes a placeholder."""
    try:
        target[key] = value
    except Exception:
        try:
            clean = _clean(value, target)
            try:
                target[key] = clean
            except (RuntimeError, KeyError):
                # Evicting the oldest of a full span met a writer in another thread.
                target[key] = clean
        except Exception as error:
            failed("set_attribute", value, error)


def _clean(value: AnyValue, target: BoundedAttributes) -> AnyValue:
    try:
        return BoundedAttributes(1, {"value": value}, max_value_len=target.max_value_len)["value"]
    except Exception:
        # A collection's own text may be as endless as the collection.
        return _UNCLEANABLE if isinstance(value, (Sequence, Mapping)) else printable(value)


_UNCLEANABLE: Final = "<value that could not be cleaned>"
