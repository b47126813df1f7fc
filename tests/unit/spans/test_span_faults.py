"""What other people's code raises on the way of a span never reaches the application."""

from __future__ import annotations

import logging
import sys
import threading
from dataclasses import dataclass
from typing import Any

import pytest
from opentelemetry import trace as api
from opentelemetry.sdk import trace as sdk
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanLimits, SpanProcessor
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ParentBased, Sampler
from opentelemetry.trace import SpanContext, SpanKind, TraceFlags

from spanwise import names
from spanwise.spans import faults
from spanwise.spans.provider import TracerProvider


class Broken(Exception):
    pass


class Raising(SpanProcessor):
    def on_start(self, *_: Any, **__: Any) -> None:
        raise Broken("on_start")

    def _on_ending(self, *_: Any) -> None:
        raise Broken("on_ending")

    def on_end(self, *_: Any) -> None:
        raise Broken("on_end")

    def shutdown(self) -> None:
        raise Broken("shutdown")

    def force_flush(self, timeout_millis: int = 0) -> bool:
        raise Broken("force_flush")


class Unprintable:
    def __str__(self) -> str:
        raise Broken("__str__")


class UnprintableError(Exception):
    def __str__(self) -> str:
        raise Broken("__str__")


class RaisingSampler(Sampler):
    def should_sample(self, *_: Any, **__: Any) -> Any:
        raise Broken("should_sample")

    def get_description(self) -> str:
        return "raising"


@dataclass
class Rated:
    rating: Any = "poor"
    rule: Any = "db.client"
    limit: Any = 0.5


@pytest.fixture(autouse=True)
def fresh_log(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(faults, "_seen", set())


def setup(**arguments: Any) -> tuple[TracerProvider, api.Tracer, InMemorySpanExporter]:
    exporter = InMemorySpanExporter()
    provider = TracerProvider(resource=Resource({}), shutdown_on_exit=False, **arguments)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    return provider, provider.get_tracer("t"), exporter


def test_raising_processor_harms_only_itself(caplog: pytest.LogCaptureFixture) -> None:
    exporter = InMemorySpanExporter()
    provider = TracerProvider(resource=Resource({}), shutdown_on_exit=False)
    provider.add_span_processor(Raising())
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracer = provider.get_tracer("t")
    for _ in range(3):
        with tracer.start_as_current_span("x"):
            pass
    assert len(exporter.get_finished_spans()) == 3
    assert provider.force_flush() is False
    provider.shutdown()
    warnings = [record.message.split()[0] for record in caplog.records if record.levelno == logging.WARNING]
    assert warnings == ["on_start", "on_ending", "on_end", "force_flush", "shutdown"]


def test_raising_processor_in_a_foreign_list_stays_inside() -> None:
    processors = sdk.SynchronousMultiSpanProcessor()
    processors.add_span_processor(Raising())
    provider = TracerProvider(resource=Resource({}), shutdown_on_exit=False, active_span_processor=processors)
    span = provider.get_tracer("t").start_span("x")
    span.end()
    assert not span.is_recording()


class Following(sdk.SpanProcessor):
    """Notes every call."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def on_start(self, span: Any, parent_context: Any = None) -> None:
        self.calls.append("start")

    def _on_ending(self, span: Any) -> None:
        self.calls.append("ending")

    def on_end(self, span: Any) -> None:
        self.calls.append("end")


def test_processors_get_the_calls_that_they_have_methods_for() -> None:
    """Also one that is put in its place later, and one that is no SpanProcessor."""
    provider, tracer, exporter = setup()
    tracer.start_span("before").end()
    one, two = Following(), Following()
    provider.add_span_processor(one)
    tracer.start_span("added").end()
    processors: Any = provider._active_span_processor
    processors._span_processors = (two, *processors._span_processors)
    tracer.start_span("put in").end()
    assert (one.calls, two.calls) == (["start", "ending", "end"] * 2, ["start", "ending", "end"])

    class OnlyEnds:
        calls = 0

        def on_end(self, span: Any) -> None:
            self.calls += 1

    foreign = OnlyEnds()
    processors._span_processors = (foreign, *processors._span_processors)
    tracer.start_span("foreign").end()
    assert (foreign.calls, two.calls[3:]) == (1, ["start", "ending", "end"])
    assert len(exporter.get_finished_spans()) == 4


class OnlyEnds(SpanProcessor):
    def on_end(self, span: Any) -> None:
        """Has nothing to do when a span starts, nor just before its end."""


@pytest.mark.parametrize("kind", [sdk.TracerProvider, TracerProvider])
@pytest.mark.parametrize("how", ["added", "put in its place"])
def test_a_processor_that_comes_while_a_span_runs_sees_its_end(kind: Any, how: str) -> None:
    provider = kind(resource=Resource({}), shutdown_on_exit=False)
    provider.add_span_processor(OnlyEnds())
    tracer = provider.get_tracer("t")
    tracer.start_span("before").end()  # the list was looked at: nobody has anything to do before an end
    span, late = tracer.start_span("running"), Following()
    if how == "added":
        provider.add_span_processor(late)
    else:
        provider._active_span_processor._span_processors = (late,)
    span.end()
    assert late.calls == ["ending", "end"]


def test_a_span_that_is_no_longer_than_the_floor_is_not_asked_about() -> None:
    asked: list[int] = []

    def verdict(*span: Any) -> None:
        asked.append(span[-1])

    verdict.floor = 10  # type: ignore[attr-defined]
    _, tracer, _ = setup(verdict=verdict)
    for length in (9, 10, 11):
        tracer.start_span("x", start_time=100).end(100 + length)
    assert asked == [11]


def test_flush_gives_up_when_its_time_is_over() -> None:
    provider, _, _ = setup()
    assert provider.force_flush(0) is False
    assert provider.force_flush(10_000) is True


@pytest.mark.parametrize(("flags", "recorded"), [(None, True), (TraceFlags(1), True), (TraceFlags(0), False)])
def test_raising_sampler_follows_the_parent(flags: TraceFlags | None, recorded: bool) -> None:
    raising = RaisingSampler()
    _, tracer, _ = setup(sampler=ParentBased(raising, raising, raising, raising, raising))
    context = None
    if flags is not None:
        parent = api.NonRecordingSpan(SpanContext(1, 2, True, flags))
        context = api.set_span_in_context(parent)
    span: Any = tracer.start_span("x", context, attributes={"a": 1})
    assert span.is_recording() is recorded
    if recorded:
        assert dict(span.attributes) == {"a": 1}


def test_unprintable_value_becomes_a_placeholder_and_the_rest_stays() -> None:
    _, tracer, exporter = setup()
    cyclic: list[Any] = []
    cyclic.append(cyclic)
    bad: Any = {"a": 1, "bad": Unprintable(), "b": 2}
    span = tracer.start_span("x", attributes=bad)
    span.set_attribute("one", bad["bad"])
    span.set_attribute("cyclic", cyclic)
    span.set_attributes({"c": 3, "more": bad["bad"]})
    span.add_event("e", bad)
    span.add_link(SpanContext(1, 2, False), bad)
    span.end()
    (ended,) = exporter.get_finished_spans()
    placeholder = "<unprintable Unprintable>"
    assert dict(ended.attributes or {}) == {
        "a": 1,
        "bad": placeholder,
        "b": 2,
        "one": placeholder,
        "cyclic": "<value that could not be cleaned>",
        "c": 3,
        "more": placeholder,
    }
    assert dict(ended.events[0].attributes or {}) == {"a": 1, "bad": placeholder, "b": 2}
    assert dict(ended.links[0].attributes or {}) == {"a": 1, "bad": placeholder, "b": 2}


def test_unprintable_exception_leaves_the_block_as_it_was_raised() -> None:
    _, tracer, exporter = setup()
    with pytest.raises(UnprintableError), tracer.start_as_current_span("x"):
        raise UnprintableError
    with pytest.raises(UnprintableError), tracer.start_span("y"):
        raise UnprintableError
    for span in exporter.get_finished_spans():
        assert span.status.description == "UnprintableError: <unprintable UnprintableError>"
        assert span.events[0].attributes is not None
        assert span.events[0].attributes[names.EXCEPTION_MESSAGE] == "<unprintable UnprintableError>"


def test_verdict_sets_the_rating_before_processors_see_the_end() -> None:
    asked: list[Any] = []

    def verdict(name: str, kind: SpanKind, attributes: Any, duration: int) -> Rated:
        asked.append((name, kind, dict(attributes), duration))
        return Rated()

    _, tracer, exporter = setup(verdict=verdict)
    tracer.start_span("x", kind=SpanKind.CLIENT, attributes={"a": 1}, start_time=100).end(700)
    assert asked == [("x", SpanKind.CLIENT, {"a": 1}, 600)]
    assert dict(exporter.get_finished_spans()[0].attributes or {}) == {
        "a": 1,
        names.RATING: "poor",
        names.RATING_RULE: "db.client",
        names.RATING_LIMIT: 0.5,
    }


def test_verdict_without_result_or_parts_sets_nothing_of_it() -> None:
    provider, tracer, exporter = setup(verdict=lambda *_: None)
    tracer.start_span("x").end()
    provider.set_verdict(lambda *_: Rated(limit=None))
    tracer.start_span("x").end()
    provider.set_verdict(None)
    tracer.start_span("x").end()
    first, second, third = (dict(span.attributes or {}) for span in exporter.get_finished_spans())
    assert first == third == {}
    assert second == {names.RATING: "poor", names.RATING_RULE: "db.client"}


def test_verdict_keeps_to_the_limits() -> None:
    _, tracer, exporter = setup(verdict=lambda *_: Rated(), span_limits=SpanLimits(max_span_attributes=4))
    span = tracer.start_span("x", attributes={"a": 1, "b": 2})
    span.set_attribute("c", [object])
    span.end()
    (ended,) = exporter.get_finished_spans()
    assert list(ended.attributes or {}) == ["c", names.RATING, names.RATING_RULE, names.RATING_LIMIT]
    assert ended.dropped_attributes == 2


def test_raising_verdict_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    def verdict(*_: Any) -> Any:
        raise Broken("verdict")

    _, tracer, exporter = setup(verdict=verdict)
    tracer.start_span("x").end()
    tracer.start_span("y").end()
    assert len(exporter.get_finished_spans()) == 2
    assert [record.levelname for record in caplog.records] == ["WARNING"]


def test_threads_that_race_leave_one_end_and_a_span_that_stands_still() -> None:
    """Writers, with and without cleaning, against several that end the span, which is read meanwhile."""
    broken: list[BaseException] = []
    ended: list[tuple[Any, dict[str, Any]]] = []

    class Reading(SpanProcessor):
        def on_end(self, span: Any) -> None:
            try:
                first = dict(span.attributes)
                for _ in range(20):
                    assert list(span.attributes) == list(first)
                    for _key, _value in span.attributes.items():
                        pass
                ended.append((span, first))
            except BaseException as error:
                broken.append(error)

    provider = TracerProvider(
        resource=Resource({}), shutdown_on_exit=False, span_limits=SpanLimits(max_span_attributes=50)
    )
    provider.add_span_processor(Reading())
    tracer = provider.get_tracer("t")
    logging.disable(logging.WARNING)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for _ in range(60):
            span = tracer.start_span("x", attributes={"a": 1})
            barrier = threading.Barrier(6)

            def write(value: Any, span: Any = span, barrier: Any = barrier) -> None:
                try:
                    barrier.wait(60)
                    for number in range(80):
                        span.set_attribute(f"k{number % 60}", value)
                        span.set_attributes({"m": value, f"n{number}": 1})
                except BaseException as error:
                    broken.append(error)

            def end(span: Any = span, barrier: Any = barrier) -> None:
                barrier.wait(60)
                span.end()

            threads = [threading.Thread(target=write, args=(value,)) for value in (1, "s", [1], {"d": 1})]
            threads += [threading.Thread(target=end) for _ in range(2)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(60)
            assert not span.is_recording()
    finally:
        sys.setswitchinterval(interval)
        logging.disable(logging.NOTSET)
    assert not broken
    assert len(ended) == 60
    for span, first in ended:
        assert list(span.attributes.items()) == list(first.items())
        assert len(first) <= 50 + 4


@pytest.mark.parametrize("method", ["set_attribute", "set_attributes"])
def test_value_that_comes_after_the_end_is_not_seen(method: str) -> None:
    """Cleaning takes long enough for another thread to end the span; here the value itself ends it."""
    _, tracer, exporter = setup()
    span: Any = tracer.start_span("x", attributes={"a": 1})

    class Ending:
        def __str__(self) -> str:
            span.end()
            return "late"

    getattr(span, method)(*(("late", Ending()) if method == "set_attribute" else ({"late": Ending()},)))
    assert dict(span.attributes) == dict(span._attributes) == {"a": 1}
    assert len(exporter.get_finished_spans()) == 1
