"""What instrumentors note of the request under way: one operation many times in it (N+1).

A server instrumentor of ours puts a `Request` into the request's context, under
:data:`spanwise.context.REQUEST_KEY`; an instrumentor of a client finds it in the context of its call::

    request = request_of(call.context)
    if request is not None:
        request.count(operation, limit)

Where another instrumentor serves the request, its span is found only while it is the current one. Outside of
requests nothing is noted.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Protocol
from weakref import WeakKeyDictionary, ref

from opentelemetry.context import Context
from opentelemetry.trace import Span, SpanKind
from opentelemetry.util.types import AttributeValue

from spanwise.context import REQUEST_KEY, SPAN_KEY

__all__ = ["Operation", "Request", "request_of"]

# Different operations that are told apart in one request: some 100 bytes each. A request that has more has
# its first so many watched.
_MOST: Final = 256


class Operation(Protocol):
    """What may be repeated. The same one is the same object; those of one class compete for the flag."""

    def repeated(self, count: int) -> Mapping[str, AttributeValue]:
        """What the request's span says when it ran so often."""


class Request:
    """A request under way.

    Args:
        span: the server's, which is flagged.
    """

    __slots__ = ("_counts", "_most", "_span")

    def __init__(self, span: Span) -> None:
        self._span = ref(span)  # what is kept by its span must not keep it
        self._counts: dict[Operation, int] = {}
        self._most: dict[type, int] = {}

    def count(self, operation: Operation, limit: float) -> None:
        """Notes one run of an operation.

        Args:
            operation: what runs.
            limit: so many runs in one request are flagged; 2 at least.
        """
        counts = self._counts
        count = counts.get(operation)
        if count is None:
            if len(counts) < _MOST:
                counts[operation] = 1
            return
        counts[operation] = count = count + 1
        if count >= limit:
            self._flag(operation, count)

    def _flag(self, operation: Operation, count: int) -> None:
        """Tells of the one that ran most, now: the span of another instrumentor does not say when it ends."""
        family = type(operation)
        if count > self._most.get(family, 0):
            self._most[family] = count
            span = self._span()
            # A thread may outlive the request that started it.
            if span is not None and span.is_recording():
                for name, value in operation.repeated(
                    count
                ).items():  # the SDK's set_attributes costs four times as much
                    span.set_attribute(name, value)


_of_spans: WeakKeyDictionary[Any, Request] = WeakKeyDictionary()


def request_of(context: Context) -> Request | None:
    """The request under way; None where there is none."""
    found: Any = context.get(REQUEST_KEY)
    if found is not None:
        return found  # type: ignore[no-any-return]
    span: Any = context.get(SPAN_KEY)
    # A remote parent's span has no kind.
    if span is None or getattr(span, "kind", None) is not SpanKind.SERVER or not span.is_recording():
        return None
    found = _of_spans.get(span)
    if found is None:
        found = _of_spans[span] = Request(span)
    return found  # type: ignore[no-any-return]
