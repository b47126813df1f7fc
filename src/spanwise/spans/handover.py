"""How an ended span gives its fields away: to whoever encodes them, past its public properties."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import TraceFlags

from spanwise.spans.arguments import kind_of
from spanwise.spans.sdk_shape import FLAGS, SHAPE_HOLDS

if TYPE_CHECKING:
    from spanwise.spans.span import Span

__all__ = ["hand_over"]

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
    parts, parent, extras = span._parts, span._parent, span._extras
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
    name = span._title
    more: tuple[Any, ...] | None = None
    if extras is not None:
        name = extras.get("name", name)
        if len(extras) > 1 or "name" not in extras:
            status = span._status
            more = (
                status.status_code.value,
                status.description,
                span.dropped_attributes,
                extras.get("events", ()),
                span.dropped_events,
                extras.get("links", ()),
                span.dropped_links,
            )
    try:
        kind = span._kind._value_  # the name that enum documents; `.value` goes through Python code
    except AttributeError:
        kind = kind_of(span._kind)
    body = encode(
        trace_id,
        span_id,
        state,
        parent_id,
        remote,
        name,
        kind,
        span._start_time,
        span._end_time,
        span._held,
        more,
    )
    return span._resource, span._instrumentation_scope, body
