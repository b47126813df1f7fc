"""Wrong arguments to the tracing API: what is made of them, so that no call raises into the application.

Each is told once a minute; what can be kept of a span is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from time import time_ns
from typing import Any, Final

from opentelemetry.context import Context
from opentelemetry.trace import Link, SpanContext, SpanKind, get_current_span

from spanwise.context import get_context
from spanwise.log import Log

__all__ = [
    "LATEST",
    "is_true",
    "kind_of",
    "link_of",
    "links_of",
    "moment",
    "parent_of",
    "says_something",
    "seconds",
    "usable",
]

_logger = Log(__name__)

LATEST: Final = (1 << 64) - 1
"""Nanoseconds since 1970: the last moment that OTLP can tell."""

# Floats are accepted above this many nanoseconds, 1973: `time.time() * 1e9` is one, `time.time()` is not.
_FIRST_FLOAT: Final = 1e17


def moment(value: Any, argument: str) -> int:
    """A time of the application's as nanoseconds since 1970; the time of the call where it is no such thing.

    Args:
        value: an int, or what has one (NumPy's do); a float if it is in nanoseconds beyond doubt.
        argument: its name, for the warning.
    """
    try:
        if isinstance(value, float):
            if _FIRST_FLOAT <= value <= LATEST:
                return min(int(value), LATEST)
        elif not isinstance(value, bool):
            number = int(value.__index__())
            if 0 <= number <= LATEST:
                return number
    except Exception:
        pass  # whatever it is, it is no time
    _logger.seldom(
        argument + " must be an int, in nanoseconds since 1970, not %r; the time of the call is used instead",
        value,
    )
    return time_ns()


def parent_of(context: Any) -> Any:
    """A context whose span can be a parent.

    Returns:
        The one that was passed, where it is such a one; the current one instead of what is no context; an
        empty one, for a new trace, where the span in it is none.
    """
    usable = context
    if context is not None and not isinstance(context, dict):
        _logger.seldom("context must be a Context, not %s; the current one is used", type(context).__name__)
        usable = get_context()
    try:
        parent = get_current_span(usable).get_span_context()
        if parent is None or (
            isinstance(parent, SpanContext)
            and all(isinstance(part, int) for part in (parent.trace_id, parent.span_id, parent.trace_flags))
        ):
            return usable
    except Exception:
        pass  # what it is cannot be told either
    _logger.seldom("the context's span has no usable SpanContext; a new trace begins")
    return Context()


def is_true(value: Any) -> bool:
    """Whether a flag is set; as by default where its truth cannot be told."""
    try:
        return bool(value)
    except Exception:
        return True


def usable(value: Any, method: str, argument: str) -> Any:
    """What was passed if it has a method, else None, the default."""
    try:
        if value is None or callable(getattr(value, method, None)):
            return value
    except Exception:
        return value  # whoever asks for the method is guarded
    _logger.seldom(argument + " has no %s: %s is not used", method, type(value).__name__)
    return None


def kind_of(kind: Any) -> int:
    """The value of a span's kind, 0 (internal) where it is none."""
    value = getattr(kind, "value", kind)
    if type(value) is int and 0 <= value < len(SpanKind):
        return value
    _logger.seldom("kind must be a SpanKind, not %r; the span is sent as internal", kind)
    return 0


def links_of(links: Any) -> Sequence[Any]:
    """What to go through for the links of a new span: nothing where they are no collection."""
    try:
        return () if links is None else list(links)
    except Exception:
        _logger.seldom("links must be a sequence of Links, not %s; they are left out", type(links).__name__)
        return ()


def link_of(link: Any, make: Callable[[SpanContext, Any], Link]) -> Link | None:
    """One of the links of a new span as it is kept; None where it is none, or says nothing.

    Args:
        link: what the application passed for one.
        make: makes the one that is kept, of a context and attributes.
    """
    try:
        if link is not None and says_something(link.context, link.attributes):
            return make(link.context, link.attributes)
    except Exception:
        _logger.seldom("a link must be a Link, not %s; it is left out", type(link).__name__)
    return None


def says_something(context: Any, attributes: Any) -> bool:
    """Whether a link carries anything: a valid context, or attributes or a trace state."""
    try:
        return bool(context and (context.is_valid or attributes or context.trace_state))
    except Exception:
        _logger.seldom("a link needs a SpanContext, not %s; it is left out", type(context).__name__)
        return False


def seconds(timeout_millis: Any) -> float:
    """A time limit in milliseconds as seconds; the API's default of 30 where it is no number."""
    try:
        return float(timeout_millis) / 1000
    except Exception:
        _logger.seldom("timeout_millis must be a number, not %r; 30000 is used", timeout_millis)
        return 30.0
