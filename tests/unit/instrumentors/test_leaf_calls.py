"""A call that makes no span tells what it would tell with one."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry import trace as api
from opentelemetry.context import Context, attach, detach
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span as Message
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.trace import SpanKind

from spanwise.deliver.account import Account
from spanwise.deliver.channel import Channel
from spanwise.deliver.signals import SpanDelivery
from spanwise.deliver.source import Queue
from spanwise.deliver.span_segment import SpanSegment
from spanwise.fixed import Fixed
from spanwise.instrumentors import _abandoned, _call, _calls
from spanwise.instrumentors._call import NO_CALL
from spanwise.instrumentors._calls import Calls
from spanwise.meters.provider import MeterProvider
from spanwise.spans import leaf
from spanwise.spans.provider import TracerProvider
from spanwise.spans.span import Span
from spanwise.spans.tracer import Tracer

ATTRIBUTES = {"db.system.name": "redis", "server.port": 6379, "db.query.text": "GET ?"}
LABELS = {"db.system.name": "redis"}


class Pipe:
    """The delivery of a process, up to the request."""

    def __init__(self, folder: Path) -> None:
        self.source = SpanSegment(Account("traces"), capacity=1000, batch=100, folder=folder, label="t")
        sender: Any = None
        channel = Channel(self.source, sender, address="-", delay=1.0, wake=lambda: None)
        self.delivery = SpanDelivery(channel, lambda _: True)
        self.provider = TracerProvider(shutdown_on_exit=False)
        self.provider.add_span_processor(self.delivery)
        self.reader = InMemoryMetricReader()
        self.meters = MeterProvider([self.reader], shutdown_on_exit=False)
        duration = self.meters.get_meter("m").create_histogram("d", "s")
        self.calls = Calls("thing", self.provider.get_tracer("t"), duration)

    def spans(self) -> list[Message]:
        load = self.source.load(partial=True)
        if load is None:
            return []
        request = ExportTraceServiceRequest.FromString(b"".join(load.body))
        self.source.release(load)
        return [
            span
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]

    def points(self) -> list[Any]:
        data: Any = self.reader.get_metrics_data()
        return [
            point
            for resource in data.resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
            for point in metric.data.data_points
        ]


@pytest.fixture
def pipe(tmp_path: Path) -> Iterator[Pipe]:
    made = Pipe(tmp_path)
    yield made
    made.source.discard()


@pytest.fixture
def within(pipe: Pipe) -> Iterator[Any]:
    span = pipe.provider.get_tracer("app").start_span("request", kind=SpanKind.SERVER)
    token = attach(api.set_span_in_context(span))
    yield span
    detach(token)


@pytest.fixture
def objects(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the spans that were made."""
    found: list[str] = []
    original = Tracer.start_span

    def start_span(self: Any, name: str, *args: Any, **kwargs: Any) -> Any:
        found.append(name)
        return original(self, name, *args, **kwargs)

    monkeypatch.setattr(Tracer, "start_span", start_span)
    return found


def parts(message: Message) -> dict[str, Any]:
    """All of a span but what differs from one to the next."""
    copy = Message()
    copy.CopyFrom(message)
    assert len(copy.span_id) == 8
    assert copy.end_time_unix_nano >= copy.start_time_unix_nano > 0
    for name in ("span_id", "start_time_unix_nano", "end_time_unix_nano"):
        copy.ClearField(name)  # type: ignore[arg-type]
    return {"text": str(copy)}


@pytest.mark.parametrize("kind", [SpanKind.CLIENT, SpanKind.INTERNAL, SpanKind.PRODUCER])
def test_it_arrives_as_a_span_does(pipe: Pipe, within: Any, objects: list[str], kind: SpanKind) -> None:
    for attributes in (Fixed(ATTRIBUTES), dict(ATTRIBUTES)):
        pipe.calls.start("GET", attributes, kind=kind).end()
    assert objects == ["GET"]  # the second one
    one, other = pipe.spans()
    assert parts(one) == parts(other)
    assert one.span_id != other.span_id
    assert one.parent_span_id == within.get_span_context().span_id.to_bytes(8, "big")


@pytest.mark.usefixtures("within")
def test_its_attributes_may_be_another_name_s_and_kind_s_too(pipe: Pipe) -> None:
    fixed = Fixed(ATTRIBUTES)
    for name, kind in (
        ("a", SpanKind.CLIENT),
        ("b", SpanKind.CLIENT),
        ("b", SpanKind.INTERNAL),
        ("a", SpanKind.CLIENT),
    ):
        pipe.calls.start(name, fixed, kind=kind).end()
    assert [(span.name, span.kind) for span in pipe.spans()] == [("a", 3), ("b", 3), ("b", 1), ("a", 3)]


def test_its_duration_is_the_span_s(pipe: Pipe, within: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter((1_000, 1_000 + 250_000_000))
    monkeypatch.setattr(_call, "perf_counter_ns", lambda: next(clock))
    monkeypatch.setattr(_calls, "time_ns", lambda: 7_000_000_000)
    seconds = pipe.calls.start("GET", Fixed(ATTRIBUTES), metric_attributes=Fixed(LABELS)).end()
    assert seconds == 0.25
    (span,) = pipe.spans()
    assert (span.start_time_unix_nano, span.end_time_unix_nano) == (7_000_000_000, 7_250_000_000)
    (point,) = pipe.points()
    assert (point.count, point.sum, dict(point.attributes)) == (1, 0.25, LABELS)
    (exemplar,) = point.exemplars
    assert exemplar.span_id == within.get_span_context().span_id


ASKED: dict[str, Callable[[Any], object]] = {
    "for its span": lambda call: call.span.set_attribute("more", 1),
    "for its context": lambda call: call.current,
    "to be the current one": lambda call: call.__enter__().__exit__(None, None, None),
}


@pytest.mark.usefixtures("within")
@pytest.mark.parametrize("asked", ASKED)
def test_whoever_asks_gets_a_span_that_began_then(pipe: Pipe, objects: list[str], asked: str) -> None:
    call = pipe.calls.start("GET", Fixed(ATTRIBUTES))
    assert objects == []
    ASKED[asked](call)
    assert objects == ["GET"]
    assert isinstance(call.span, Span)
    call.end()
    (span,) = pipe.spans()
    assert span.span_id == call.span.get_span_context().span_id.to_bytes(8, "big")
    assert ("more" in {each.key for each in span.attributes}) is (asked == "for its span")


@pytest.mark.usefixtures("within")
def test_whoever_asks_afterwards_learns_who_it_was(pipe: Pipe, objects: list[str]) -> None:
    call = pipe.calls.start("GET", Fixed(ATTRIBUTES))
    call.end()
    of = call.span.get_span_context()
    assert objects == []
    assert not call.span.is_recording()
    (span,) = pipe.spans()
    assert (span.trace_id, span.span_id) == (of.trace_id.to_bytes(16, "big"), of.span_id.to_bytes(8, "big"))
    assert of.trace_flags.sampled
    assert call.end() == 0.0
    assert pipe.spans() == []


@pytest.mark.usefixtures("within")
def test_a_failure_is_a_span_s(pipe: Pipe) -> None:
    fixed = Fixed(ATTRIBUTES)
    pipe.calls.start("GET", fixed, metric_attributes=Fixed(LABELS)).fail(ValueError("no"))
    pipe.calls.start("GET", dict(ATTRIBUTES)).fail(ValueError("no"))
    one, other = pipe.spans()
    assert one.status == other.status
    assert one.status.code == 2
    assert [event.name for event in one.events] == ["exception"]
    assert {each.key for each in one.attributes} == {*ATTRIBUTES, "error.type"}
    assert dict(fixed) == ATTRIBUTES
    (point,) = pipe.points()
    assert dict(point.attributes) == {**LABELS, "error.type": "ValueError"}


@pytest.mark.usefixtures("within")
def test_a_dropped_one_ends_as_failed(pipe: Pipe) -> None:
    call: Any = pipe.calls.start("GET", Fixed(ATTRIBUTES))
    del call
    gc.collect()
    _abandoned.end_abandoned()
    (span,) = pipe.spans()
    assert (span.name, span.status.code) == ("GET", 2)


@pytest.mark.usefixtures("within")
def test_a_processor_that_comes_meanwhile_gets_a_span(pipe: Pipe) -> None:
    class Late(SpanDelivery):
        def __init__(self) -> None:
            self.ended: list[Any] = []

        def on_end(self, span: Any) -> None:
            self.ended.append(span)

    late = Late()
    call = pipe.calls.start("GET", Fixed(ATTRIBUTES))
    pipe.provider.add_span_processor(late)
    call.end()
    (span,) = pipe.spans()
    assert [each.name for each in late.ended] == [span.name] == ["GET"]


@pytest.mark.usefixtures("within")
def test_whoever_replaces_what_becomes_of_spans_sees_all_of_them(pipe: Pipe) -> None:
    original, seen = pipe.delivery.on_end, []

    def drop_secrets(span: Any) -> None:
        seen.append(span.name)
        if span.name != "secret":
            original(span)

    before = pipe.calls.start("secret", Fixed(ATTRIBUTES))
    pipe.delivery.on_end = drop_secrets  # type: ignore[method-assign]
    before.end()
    for name in ("secret", "GET"):
        pipe.calls.start(name, Fixed(ATTRIBUTES)).end()
    assert seen == ["secret", "secret", "GET"]
    assert [span.name for span in pipe.spans()] == ["GET"]


@pytest.mark.usefixtures("within")
def test_a_source_of_objects_gets_spans(pipe: Pipe) -> None:
    sender: Any = None
    queue = Queue(Account("traces"), lambda items, _: b"", capacity=10, batch=5)
    channel = Channel(queue, sender, address="-", delay=1.0, wake=lambda: None)
    pipe.provider.add_span_processor(SpanDelivery(channel, lambda _: True))
    pipe.calls.start("GET", Fixed(ATTRIBUTES)).end()
    assert queue.waiting == 1
    assert [span.name for span in pipe.spans()] == ["GET"]


def test_labels_go_with_the_call_s_own_instrument(pipe: Pipe, tmp_path: Path) -> None:
    other = Pipe(tmp_path)
    labels = Fixed(LABELS)
    for each in (pipe, other, pipe, other, other):
        each.calls.start("GET", context=Context(), metric_attributes=labels).end()
    assert [[point.count for point in each.points()] for each in (pipe, other)] == [[2], [3]]


def test_after_the_shutdown_none_is_taken(pipe: Pipe) -> None:
    before = pipe.calls.start("GET", Fixed(ATTRIBUTES))
    pipe.provider.shutdown()
    before.end()
    pipe.calls.start("GET", Fixed(ATTRIBUTES)).end()
    assert pipe.spans() == []


@pytest.mark.usefixtures("within")
def test_a_tracer_that_fails_costs_the_telemetry_alone(
    pipe: Pipe, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: Any, **__: Any) -> Any:
        raise RuntimeError("no")

    monkeypatch.setattr(pipe.calls, "_leaf", broken)
    assert pipe.calls.start("GET", Fixed(ATTRIBUTES)) is NO_CALL
    monkeypatch.undo()
    call = pipe.calls.start("GET", Fixed(ATTRIBUTES), metric_attributes=Fixed(LABELS))
    monkeypatch.setattr(pipe.calls, "end_leaf", broken)
    assert call.end() >= 0.0
    asked = pipe.calls.start("GET", Fixed(ATTRIBUTES))
    monkeypatch.setattr(pipe.calls.tracer, "start_span", broken)
    assert not asked.span.is_recording()
    asked.end()
    assert "thing instrumentation could not start a span (RuntimeError: no)" in caplog.text
    (point,) = pipe.points()
    assert point.count == 1


def test_without_a_request_around_it_is_a_span(pipe: Pipe, objects: list[str]) -> None:
    pipe.calls.start("GET", Fixed(ATTRIBUTES), context=Context()).end()
    assert objects == ["GET"]
    assert leaf.leaf(pipe.calls.tracer, Context(), Fixed(ATTRIBUTES)) is None  # type: ignore[arg-type]
