"""Our spans against the SDK's: the same calls leave the same span, whatever the values and limits."""

from __future__ import annotations

import copy
import json
import logging
from collections.abc import Iterator, Mapping
from enum import IntEnum
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry import trace as api
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk import trace as sdk
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter, SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags

from spanwise.spans.provider import TracerProvider
from spanwise.spans.span import Span

RESOURCE = Resource({"service.name": "shop"})


class Number(IntEnum):
    ONE = 1


class Named:
    def __str__(self) -> str:
        return "named"


class Nameless:
    """No __str__ of its own: the SDK puts None in its place."""


class Counting(IdGenerator):
    def __init__(self) -> None:
        self.last = 0

    def generate_span_id(self) -> int:
        self.last += 1
        return self.last

    def generate_trace_id(self) -> int:
        self.last += 1
        return self.last


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    # Thousands of examples break limits on purpose; their warnings would fill the report.
    logging.disable(logging.WARNING)
    yield
    logging.disable(logging.NOTSET)


scalars = st.one_of(
    st.text(max_size=12),
    st.booleans(),
    st.integers(-3, 3),
    st.floats(allow_nan=False),
    st.binary(max_size=4),
    st.none(),
    st.sampled_from([Number.ONE, Named(), Nameless()]),
)
keys = st.one_of(st.sampled_from(["a", "b", "c", "d", ""]), st.just(7))
values = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.lists(inner, max_size=3).map(tuple),
        st.dictionaries(keys, inner, max_size=2),
    ),
    max_leaves=5,
)
attributes = st.dictionaries(keys, values, max_size=6)
contexts = st.sampled_from(
    [SpanContext(5, 6, True), SpanContext(0, 0, False), SpanContext(7, 8, False, TraceFlags(1))]
)
operations = st.one_of(
    st.tuples(st.just("set_attribute"), keys, values),
    st.tuples(st.just("set_attributes"), attributes),
    st.tuples(st.just("add_event"), st.text(max_size=3), attributes, st.integers(1, 9)),
    st.tuples(st.just("add_link"), contexts, attributes),
    st.tuples(st.just("update_name"), st.text(max_size=5)),
    st.tuples(st.just("set_status"), st.sampled_from(list(StatusCode)), st.sampled_from([None, "why"])),
    st.tuples(
        st.just("set_status"),
        st.sampled_from([Status(StatusCode.OK), Status(StatusCode.ERROR, "bad"), Status()]),
    ),
    st.tuples(st.just("record_exception"), st.just(ValueError("no")), attributes, st.integers(1, 9)),
    st.tuples(st.just("end"), st.integers(100, 200)),
)
limit = st.sampled_from([sdk.SpanLimits.UNSET, 0, 1, 2, 3, 128])


def observed(span: sdk.ReadableSpan) -> dict[str, Any]:
    return {
        "name": span.name,
        "context": span.get_span_context(),
        "parent": span.parent,
        "kind": span.kind,
        "times": (span.start_time, span.end_time),
        "status": (span.status.status_code, span.status.description),
        "attributes": typed(span.attributes),
        "events": [
            (event.name, event.timestamp, typed(event.attributes), event.dropped_attributes)
            for event in span.events
        ],
        "links": [(link.context, typed(link.attributes), link.dropped_attributes) for link in span.links],
        "dropped": (span.dropped_attributes, span.dropped_events, span.dropped_links),
        "resource": span.resource,
        "scope": span.instrumentation_scope,
    }


def typed(mapping: Mapping[str, Any] | None) -> list[Any]:
    """With order and types, since True == 1 == 1.0 and dicts compare without order."""
    return [(key, type(value).__name__, value) for key, value in (mapping or {}).items()]


def play(provider: sdk.TracerProvider, first: Any, links: Any, calls: list[Any]) -> dict[str, Any]:
    exporter = InMemorySpanExporter()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracer = provider.get_tracer("scope", "1")
    span = tracer.start_span(
        "first",
        kind=SpanKind.CLIENT,
        attributes=first,
        links=[Link(*copy.deepcopy(link)) for link in links],
        start_time=50,
    )
    for name, *arguments in calls:
        getattr(span, name)(*arguments)
    span.end(end_time=300)
    (ended,) = exporter.get_finished_spans()
    assert isinstance(ended, sdk.ReadableSpan)
    return observed(ended)


@settings(max_examples=300)
@given(
    attributes,
    st.lists(st.tuples(contexts, attributes), max_size=3),
    st.lists(operations, max_size=8),
    limit,
    limit,
    st.sampled_from([None, 0, 2, 5]),
)
def test_same_calls_leave_same_span(
    first: Any, links: Any, calls: list[Any], count: int, details: int, length: int | None
) -> None:
    def made(kind: type[sdk.TracerProvider]) -> sdk.TracerProvider:
        limits = sdk.SpanLimits(
            max_span_attributes=count,
            max_event_attributes=details,
            max_link_attributes=details,
            max_events=details,
            max_links=details,
            max_attribute_length=length,
        )
        return kind(resource=RESOURCE, shutdown_on_exit=False, id_generator=Counting(), span_limits=limits)

    ours, theirs = (play(made(kind), first, links, calls) for kind in (TracerProvider, sdk.TracerProvider))
    assert ours == theirs


@pytest.fixture
def exporter() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def tracer(exporter: InMemorySpanExporter) -> api.Tracer:
    provider = TracerProvider(resource=RESOURCE, shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    return provider.get_tracer("scope")


def test_span_is_what_others_check_for(tracer: api.Tracer) -> None:
    span = tracer.start_span("x")
    assert isinstance(span, (sdk.Span, sdk.ReadableSpan, api.Span))
    assert type(span) is Span
    span.end()


def test_list_value_is_taken_when_set(tracer: api.Tracer, exporter: InMemorySpanExporter) -> None:
    values = ["a"]
    mapping = {"n": 1}
    span = tracer.start_span("x", attributes=mapping)
    span.set_attribute("values", values)
    values.append("b")
    mapping["n"] = 2
    span.end()
    assert dict(exporter.get_finished_spans()[0].attributes or {}) == {"n": 1, "values": ("a",)}


def test_ended_span_does_not_change(tracer: api.Tracer, exporter: InMemorySpanExporter) -> None:
    logging.disable(logging.NOTSET)
    span = tracer.start_span("x", attributes={"a": [1, Named()]})
    span.end(end_time=None)
    before = observed(exporter.get_finished_spans()[0])
    span.set_attribute("b", 1)
    span.set_attribute("c", Named())
    span.set_attributes({"d": 1})
    span.set_attributes({"e": Named()})
    span.add_event("e")
    span.add_link(SpanContext(1, 2, False))
    span.update_name("y")
    span.set_status(StatusCode.ERROR)
    span.end()
    assert observed(exporter.get_finished_spans()[0]) == before
    assert not span.is_recording()
    with pytest.raises(TypeError):
        span._attributes["f"] = 1  # type: ignore[attr-defined]
    assert len(exporter.get_finished_spans()) == 1


def test_attributes_of_running_span_stay_current(tracer: api.Tracer) -> None:
    span: Any = tracer.start_span("x", attributes={"a": 1})
    seen = span.attributes
    span.set_attribute("b", 2)
    assert dict(seen) == {"a": 1, "b": 2}
    with pytest.raises(TypeError):
        seen["c"] = 3
    span.end()


def test_processor_may_replace_and_change_attributes(tracer: api.Tracer) -> None:
    span: Any = tracer.start_span("x", attributes={"a": 1})
    span._attributes["b"] = 2  # what redacting processors do to the SDK's spans
    assert dict(span.attributes) == {"a": 1, "b": 2}
    span._attributes = {"c": 3}
    span.set_attribute("d", 4)
    assert dict(span.attributes) == {"c": 3, "d": 4}
    span._resource = Resource({"other": "one"})
    assert span.resource.attributes["other"] == "one"
    span.end()
    assert dict(span.attributes) == {"c": 3, "d": 4}


def test_deep_copy_is_a_detached_record(tracer: api.Tracer, exporter: InMemorySpanExporter) -> None:
    span: Any = tracer.start_span("x", attributes={"a": {"deep": 1}})
    span.add_event("e", {"k": 1})
    copied = copy.deepcopy(span)
    span.set_attribute("later", 1)
    span.end()
    assert isinstance(copied, sdk.ReadableSpan)
    assert dict(copied.attributes or {}) == {"a": {"deep": 1}}
    assert copied.context == span.context
    assert observed(copy.deepcopy(span)) == observed(span)
    assert len(exporter.get_finished_spans()) == 1


def test_stock_exporters_and_encoder_take_our_spans(exporter: InMemorySpanExporter, tmp_path: Any) -> None:
    provider = TracerProvider(resource=RESOURCE, shutdown_on_exit=False)
    batch = BatchSpanProcessor(exporter)
    provider.add_span_processor(batch)
    with (tmp_path / "console").open("w") as out:
        provider.add_span_processor(SimpleSpanProcessor(ConsoleSpanExporter(out=out)))
        tracer = provider.get_tracer("scope")
        with tracer.start_as_current_span("outer"), tracer.start_as_current_span("inner") as inner:
            inner.set_attributes({"n": 1, "list": [1, 2]})
            inner.add_event("e", {"k": "v"})
    assert provider.force_flush()
    inner_span, outer_span = exporter.get_finished_spans()
    printed = (tmp_path / "console").read_text()
    first, _ = json.JSONDecoder().raw_decode(printed)
    assert first == json.loads(inner_span.to_json())
    assert first["attributes"] == {"n": 1, "list": [1, 2]}
    assert inner_span.parent is outer_span.get_span_context()

    encoded = encode_spans([inner_span]).resource_spans[0].scope_spans[0].spans[0]
    assert encoded.name == "inner"
    assert [item.key for item in encoded.attributes] == ["n", "list"]
    assert encoded.events[0].name == "e"
    provider.shutdown()


def test_clock_set_back_gives_no_negative_duration(
    tracer: api.Tracer, exporter: InMemorySpanExporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    span = tracer.start_span("x")
    monkeypatch.setattr("spanwise.spans.span.time_ns", lambda: 1)
    span.end()
    (ended,) = exporter.get_finished_spans()
    assert ended.end_time == ended.start_time


@pytest.mark.parametrize("kind", [TracerProvider, sdk.TracerProvider])
def test_oldest_attributes_give_way(kind: type[sdk.TracerProvider]) -> None:
    limits = sdk.SpanLimits(max_span_attributes=2)
    tracer = kind(resource=RESOURCE, shutdown_on_exit=False, span_limits=limits).get_tracer("t")
    span: Any = tracer.start_span("x", attributes={"a": 1, "b": 2, "c": 3})
    assert typed(span.attributes) == [("b", "int", 2), ("c", "int", 3)]
    span.set_attribute("b", 4)  # set again: now the youngest
    span.set_attribute("d", 5)
    assert typed(span.attributes) == [("b", "int", 4), ("d", "int", 5)]
    span.set_attributes({"e": 6, "f": 7, "g": 8})
    assert typed(span.attributes) == [("f", "int", 7), ("g", "int", 8)]
    assert span.dropped_attributes == 5
