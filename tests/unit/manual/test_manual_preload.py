"""Preloads: outcomes, sizes, and the id that stays off the metrics."""

from __future__ import annotations

import asyncio
import concurrent.futures
from typing import Any

import pytest
import requests
from opentelemetry.trace import StatusCode

import spanwise
from spanwise import names
from spanwise.manual.items import is_cancelled, size_of
from spanwise.rating.lowered import compile_rules
from spanwise.thresholds.load import load, lower

EVENTS, DURATION, BYTES = names.PRELOAD_EVENTS.name, names.PRELOAD_DURATION.name, names.PRELOAD_BYTES.name


def events(observed: Any) -> dict[str, int]:
    return {dict(key)["outcome"]: count for key, count in observed.points()[EVENTS].items()}


def test_a_success_with_its_bytes(observed: Any) -> None:
    with spanwise.preload("track-17") as item:
        item.loaded(1000)
        item.loaded(24)
    span = observed.span()
    assert dict(span.attributes) == {
        names.OPERATION_KIND: "preload",
        names.PRELOAD_ID: "track-17",
        names.PRELOAD_SIZE: 1024,
        "outcome": "success",
    }
    points = observed.points()
    assert points[BYTES] == {(): 1024}
    assert points[DURATION] == {(("outcome", "success"),): (1, (span.end_time - span.start_time) / 1e9)}
    assert "track-17" not in str(points), "the id is on a metric"


def test_every_outcome_has_a_series_from_the_first_item_on(observed: Any) -> None:
    """Prometheus sees no growth in a series that begins with 1: the first failure would raise no alert."""
    with spanwise.preload("a"):
        pass
    assert events(observed) == {"success": 1, "failure": 0, "timeout": 0}


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (OSError("disk"), "failure"),
        (TimeoutError(), "timeout"),
        (asyncio.TimeoutError(), "timeout"),
        (concurrent.futures.TimeoutError(), "timeout"),
        (requests.ReadTimeout(), "timeout"),
        (requests.ConnectionError(), "failure"),
    ],
)
def test_what_is_raised_says_the_outcome(observed: Any, error: Exception, outcome: str) -> None:
    with pytest.raises(type(error)) as caught, spanwise.preload("a"):
        raise error
    assert caught.value is error
    assert {name for name, count in events(observed).items() if count} == {outcome}
    span = observed.span()
    assert span.attributes["outcome"] == outcome
    assert span.status.status_code is StatusCode.ERROR


def test_one_that_nobody_waits_for_any_longer_is_a_time_out(observed: Any) -> None:
    @spanwise.preload("a")
    async def load() -> None:
        await asyncio.Event().wait()

    with pytest.raises(asyncio.TimeoutError):
        asyncio.run(asyncio.wait_for(load(), 0.01))
    assert events(observed) == {"success": 0, "failure": 0, "timeout": 1}
    assert observed.span().attributes[names.ERROR_TYPE].endswith("CancelledError")


def test_what_says_that_somebody_gave_up() -> None:
    class GreenletExit(BaseException):
        """As gevent's."""

    class Cancelled(BaseException):
        """As trio's."""

    cancelled = [asyncio.CancelledError(), GreenletExit(), Cancelled()]
    others = [concurrent.futures.CancelledError(), KeyboardInterrupt(), SystemExit(), OSError(), None]
    assert [is_cancelled(each) for each in cancelled] == [True] * 3
    assert [is_cancelled(each) for each in others] == [False] * 5


def test_failures_and_time_outs_by_hand(observed: Any) -> None:
    spanwise.preload("a").start().fail("damaged")
    spanwise.preload("b").start().time_out()
    damaged, late = observed.spans()
    assert damaged.status.description == "damaged"
    assert late.attributes[names.ERROR_TYPE] == "timeout"
    assert events(observed) == {"success": 0, "failure": 1, "timeout": 1}


def test_a_decorator_finds_the_id_and_counts_the_result(observed: Any) -> None:
    @spanwise.preload(id_from=lambda track, **_: f"track-{track}")
    def load_track(track: int, **_: str) -> bytes:
        return b"x" * track

    @spanwise.preload("page")
    async def page() -> str:
        return "é"

    assert load_track(17, quality="high") == b"x" * 17
    assert asyncio.run(page()) == "é"
    assert [span.attributes[names.PRELOAD_ID] for span in observed.spans()] == ["track-17", "page"]
    assert observed.points()[BYTES] == {(): 19}


def test_an_id_that_cannot_be_found_is_told(observed: Any, caplog: pytest.LogCaptureFixture) -> None:
    @spanwise.preload(id_from=lambda: "none")
    def load_track(track: int) -> int:
        return track

    assert load_track(17) == 17
    assert "could not read a call's arguments" in caplog.text
    assert observed.span().attributes[names.PRELOAD_ID] == ""


def test_recording_what_was_timed_elsewhere(observed: Any) -> None:
    spanwise.preload("a").record(success=True, duration=5.0, size=10)
    spanwise.preload("b").record(success=False, duration=0, error="damaged")
    spanwise.preload("c").record(success=False, duration=10, error=TimeoutError("late"))
    assert events(observed) == {"success": 1, "failure": 1, "timeout": 1}
    loaded, damaged, late = observed.spans()
    assert loaded.end_time - loaded.start_time == 5_000_000_000, "an edge of the thresholds must stay one"
    verdict = compile_rules(lower(load()))
    assert verdict(loaded.name, loaded.kind, loaded.attributes, 5_000_000_000) == ("poor", "preload", 2.0)
    assert (damaged.status.description, late.status.description) == ("damaged", "late")
    points = observed.points()
    assert points[BYTES] == {(): 10}
    assert sum(seconds for _, seconds in points[DURATION].values()) == 15.0


@pytest.mark.parametrize("duration", [-1, float("nan"), float("inf"), "1", None, True])
def test_a_duration_that_is_none_is_told(
    observed: Any, caplog: pytest.LogCaptureFixture, duration: Any
) -> None:
    spanwise.preload("a").record(success=True, duration=duration)
    assert f"its duration is {duration!r}" in caplog.text
    assert observed.spans() == []


@pytest.mark.parametrize("size", [-1, 1.5, "1", None, True])
def test_a_size_that_is_none_is_told(observed: Any, caplog: pytest.LogCaptureFixture, size: Any) -> None:
    with spanwise.preload("a") as item:
        item.loaded(size)
    assert "a preload's size is a number of bytes" in caplog.text
    assert BYTES not in observed.points()


def test_sizes() -> None:
    values = [b"ab", bytearray(3), memoryview(bytes(8)).cast("I"), "é", "\ud800", None, [1]]
    assert [size_of(value) for value in values] == [2, 3, 8, 2, 3, 0, 0]
