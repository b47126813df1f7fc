"""A call that is told of when it is over tells what it would tell with a span from its beginning on."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.context import Context
from opentelemetry.instrumentation.utils import suppress_instrumentation
from opentelemetry.sdk.trace import TracerProvider as SdkTracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import SpanKind

sys.path.insert(0, str(Path(__file__).parent))

from leaf_parts import Clock, Pipe, Starts, at_once, measured, objects_made, of_child, told

from spanwise.context import SUPPRESSION_KEYS, get_context
from spanwise.deliver.account import Account
from spanwise.deliver.channel import Channel
from spanwise.deliver.signals import SpanDelivery
from spanwise.deliver.source import Queue
from spanwise.fixed import Fixed
from spanwise.instrumentors import _abandoned
from spanwise.instrumentors._call import NO_CALL
from spanwise.instrumentors._calls import Calls
from spanwise.spans.provider import TracerProvider
from spanwise.spans.span import Span

ATTRIBUTES = {"db.system.name": "redis", "server.port": 6379, "db.query.text": "GET ?"}
LABELS = {"db.system.name": "redis"}
FIXED = Fixed(ATTRIBUTES)
FIXED_LABELS = Fixed(LABELS)


@pytest.fixture
def pipe(tmp_path: Path) -> Iterator[Pipe]:
    made = Pipe(tmp_path)
    yield made
    made.source.discard()


@pytest.fixture
def within(pipe: Pipe) -> Iterator[Any]:
    with pipe.request() as span:
        yield span


@pytest.fixture
def objects(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the spans that were made."""
    return objects_made(monkeypatch)


def over(
    pipe: Pipe, name: str = "GET", took: int = 5, labels: Fixed | None = FIXED_LABELS, **more: Any
) -> None:
    given = {"attributes": FIXED, "context": get_context(), **more}
    pipe.calls.over(name, labels=labels, took=took, **given)


# -- it arrives as a span does ------------------------------------------------------------------


@pytest.mark.parametrize("kind", [SpanKind.CLIENT, SpanKind.INTERNAL, SpanKind.PRODUCER])
def test_it_arrives_as_a_span_does(
    tmp_path: Path, objects: list[str], kind: SpanKind, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A processor that cares for the start makes one of it; and so does a call that is started."""
    clock = Clock(monkeypatch)
    found = []
    for classic, way in ((False, "over"), (True, "over"), (False, "start"), (True, "start")):
        clock.passed = 0
        pipe = Pipe(tmp_path, classic=classic)
        with pipe.request() as request:
            objects.clear()
            for number, took in enumerate((7, 250_000_000, 0)):
                name, fixed = f"GET {number % 2}", Fixed({**ATTRIBUTES, "n": number})
                if way == "over":
                    clock.work(took)
                    over(pipe, name, took, attributes=fixed, kind=kind)
                else:
                    call = pipe.calls.start(name, fixed, kind=kind, metric_attributes=FIXED_LABELS)
                    clock.work(took)
                    call.end()
                clock.work(1_000)
            assert objects == ([] if (classic, way) == (False, "over") else ["GET 0", "GET 1", "GET 0"])
        spans = pipe.spans()
        assert len({span.span_id for span in spans}) == 3
        found.append(([told(span, request) for span in spans], measured(pipe.points(), request)))
        pipe.source.discard()
    assert found[0] == found[1] == found[2] == found[3]
    (first, second, third), ((labels, count, total, exemplars),) = found[0]
    assert 'parent_span_id: "the request"' in first
    assert (str(Clock.START) in first, str(Clock.START + 7) in first) == (True, True)
    assert str(Clock.START + 7 + 1_000 + 250_000_000) in second
    assert third.count(str(Clock.START + 7 + 2_000 + 250_000_000)) == 2
    assert (labels, count, total, exemplars) == (
        sorted(LABELS.items()),
        3,
        pytest.approx(0.250000007),
        {True},
    )


@pytest.mark.usefixtures("within")
def test_its_attributes_may_be_another_name_s_and_kind_s_too(pipe: Pipe) -> None:
    for name, kind in (
        ("a", SpanKind.CLIENT),
        ("b", SpanKind.CLIENT),
        ("b", SpanKind.INTERNAL),
        ("a", SpanKind.CLIENT),
    ):
        over(pipe, name, kind=kind)
    assert [(span.name, span.kind) for span in pipe.spans()] == [("a", 3), ("b", 3), ("b", 1), ("a", 3)]


def test_parents_may_take_turns(pipe: Pipe, objects: list[str]) -> None:
    contexts, expected = [], []
    for _ in range(3):
        with pipe.request() as request:
            contexts.append(get_context())
            expected.append(request.get_span_context())
    objects.clear()
    turns = [0, 1, 0, 0, 2, 1]
    for turn in turns:
        over(pipe, context=contexts[turn])
    assert objects == []
    spans = pipe.spans()
    assert [(int.from_bytes(s.trace_id, "big"), int.from_bytes(s.parent_span_id, "big")) for s in spans] == [
        (expected[turn].trace_id, expected[turn].span_id) for turn in turns
    ]


def test_its_duration_is_the_span_s(pipe: Pipe, within: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    Clock(monkeypatch).passed = 500_000_000
    over(pipe, took=250_000_000)
    (span,) = pipe.spans()
    end = Clock.START + 500_000_000
    assert (span.start_time_unix_nano, span.end_time_unix_nano) == (end - 250_000_000, end)
    (point,) = pipe.points()
    assert (point.count, point.sum, dict(point.attributes)) == (1, 0.25, LABELS)
    (exemplar,) = point.exemplars
    assert exemplar.span_id == within.get_span_context().span_id


@pytest.mark.usefixtures("within")
def test_without_labels_no_duration_is_told(pipe: Pipe) -> None:
    over(pipe, labels=None)
    assert [span.name for span in pipe.spans()] == ["GET"]
    assert pipe.points() == []


@pytest.mark.usefixtures("within")
def test_without_an_instrument_none_is_told(pipe: Pipe) -> None:
    pipe.calls.duration = None
    over(pipe)
    assert [span.name for span in pipe.spans()] == ["GET"]


def test_labels_go_with_the_call_s_own_instrument(pipe: Pipe, tmp_path: Path) -> None:
    other = Pipe(tmp_path)
    labels = Fixed(LABELS)
    for number, each in enumerate((pipe, other, pipe, other, other)):
        if number % 2:
            over(each, labels=labels, context=Context())
        else:
            each.calls.start("GET", context=Context(), metric_attributes=labels).end()
    assert [[point.count for point in each.points()] for each in (pipe, other)] == [[2], [3]]
    other.source.discard()


# -- a call that is over when it starts ---------------------------------------------------------


@pytest.mark.usefixtures("within")
@pytest.mark.parametrize("failed", [True, False])
def test_one_that_is_over_has_exactly_the_duration_it_took(
    pipe: Pipe, failed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock(monkeypatch)
    clock.passed = 900_000_000
    call = pipe.calls.start("GET", FIXED, metric_attributes=FIXED_LABELS, took=250_000_000)
    clock.work(77)  # to describe it takes its time too
    seconds = call.fail(ValueError("no")) if failed else call.end()
    assert seconds == 0.25
    (span,) = pipe.spans()
    end = Clock.START + 900_000_000
    assert (span.start_time_unix_nano, span.end_time_unix_nano) == (end - 250_000_000, end)
    (point,) = pipe.points()
    assert point.sum == 0.25


@pytest.mark.usefixtures("within")
@pytest.mark.parametrize("took", [None, 5])
def test_a_failure_is_a_span_s(pipe: Pipe, took: int | None) -> None:
    pipe.calls.start("GET", FIXED, metric_attributes=FIXED_LABELS, took=took).fail(ValueError("no"))
    pipe.calls.start("GET", dict(ATTRIBUTES)).fail(ValueError("no"))
    one, other = pipe.spans()
    assert one.status == other.status
    assert one.status.code == 2
    assert [event.name for event in one.events] == ["exception"]
    assert {each.key for each in one.attributes} == {*ATTRIBUTES, "error.type"}
    assert dict(FIXED) == ATTRIBUTES
    (point,) = pipe.points()
    assert dict(point.attributes) == {**LABELS, "error.type": "ValueError"}


@pytest.mark.usefixtures("within")
def test_a_started_one_has_a_span_that_may_be_the_current_one(pipe: Pipe) -> None:
    with pipe.calls.start("GET", FIXED) as call:
        assert isinstance(call.span, Span)
        over(pipe, "inner")
        call.span.set_attribute("more", 1)
    inner, span = pipe.spans()
    assert span.span_id == call.span.get_span_context().span_id.to_bytes(8, "big")
    assert (inner.name, inner.parent_span_id) == ("inner", span.span_id)
    assert "more" in {each.key for each in span.attributes}
    assert call.end() == 0.0
    assert pipe.spans() == []


@pytest.mark.usefixtures("within")
def test_a_dropped_one_ends_as_failed(pipe: Pipe) -> None:
    call: Any = pipe.calls.start("GET", FIXED)
    del call
    gc.collect()
    over(pipe, "next")  # whatever comes next has it ended
    first, second = pipe.spans()
    assert (first.name, second.name, second.status.code) == ("next", "GET", 2)


@pytest.mark.usefixtures("within")
def test_what_others_that_were_dropped_take_is_not_its_time(
    pipe: Pipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock(monkeypatch)
    for context in (get_context(), Context()):  # told as a leaf, and as a span
        before = clock.passed
        _abandoned.later(lambda: clock.work(1_000_000_000))
        over(pipe, took=5, context=context)
        assert clock.passed == before + 1_000_000_000
        (span,) = pipe.spans()
        end = Clock.START + before
        assert (span.start_time_unix_nano, span.end_time_unix_nano) == (end - 5, end)


@pytest.mark.usefixtures("within")
def test_nothing_ends_in_a_finalizer_but_later(pipe: Pipe) -> None:
    """It may run on top of whoever holds the lock that an end needs."""
    done: list[str] = []
    _abandoned.later(lambda: done.append("of another call"))
    call = pipe.calls.start("GET", FIXED, took=5)  # as where a coroutine is thrown away
    call.fail(GeneratorExit())
    assert (done, pipe.spans()) == ([], [])
    _abandoned.end_abandoned()
    assert done == ["of another call"]
    (span,) = pipe.spans()
    assert (span.status.code, span.end_time_unix_nano - span.start_time_unix_nano) == (2, 5)


# -- whether somebody cares ---------------------------------------------------------------------


@pytest.mark.usefixtures("within")
def test_a_start_with_fixed_attributes_tells_whether_somebody_cares(pipe: Pipe) -> None:
    assert not pipe.calls.quick
    pipe.calls.start("GET", dict(ATTRIBUTES)).end()
    assert not pipe.calls.quick, "such a call cannot be told of when it is over"
    pipe.calls.start("GET", FIXED).end()
    assert pipe.calls.quick
    pipe.provider.add_span_processor(Starts())
    pipe.calls.start("GET", FIXED).end()
    assert not pipe.calls.quick


@pytest.mark.usefixtures("within")
def test_a_processor_that_comes_is_seen_by_the_first_call_after(pipe: Pipe, objects: list[str]) -> None:
    pipe.calls.start("GET", FIXED).end()
    over(pipe, "before")
    starts = Starts()
    pipe.provider.add_span_processor(starts)
    objects.clear()
    assert pipe.calls.quick
    over(pipe, "first", took=9)
    assert not pipe.calls.quick
    assert objects == starts.names == ["first"]
    *_, first = pipe.spans()
    assert (first.name, first.end_time_unix_nano - first.start_time_unix_nano) == ("first", 9)


@pytest.mark.usefixtures("within")
def test_a_processor_that_comes_may_take_leaves_too(pipe: Pipe) -> None:
    pipe.calls.start("GET", FIXED).end()

    class Late(SpanDelivery):
        def __init__(self) -> None:
            self.ended: list[Any] = []

        def on_end(self, span: Any) -> None:
            self.ended.append(span)

    late = Late()
    pipe.provider.add_span_processor(late)
    over(pipe)
    assert [each.name for each in late.ended] == [span.name for span in pipe.spans()][1:] == ["GET"]


@pytest.mark.usefixtures("within")
def test_whoever_replaces_what_becomes_of_spans_sees_all_of_them(pipe: Pipe) -> None:
    over(pipe)
    (leaf,) = pipe.spans()
    original, seen = pipe.delivery.on_end, []

    def drop_secrets(span: Any) -> None:
        seen.append(span.name)
        if span.name != "secret":
            original(span)

    pipe.delivery.on_end = drop_secrets  # type: ignore[method-assign]
    for name in ("secret", "secret", "GET"):
        over(pipe, name)
    pipe.calls.start("secret", FIXED).end()
    assert seen == ["secret", "secret", "GET", "secret"]
    (span,) = pipe.spans()
    for each in (leaf, span):
        assert each.span_id
        assert each.end_time_unix_nano > each.start_time_unix_nano
        for field in ("span_id", "start_time_unix_nano", "end_time_unix_nano"):
            each.ClearField(field)
    assert span == leaf


@pytest.mark.usefixtures("within")
def test_a_source_of_objects_gets_spans(pipe: Pipe) -> None:
    sender: Any = None
    queue = Queue(Account("traces"), lambda items, _: b"", capacity=10, batch=5)
    channel = Channel(queue, sender, address="-", delay=1.0)
    pipe.provider.add_span_processor(SpanDelivery(channel, lambda _: True))
    over(pipe)
    assert pipe.calls.quick  # what comes now is a leaf
    over(pipe)
    assert queue.waiting == 2
    assert [span.name for span in pipe.spans()] == ["GET", "GET"]


@pytest.mark.usefixtures("within")
def test_after_the_shutdown_none_is_taken(pipe: Pipe) -> None:
    over(pipe)
    assert len(pipe.spans()) == 1
    pipe.provider.shutdown()
    over(pipe)
    pipe.calls.start("GET", FIXED).end()
    assert pipe.spans() == []


def test_without_a_request_around_it_is_a_span(pipe: Pipe, objects: list[str]) -> None:
    over(pipe, context=Context())
    assert objects == ["GET"]
    (span,) = pipe.spans()
    assert span.parent_span_id == b""


def test_in_a_trace_that_is_not_sampled_there_is_none(pipe: Pipe) -> None:
    other = TracerProvider(sampler=ALWAYS_OFF, shutdown_on_exit=False)
    for provider in (pipe.provider, other):
        calls = Calls("thing", provider.get_tracer("t"), pipe.calls.duration)
        with other.get_tracer("app").start_as_current_span("request"):
            for _ in range(2):
                calls.start("GET", FIXED).end()
                calls.over("GET", FIXED, FIXED_LABELS, get_context(), 5)
    assert pipe.spans() == []
    (point,) = pipe.points()
    assert (point.count, list(point.exemplars)) == (4, [])


def test_a_tracer_of_the_sdk_gets_spans() -> None:
    exporter, provider = InMemorySpanExporter(), SdkTracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    calls = Calls("thing", provider.get_tracer("t"))
    calls.start("GET", FIXED).end()
    assert not calls.quick
    calls.over("GET", FIXED, None, Context(), 5)
    first, second = exporter.get_finished_spans()
    assert dict(first.attributes or {}) == dict(second.attributes or {}) == ATTRIBUTES
    assert (second.end_time or 0) - (second.start_time or 0) == 5


@pytest.mark.usefixtures("within")
def test_a_tracer_that_is_switched_off_makes_nothing(pipe: Pipe) -> None:
    pipe.calls.start("GET", FIXED).end()
    assert pipe.calls.quick
    assert len(pipe.spans()) == 1
    config = type(pipe.calls.tracer._tracer_config)  # type: ignore[attr-defined]
    pipe.provider._set_tracer_configurator(
        tracer_configurator=lambda scope: config(is_enabled=scope.name != "t")
    )
    for _ in range(2):
        over(pipe)
        pipe.calls.start("GET", FIXED).end()
        assert not pipe.calls.quick
    assert pipe.spans() == []
    (point,) = pipe.points()
    assert point.count == 2, "durations are another matter"


def test_where_something_is_suppressed_no_call_is_started(pipe: Pipe) -> None:
    with pipe.request(), suppress_instrumentation():
        assert pipe.calls.start("GET", FIXED) is NO_CALL
        assert pipe.calls.start("GET", FIXED, took=5) is NO_CALL
    for key in SUPPRESSION_KEYS:
        with pipe.request(**{key: False}):
            pipe.calls.start("GET", FIXED).end()
    assert len(pipe.spans()) == len(SUPPRESSION_KEYS)


def test_what_may_be_rated_is_a_span_that_somebody_rates(pipe: Pipe, objects: list[str]) -> None:
    asked: list[tuple[Any, ...]] = []

    def verdict(*about: Any) -> None:
        asked.append(about)

    verdict.floor = 10  # type: ignore[attr-defined]
    provider = TracerProvider(shutdown_on_exit=False, verdict=verdict)
    provider.add_span_processor(pipe.delivery)
    calls = Calls("thing", provider.get_tracer("t"))
    with pipe.request():
        calls.start("GET", FIXED, took=5).end()
        objects.clear()
        for took in (10, 11, 10):
            calls.over("GET", FIXED, None, get_context(), took)
        assert calls.quick, "most calls are not rated"
    assert objects == ["GET"]
    assert len(asked) == 1
    assert [s.end_time_unix_nano - s.start_time_unix_nano for s in pipe.spans()] == [5, 10, 11, 10]


# -- what goes wrong ----------------------------------------------------------------------------


@pytest.mark.usefixtures("within")
@pytest.mark.parametrize("broken", ["_leaf", "_takes_leaves", "tracer", "duration"])
def test_what_fails_costs_the_telemetry_alone(
    pipe: Pipe, broken: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: Any, **__: Any) -> Any:
        raise RuntimeError("no")

    expected = {
        "_leaf": (0, 2, "tell of a call"),
        "_takes_leaves": (2, 2, "tell of a call"),
        "tracer": (0, 2, "tell of a call"),
        "duration": (2, 0, "record a duration"),
    }
    if broken in ("_takes_leaves", "tracer"):
        monkeypatch.setattr(pipe.calls, "_leaf", lambda *_: None)
    monkeypatch.setattr(pipe.calls, broken, fail)
    for _ in range(2):
        over(pipe)
    monkeypatch.undo()
    spans, durations, said = expected[broken]
    assert len(pipe.spans()) == spans
    assert sum(point.count for point in pipe.points()) == durations
    lines = [each for each in caplog.records if each.levelname == "WARNING"]
    assert len(lines) == 1
    assert f"thing instrumentation could not {said} (" in lines[0].getMessage()


@pytest.mark.usefixtures("within")
def test_a_tracer_that_fails_gives_no_call(
    pipe: Pipe, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: Any, **__: Any) -> Any:
        raise RuntimeError("no")

    monkeypatch.setattr(pipe.calls.tracer, "start_span", broken)
    assert pipe.calls.start("GET", FIXED) is NO_CALL
    assert pipe.calls.start("GET", FIXED, took=5) is NO_CALL
    assert "thing instrumentation could not start a span (RuntimeError: no)" in caplog.text


# -- threads and processes ----------------------------------------------------------------------


def test_threads_keep_their_parents(pipe: Pipe) -> None:
    threads, each = 4, 300
    parents: dict[int, int] = {}

    def serve(number: int) -> None:
        with pipe.request() as request:
            parents[number] = request.get_span_context().span_id
            for turn in range(each):
                over(pipe, f"{number} {turn}")

    at_once(threads, serve)
    spans = pipe.spans()
    assert len({span.span_id for span in spans}) == len(spans) == threads * each
    expected = {(f"{number} {turn}", parents[number]) for number in parents for turn in range(each)}
    assert {(span.name, int.from_bytes(span.parent_span_id, "big")) for span in spans} == expected
    (point,) = pipe.points()
    assert point.count == threads * each


def test_a_forked_child_tells_of_its_own_calls(pipe: Pipe) -> None:
    with pipe.request() as request:
        pipe.calls.start("GET", FIXED).end()
        over(pipe, "before")
        theirs = of_child(pipe, lambda: over(pipe, "child's"))
        over(pipe, "parent's")
    ours = pipe.spans()
    assert [span.name for span in ours] == ["GET", "before", "parent's"]
    assert [span.name for span in theirs] == ["child's"]
    parent = request.get_span_context().span_id.to_bytes(8, "big")
    assert {span.parent_span_id for span in (*ours, *theirs)} == {parent}
    assert len({span.span_id for span in (*ours, *theirs)}) == 4
