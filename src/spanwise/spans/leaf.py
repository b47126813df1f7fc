"""Spans that nobody saw while they ran: they get an id and bytes when they end, and never are an object.

Most spans of a request are such: a statement, a command, with attributes that are known and the same each
time. Nothing of the application runs within them, nobody adds to them. As a `Span` each would cost twice as
much. Whoever has one tells of it when it is over, and makes a span where it failed.

A processor takes leaves where the class that has its ``on_end`` has an ``on_leaf`` too. That gets resource,
scope, and a tuple of the parent's context (as a plain tuple, the same one for each of its leaves), span id,
name, the kind's value, start, end and attributes.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any, Final

from opentelemetry.context import Context
from opentelemetry.trace import DEFAULT_TRACE_STATE, SpanContext, SpanKind

from spanwise.context import SPAN_KEY
from spanwise.fixed import Fixed
from spanwise.spans.faults import failed
from spanwise.spans.sdk_shape import FLAGS
from spanwise.spans.span import Span

if TYPE_CHECKING:
    from spanwise.spans.tracer import Tracer

__all__ = ["leaf", "takes_leaves"]

_SAMPLED: Final = FLAGS[1]  # by identity, since arithmetic of a subclass of int is slow
_BOTH: Final = FLAGS[3]


def takes_leaves(tracer: Tracer) -> bool:
    """Whether :func:`leaf` is worth asking: no processor cares for a span's start.

    Args:
        tracer: whose spans they would be.
    """
    shared = tracer._shared
    if shared is None or shared.token is not tracer._token:
        shared = tracer._share()
    processor: Any = shared.processor
    return shared.leaves and processor.leafy is processor._span_processors


def leaf(
    tracer: Tracer, name: str, kind: SpanKind, attributes: Fixed, context: Context, start: int, end: int
) -> SpanContext | None:
    """Has a leaf exported.

    Args:
        tracer: whose it is.
        name, kind, attributes: the span's.
        context: with its parent.
        start, end: nanoseconds since 1970.

    Returns:
        Its parent's context. None where it has to be a span instead: it may be rated, its parent is no
        sampled span of this process, or a processor wants to see it.
    """
    shared = tracer._shared
    if shared is None or shared.token is not tracer._token:
        shared = tracer._share()
    parent = context.get(SPAN_KEY)
    if type(parent) is not Span or not shared.leaves:
        return None
    parts = parent._parts
    processor: Any = shared.processor
    processors = processor._span_processors
    if (
        parts is None
        or not (parts[3] is _BOTH or parts[3] is _SAMPLED)
        or parts[4] is not DEFAULT_TRACE_STATE
        or (attributes.checked is not shared.rules and shared.rules.plain_copy(attributes) is None)
        or (shared.verdict is not None and end - start > shared.floor)
        or processor.leafy is not processors
    ):
        return None
    # By name, through the module: that is where programs seed or replace it. Zero is no id.
    span_id = random.getrandbits(64) or shared.id_generator.generate_span_id()  # type: ignore[union-attr]
    # `_value_` is the name that enum documents; `.value` goes through Python code.
    fields = parts, span_id, name, kind._value_, start, end, attributes
    for each in processors:
        try:
            on_leaf = each.on_leaf  # through a variable: quicker where the instance holds it
            on_leaf(shared.resource, shared.scope, fields)
        except Exception as error:
            failed("on_leaf", each, error)
    return parent._made or parent._context
