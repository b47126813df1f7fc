"""What a span hands over is what its public properties say, for every kind of span."""

from __future__ import annotations

from typing import Any

import pytest
from opentelemetry import trace as api
from opentelemetry.sdk.trace import SpanLimits
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags, TraceState

from spanwise.encode.spans import encode_span, encode_span_fields
from spanwise.spans import handover
from spanwise.spans.provider import TracerProvider

REMOTE = SpanContext(5, 6, True, TraceFlags(1), TraceState([("vendor", "1")]))
UNSAMPLED = SpanContext(5, 6, True, TraceFlags(0))


def child_of(context: SpanContext) -> Any:
    return api.set_span_in_context(api.NonRecordingSpan(context))


def plain(span: Any) -> None:
    span.set_attributes({"a": 1, "b": "x"})


def failed(span: Any) -> None:
    span.record_exception(ValueError("no"))
    span.set_status(Status(StatusCode.ERROR, "no"))


def full(span: Any) -> None:
    for number in range(9):
        span.set_attribute(f"a{number}", [number])
        span.add_event(f"e{number}", {"k": number})
        span.add_link(REMOTE, {"l": number})


def named(span: Any) -> None:
    span.update_name("other")
    span.set_status(StatusCode.OK)


def looked_at(span: Any) -> None:
    span.set_attribute("a", 1)
    assert span.attributes["a"] == 1
    span.set_attribute("b", 2)


@pytest.mark.parametrize("holds", [True, False])
@pytest.mark.parametrize("context", [None, child_of(REMOTE)])
@pytest.mark.parametrize("change", [plain, failed, full, named, looked_at])
@pytest.mark.parametrize("links", [(), (Link(REMOTE, {"x": 1}),)])
def test_the_same_as_the_public_properties(
    change: Any, context: Any, links: Any, holds: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handover, "SHAPE_HOLDS", holds)
    limits = SpanLimits(max_span_attributes=5, max_events=4, max_links=3, max_span_attribute_length=8)
    tracer = TracerProvider(span_limits=limits, shutdown_on_exit=False).get_tracer("t", "1")
    span: Any = tracer.start_span("name", context, SpanKind.CLIENT, {"first": True}, links)
    change(span)
    span.end()
    resource, scope, body = span.hand_over(encode_span_fields)
    assert body == encode_span(span)
    assert (resource, scope) == (span.resource, span.instrumentation_scope)


@pytest.mark.parametrize("holds", [True, False])
def test_a_span_that_is_not_sampled_is_kept(holds: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handover, "SHAPE_HOLDS", holds)
    span: Any = TracerProvider(shutdown_on_exit=False).get_tracer("t").start_span("x")
    span._context = UNSAMPLED
    span.end()
    assert span.hand_over(encode_span_fields) is None


def test_a_span_without_a_context_is_refused() -> None:
    span: Any = TracerProvider(shutdown_on_exit=False).get_tracer("t").start_span("x")
    span._context = None
    with pytest.raises(ValueError, match="without a context"):
        span.hand_over(encode_span_fields)
