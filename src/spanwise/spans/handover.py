"""How an ended span gives its fields away: to whoever encodes them, past its public properties."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Status, StatusCode, TraceFlags

from spanwise.spans.sdk_shape import FLAGS, SHAPE_HOLDS

if TYPE_CHECKING:
    from spanwise.spans.span import Span

__all__ = ["UNSET", "hand_over"]

UNSET: Final = Status(StatusCode.UNSET)
"""The status of a span that nobody gave one."""

_SAMPLED: Final = int(TraceFlags.SAMPLED)
_BOTH: Final = FLAGS[3]  # sampled and random: by identity, since arithmetic of a subclass of int is slow


def hand_over(
    span: Span, encode: Callable[..., bytes]
) -> tuple[Resource, InstrumentationScope | None, bytes] | None:
    """Encodes an ended span without the public properties, whose views cost more than the encoding.

    An exporter that does not know this method loses nothing but time.

    Args:
        encode: takes a span's fields as ``encode.spans.encode_span_fields`` does.

    Returns:
        Its resource, its scope and what ``encode`` made; None for a span that was not sampled: it is
        recorded, but never exported.
    """
    parts, parent, status = span._parts, span._parent, span._status
    if parts is not None and SHAPE_HOLDS:
        trace_id, span_id, _, flags, state, _ = parts
        parent_id, remote = (None, False) if parent is None else (parent[1], parent[2])
    else:
        context = span._context
        if context is None:
            raise ValueError("a span without a context cannot be sent")
        trace_id, span_id = context.trace_id, context.span_id
        flags, state = context.trace_flags, context.trace_state
        parent_id, remote = (None, False) if parent is None else (parent.span_id, parent.is_remote)
    if flags is not _BOTH and not flags & _SAMPLED:
        return None
    more: tuple[Any, ...] | None = None
    if (
        status is not UNSET
        or span._view is not None
        or span._event_list is not None
        or span._link_list is not None
    ):
        more = (
            status.status_code.value,
            status.description,
            span.dropped_attributes,
            span._event_list or (),
            span.dropped_events,
            span._link_list or (),
            span.dropped_links,
        )
    body = encode(
        trace_id,
        span_id,
        state,
        parent_id,
        remote,
        span._name,
        span._kind._value_,  # the name that enum documents; `.value` goes through Python code
        span._start_time,
        span._end_time,
        span._live,
        more,
    )
    return span._resource, span._instrumentation_scope, body
