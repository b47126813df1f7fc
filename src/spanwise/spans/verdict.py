"""What the spans know of a rating: a callable that is asked when a span ends. Rating is not imported."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from opentelemetry.trace import SpanKind
from opentelemetry.util.types import AnyValue

__all__ = ["Verdict", "VerdictFunction"]


class Verdict(Protocol):
    """How a finished span was rated.

    Attributes:
        rating: the rating's name, for example ``poor``.
        rule: the name of the rule that decided.
        limit: the limit that was passed; its unit is the rule's.
    """

    @property
    def rating(self) -> Any: ...
    @property
    def rule(self) -> Any: ...
    @property
    def limit(self) -> Any: ...


VerdictFunction = Callable[[str, SpanKind, Mapping[str, AnyValue], int], "Verdict | None"]
"""Name, kind, attributes (not to be changed) and duration in nanoseconds of a span that has just ended.

Returns None where there is nothing to say. Called on the thread that ends the span, before ``on_end``.
It may have an attribute ``floor``: nanoseconds up to which it has nothing to say of any span, so that it
isn't asked of shorter ones; and an attribute ``told``, which is called with the span and what was said of it,
where that was something. The span then has its rating, and the application no longer changes it.
"""
