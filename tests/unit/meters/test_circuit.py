"""Circuit breakers as meters: what a breaker reports, and that it can hurt nobody."""

from __future__ import annotations

import gc
import logging
import os
import signal
import threading
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider

from spanwise import names
from spanwise.context import suppressed
from spanwise.meters import circuit
from spanwise.meters.circuit import CLOSED, HALF_OPEN, OPEN, Breaker, Circuits


class Metered:
    def __init__(self) -> None:
        self.reader = InMemoryMetricReader()
        self.circuits = Circuits(MeterProvider([self.reader]).get_meter("test"))

    def values(self, metric: names.Metric) -> dict[tuple[Any, ...], Any]:
        """By the attributes' values."""
        data = self.reader.get_metrics_data()
        assert data is not None
        return {
            tuple((point.attributes or {}).values()): point.value
            for resource in data.resource_metrics
            for scope in resource.scope_metrics
            for found in scope.metrics
            if found.name == metric.name
            for point in found.data.data_points
        }


@pytest.fixture
def metered() -> Metered:
    return Metered()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [1_000.0]
    monkeypatch.setattr(circuit, "monotonic", lambda: now[0])
    return now


def test_the_trips_of_a_breaker_begin_with_none(metered: Metered) -> None:
    """Prometheus sees no growth in a series that is born at 1: the alert would miss the first trip."""
    breaker = Breaker("lyrics", metered.circuits)
    assert metered.values(names.CIRCUIT_TRIPS) == {("lyrics",): 0}
    assert breaker.state == "closed"


def test_a_life(metered: Metered, clock: list[float]) -> None:
    breaker = Breaker("lyrics", metered.circuits)
    span = TracerProvider().get_tracer("test").start_span("request")
    from opentelemetry.trace import use_span

    with use_span(span):
        breaker.succeeded()
        breaker.failed()
        breaker.tripped("failures", error_type="ConnectionError", backoff=30)
        assert metered.values(names.CIRCUIT_BACKOFF) == {("lyrics",): 30.0}
        breaker.rejected()
        clock[0] += 30
        assert metered.values(names.CIRCUIT_OPEN_TIME) == {("lyrics",): 30.0}  # counted while it lasts
        breaker.half_open()
        clock[0] += 100
        breaker.succeeded(HALF_OPEN)
        breaker.closed()
        breaker.closed()
    assert [(event.name, dict(event.attributes or {})) for event in span.events] == [  # type: ignore[attr-defined]
        (
            "circuit_breaker.tripped",
            {
                "circuit_breaker.name": "lyrics",
                "circuit_breaker.previous_state": "closed",
                "circuit_breaker.trip.reason": "failures",
                "error.type": "ConnectionError",
                "circuit_breaker.retry_after": 30.0,
            },
        ),
        (
            "circuit_breaker.half_open",
            {"circuit_breaker.name": "lyrics", "circuit_breaker.previous_state": "open"},
        ),
        (
            "circuit_breaker.closed",
            {"circuit_breaker.name": "lyrics", "circuit_breaker.previous_state": "half_open"},
        ),
    ]
    assert metered.values(names.CIRCUIT_TRIPS_BY_REASON) == {("lyrics", "failures", "ConnectionError"): 1}
    assert metered.values(names.CIRCUIT_TRIPS) == {("lyrics",): 1}
    assert metered.values(names.CIRCUIT_CALLS) == {
        ("lyrics", "closed", "success"): 1,
        ("lyrics", "closed", "failure"): 1,
        ("lyrics", "open", "rejected"): 1,
        ("lyrics", "half_open", "success"): 1,
    }
    assert metered.values(names.CIRCUIT_OPEN_TIME) == {("lyrics",): 30.0}
    assert metered.values(names.CIRCUIT_BACKOFF) == {("lyrics",): 0.0}
    assert metered.values(names.CIRCUIT_STATUS) == {
        ("lyrics", "closed"): 1,
        ("lyrics", "half_open"): 0,
        ("lyrics", "open"): 0,
    }


def test_breakers_of_one_name_are_counted_together_and_kept_alive_by_nobody(
    metered: Metered, clock: list[float]
) -> None:
    one, two = Breaker("lyrics", metered.circuits), Breaker("lyrics", metered.circuits)
    one.tripped()
    clock[0] += 5
    status = metered.values(names.CIRCUIT_STATUS)
    assert (status["lyrics", "open"], status["lyrics", "closed"]) == (1, 1)
    one.closed()
    del one
    gc.collect()
    status = metered.values(names.CIRCUIT_STATUS)
    assert (status["lyrics", "open"], status["lyrics", "closed"]) == (0, 1)
    assert metered.values(names.CIRCUIT_OPEN_TIME) == {("lyrics",): 5.0}  # a counter never falls
    assert two.state == CLOSED


def test_a_state_taken_over_is_no_trip(metered: Metered) -> None:
    breaker = Breaker("lyrics", metered.circuits)
    breaker.resume(OPEN, backoff=3)
    assert breaker.state == OPEN
    assert metered.values(names.CIRCUIT_TRIPS_BY_REASON) == {}
    assert metered.values(names.CIRCUIT_BACKOFF) == {("lyrics",): 3.0}


def test_each_trip_told_by_hand_counts(metered: Metered, clock: list[float]) -> None:
    breaker = Breaker("stream", metered.circuits)
    for _ in range(2):
        breaker.tripped("no memory")
        clock[0] += 5
    assert metered.values(names.CIRCUIT_OPEN_TIME) == {("stream",): 10.0}
    assert metered.values(names.CIRCUIT_TRIPS_BY_REASON) == {("stream", "no memory"): 2}


def test_names_and_reasons_are_bounded(metered: Metered) -> None:
    breakers = [Breaker(f"breaker {number}", metered.circuits) for number in range(300)]
    for number in range(100):
        breakers[0].tripped(f"reason {number}")
    trips = metered.values(names.CIRCUIT_TRIPS_BY_REASON)
    assert len(trips) == 17
    assert trips["breaker 0", "_OTHER"] == 84
    status = metered.values(names.CIRCUIT_STATUS)
    assert len({name for name, _ in status}) == 129
    assert status["_OTHER", "closed"] == 300 - 128


def test_suppressed_calls_are_not_counted_but_states_hold(metered: Metered) -> None:
    breaker = Breaker("lyrics", metered.circuits)
    with suppressed():
        breaker.failed()
        breaker.tripped("failures")
    assert metered.values(names.CIRCUIT_CALLS) == {}
    assert metered.values(names.CIRCUIT_STATUS)["lyrics", "open"] == 1


class _Unreadable:
    def __str__(self) -> str:
        raise RuntimeError("no text")


@given(
    name=st.one_of(st.text(), st.none(), st.integers(), st.builds(_Unreadable)),
    reason=st.one_of(st.text(), st.none(), st.binary(), st.builds(_Unreadable)),
    backoff=st.one_of(st.none(), st.floats(), st.text()),
    steps=st.lists(st.sampled_from(["tripped", "half_open", "closed", "rejected", "succeeded", "failed"])),
)
def test_nothing_raises_and_the_state_follows(name: Any, reason: Any, backoff: Any, steps: list[str]) -> None:
    metered = Metered()
    breaker = Breaker(name, metered.circuits)
    trips, expected = 0, CLOSED
    for step in steps:
        if step == "tripped":
            breaker.tripped(reason, backoff=backoff)
            trips += 1
        else:
            getattr(breaker, step)()
        expected = {"tripped": OPEN, "half_open": HALF_OPEN, "closed": CLOSED}.get(step, expected)
        if not isinstance(backoff, str):
            assert breaker.state == expected
    if not isinstance(backoff, str):
        assert sum(metered.values(names.CIRCUIT_TRIPS_BY_REASON).values()) == trips


def test_a_fault_costs_one_warning(metered: Metered, caplog: pytest.LogCaptureFixture) -> None:
    breaker = Breaker("lyrics", metered.circuits)
    for _ in range(3):
        breaker.tripped("failures", backoff="soon")  # type: ignore[arg-type]
    assert [record.levelname for record in caplog.records if record.levelno >= logging.WARNING] == ["WARNING"]
    assert "lyrics" in caplog.text


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
def test_a_fork_while_the_lock_is_held_does_not_hang_the_child(metered: Metered) -> None:
    held, over = threading.Event(), threading.Event()

    def hold() -> None:
        with circuit._lock:
            held.set()
            over.wait(60)

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait(60)
    child = os.fork()
    if child == 0:
        Breaker("lyrics", metered.circuits).tripped()
        os._exit(0)
    over.set()
    thread.join(60)
    end = time.monotonic() + 60
    ended, status = 0, -1
    while not ended and time.monotonic() < end:
        ended, status = os.waitpid(child, os.WNOHANG)
        time.sleep(0.01)
    if not ended:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    assert ended
    assert status == 0
