"""Spans that nobody sees while they run: they get an id and bytes when they end, and never are an object.

Most spans of a request are such: a statement, a command, with attributes that are known and the same each
time. Nothing of the application runs within them, nobody adds to them. As a `Span` each would cost half as
much again. Whoever starts one keeps its start, and makes a span after all where it fails or is asked for.

A processor takes leaves where the class that has its ``on_end`` has an ``on_leaf`` too. That gets resource,
scope, and a tuple of trace id, span id, parent's id, name, the kind's value, start, end and attributes; it is
None on one that wants spans from now on.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any, Final

from opentelemetry.context import Context
from opentelemetry.trace import DEFAULT_TRACE_STATE, SpanKind

from spanwise.context import SPAN_KEY
from spanwise.fixed import Fixed
from spanwise.spans.faults import failed
from spanwise.spans.processors import GuardedProcessors
from spanwise.spans.sdk_shape import FLAGS
from spanwise.spans.shared import Shared
from spanwise.spans.span import Span

if TYPE_CHECKING:
    from spanwise.spans.tracer import Tracer

__all__ = ["end_leaf", "leaf"]

_SAMPLED: Final = FLAGS[1]  # by identity, since arithmetic of a subclass of int is slow
_BOTH: Final = FLAGS[3]


def leaf(tracer: Tracer, context: Context, attributes: Fixed) -> Shared | None:
    """Whether a span that starts now needs no object: nobody would do more with it than export it.

    Args:
        tracer: whose it would be.
        context: with its parent.
        attributes: all that it will have.

    Returns:
        What :func:`end_leaf` takes; None where it has to be a span.
    """
    shared = tracer._shared
    if shared is None or shared.token is not tracer._token:
        shared = tracer._share()
    parent = context.get(SPAN_KEY)
    processor: Any = shared.processor
    if type(parent) is not Span or not shared.leaves or type(processor) is not GuardedProcessors:
        return None
    parts = parent._parts
    if (
        parts is None
        or not (parts[3] is _BOTH or parts[3] is _SAMPLED)
        or parts[4] is not DEFAULT_TRACE_STATE
        or processor.leafy is not processor._span_processors
        or (attributes.checked is not shared.rules and shared.rules.plain_copy(attributes) is None)
        or not tracer._tracer_config.is_enabled
    ):
        return None
    return shared


def end_leaf(
    shared: Shared, name: str, kind: SpanKind, attributes: Fixed, context: Context, start: int, end: int
) -> int:
    """Has a leaf exported.

    Args:
        shared: what :func:`leaf` gave for the same context and attributes.
        name, kind, attributes: the span's.
        context: with its parent.
        start, end: nanoseconds since 1970.

    Returns:
        Its id; 0 where it has to be a span after all: it may be rated, or the processors have changed.
    """
    processor: Any = shared.processor
    processors = processor._span_processors
    if (shared.verdict is not None and end - start > shared.floor) or processor.leafy is not processors:
        return 0
    for each in processors:
        if each.on_leaf is None:
            return 0
    parent: Any = context[SPAN_KEY]
    trace_id, parent_id, *_ = parent._parts
    # By name, through the module: that is where programs seed or replace it. Zero is no id.
    span_id = random.getrandbits(64) or shared.id_generator.generate_span_id()  # type: ignore[union-attr]
    # `_value_` is the name that enum documents; `.value` goes through Python code.
    fields = trace_id, span_id, parent_id, name, kind._value_, start, end, attributes
    for each in processors:
        try:
            each.on_leaf(shared.resource, shared.scope, fields)
        except Exception as error:
            failed("on_leaf", each, error)
    return span_id
