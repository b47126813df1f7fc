"""Attributes that many spans share: never written to, whatever a span's owner does."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span as Message
from opentelemetry.sdk.trace import SpanLimits
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from spanwise.encode.spans import encode_span_fields
from spanwise.fixed import Fixed, FixedError
from spanwise.spans.provider import TracerProvider
from spanwise.spans.span import Span

CONTENT = {"db.system.name": "redis", "server.port": 6379, "a": True}

CHANGES: dict[str, tuple[Callable[[Any], object], dict[str, Any]]] = {
    "none": (lambda _: None, CONTENT),
    "a new key": (lambda span: span.set_attribute("b", 1), {**CONTENT, "b": 1}),
    "a key again": (lambda span: span.set_attribute("a", 2), {**CONTENT, "a": 2}),
    "a sequence": (lambda span: span.set_attribute("b", [1, 2]), {**CONTENT, "b": (1, 2)}),
    "many": (lambda span: span.set_attributes({"b": 1, "c": "x"}), {**CONTENT, "b": 1, "c": "x"}),
    "many again": (lambda span: span.set_attributes({"a": 1}), {**CONTENT, "a": 1}),
    "read, then one": (lambda span: (span.attributes, span.set_attribute("b", 1)), {**CONTENT, "b": 1}),
}


def encoded(span: Any) -> dict[str, Any]:
    handed = span.hand_over(encode_span_fields)
    message = Message.FromString(handed[2])
    return {each.key: getattr(each.value, each.value.WhichOneof("value")) for each in message.attributes}


@pytest.mark.parametrize("name", CHANGES)
@pytest.mark.parametrize("limit", [None, 100, 4])
def test_a_span_has_what_it_would_have_with_a_dict(name: str, limit: int | None) -> None:
    change, expected = CHANGES[name]
    fixed = Fixed(CONTENT)
    limits = SpanLimits(max_span_attributes=limit)
    exporter = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False, span_limits=limits)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracer = provider.get_tracer("t")
    told = []
    for attributes in (fixed, dict(CONTENT), fixed):
        span: Any = tracer.start_span("s", attributes=attributes)
        assert type(span) is Span
        change(span)
        span.end()
        told.append((dict(span.attributes), span.dropped_attributes))
        if name != "a sequence":
            assert encoded(span) == dict(span.attributes)
    assert told[0] == told[1] == told[2]
    if limit != 4:
        assert told[0] == (expected, 0)
    assert dict(fixed) == CONTENT


def test_what_a_rating_adds_is_the_span_s_own() -> None:
    class Verdict:
        rating, rule, limit = "poor", "db", 1.0

    fixed = Fixed(CONTENT)
    provider = TracerProvider(shutdown_on_exit=False, verdict=lambda *_: Verdict())
    span: Any = provider.get_tracer("t").start_span("s", attributes=fixed)
    span.end()
    assert span.attributes["spanwise.rating"] == "poor"
    assert encoded(span)["spanwise.rating"] == "poor"
    assert dict(fixed) == CONTENT


def test_limits_that_it_does_not_keep_cut_it_as_any() -> None:
    provider = TracerProvider(shutdown_on_exit=False, span_limits=SpanLimits(max_span_attributes=2))
    span: Any = provider.get_tracer("t").start_span("s", attributes=Fixed(CONTENT))
    assert (len(span.attributes), span.dropped_attributes) == (2, 1)


def test_it_cannot_be_written_to_and_its_copies_can() -> None:
    fixed = Fixed(CONTENT)
    with pytest.raises(FixedError):
        fixed["b"] = 1
    with pytest.raises(FixedError):
        del fixed["a"]
    for made in (copy.copy(fixed), copy.deepcopy(fixed), pickle.loads(pickle.dumps(fixed))):
        assert type(made) is dict
        assert made == CONTENT
