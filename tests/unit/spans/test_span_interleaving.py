"""An ended span never changes, and nothing set before its end is lost, wherever threads lose their turn."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan, SpanLimits, SpanProcessor
from opentelemetry.trace import Link, SpanContext, StatusCode

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from interleave import Case, explore, explore_on_top
from spanwise import log
from spanwise.fixed import Fixed
from spanwise.spans import attributes, details, span
from spanwise.spans.provider import TracerProvider

OF = ["spanwise/spans/"]
LINKED = SpanContext(7, 8, False)

WRITERS: dict[str, tuple[Callable[[Any], object], Callable[[Any], bool]]] = {
    "set_attribute": (lambda s: s.set_attribute("late", 2), lambda e: e["attributes"].get("late") == 2),
    "again": (lambda s: s.set_attribute("early", 2), lambda e: e["attributes"].get("early") == 2),
    "sequence": (lambda s: s.set_attribute("late", [1]), lambda e: e["attributes"].get("late") == (1,)),
    "set_attributes": (
        lambda s: s.set_attributes({"late": 2, "later": 3}),
        lambda e: e["attributes"].get("later") == 3,
    ),
    "update_name": (lambda s: s.update_name("late"), lambda e: e["name"] == "late"),
    "set_status": (lambda s: s.set_status(StatusCode.ERROR, "late"), lambda e: e["status"][1] == "late"),
    "status ok": (lambda s: s.set_status(StatusCode.OK), lambda e: e["status"][0] is StatusCode.OK),
    "add_event": (lambda s: s.add_event("late", {"a": 1}), lambda e: "late" in e["events"]),
    "add_link": (lambda s: s.add_link(LINKED), lambda e: LINKED in e["links"]),
}
STARTS: dict[str, Any] = {"plain": {"early": 1}, "shared": Fixed({"early": 1}), "full": {"early": 1, "b": 1}}


def seen(span: ReadableSpan) -> dict[str, Any]:
    return {
        "name": span.name,
        "status": (span.status.status_code, span.status.description),
        "attributes": dict(span.attributes or {}),
        "order": list(span.attributes or {}),
        "events": [event.name for event in span.events],
        "links": [link.context for link in span.links],
        "dropped": span.dropped_attributes,
        "end": span.end_time,
    }


class Recording(SpanProcessor):
    def __init__(self) -> None:
        self.ended: list[dict[str, Any]] = []

    def on_end(self, span: ReadableSpan) -> None:
        self.ended.append(seen(span))


class Warned(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(record.getMessage())


@pytest.fixture
def warned(monkeypatch: pytest.MonkeyPatch) -> Iterator[Warned]:
    """What is logged, each time: how often the same line comes is not at issue here."""
    monkeypatch.setattr(log, "_REST", 0.0)
    for module in (attributes, details, span):
        module._logger._last.clear()
    handler = Warned()
    logger = logging.getLogger("opentelemetry")
    logger.addHandler(handler)
    propagated, logger.propagate = logger.propagate, False
    yield handler
    logger.propagate = propagated
    logger.removeHandler(handler)


def case(
    warned: Warned,
    start: Any,
    operations: list[Callable[[Any], object]],
    taken: Callable[[dict[str, Any]], bool] | None = None,
) -> Case:
    warned.texts.clear()
    recording = Recording()
    provider = TracerProvider(shutdown_on_exit=False, span_limits=SpanLimits(max_span_attributes=2))
    provider.add_span_processor(recording)
    links = [Link(LINKED)] if start == "linked" else []
    span: Any = provider.get_tracer("t").start_span("work", attributes=STARTS.get(start), links=links)

    def check() -> None:
        (ended,) = recording.ended
        assert seen(span) == ended
        assert not span.is_recording()
        assert "early" in ended["attributes"] or ended["dropped"]
        if taken is not None and not taken(ended):
            assert any("ended span" in text for text in warned.texts), "lost, and nobody told"

    return Case([lambda each=each: each(span) for each in operations], check)


def end(span: Any) -> None:
    span.end()


@pytest.mark.parametrize("start", STARTS)
@pytest.mark.parametrize("name", WRITERS)
def test_a_writer_meets_the_end(name: str, start: str, warned: Warned) -> None:
    write, taken = WRITERS[name]
    assert explore(lambda: case(warned, start, [write, end], taken), OF) > 50


@pytest.mark.parametrize("start", STARTS)
@pytest.mark.parametrize("name", WRITERS)
def test_an_end_on_top_of_a_writer(name: str, start: str, warned: Warned) -> None:
    write, taken = WRITERS[name]
    assert explore_on_top(lambda: case(warned, start, [write, end], taken), OF) > 20


def test_of_two_ends_one_counts(warned: Warned) -> None:
    ends: list[Callable[[Any], object]] = [lambda span: span.end(5), lambda span: span.end(5)]
    explore(lambda: case(warned, "plain", ends), OF)
    explore_on_top(lambda: case(warned, "plain", ends), OF)


PAIRS: dict[str, tuple[str, Callable[[Any], object], Callable[[Any], object]]] = {
    "plain": ("plain", lambda s: s.set_attribute("a", 1), lambda s: s.set_attribute("early", 2)),
    "shared": ("shared", lambda s: s.set_attribute("a", 1), lambda s: s.set_attribute("early", 2)),
    "events": ("plain", lambda s: s.add_event("a"), lambda s: s.add_event("b")),
    "extras": ("plain", lambda s: s.update_name("a"), lambda s: s.set_status(StatusCode.ERROR, "b")),
}


@pytest.mark.parametrize("name", PAIRS)
def test_both_of_two_writers_are_seen(name: str, warned: Warned) -> None:
    """Each makes the place that both write to."""
    start, first, second = PAIRS[name]
    spans: list[Any] = []

    def make() -> Case:
        spans.clear()
        inner = case(warned, start, [first, second, spans.append])
        inner.operations[2]()

        def check() -> None:
            now = seen(spans[0])
            spans[0].end()
            inner.check()
            ended = seen(spans[0])
            assert {**now, "end": None} == {**ended, "end": None}
            assert (
                ended["attributes"] == {"a": 1, "early": 2}
                or sorted(ended["events"]) == ["a", "b"]
                or (ended["name"], ended["status"][1]) == ("a", "b")
            ), ended

        return Case(inner.operations[:2], check)

    explore(make, OF)


def test_ok_is_final_for_threads_too(warned: Warned) -> None:
    def make() -> Case:
        span_of: list[Any] = []
        inner = case(
            warned,
            "plain",
            [
                lambda span: span.set_status(StatusCode.OK),
                lambda span: span.set_status(StatusCode.ERROR, "late"),
                span_of.append,
            ],
        )
        inner.operations[2]()

        def check() -> None:
            assert span_of[0].status.status_code is StatusCode.OK

        return Case(inner.operations[:2], check)

    explore(make, OF)
