"""pybreaker and circuitbreaker, driven alike: what they tell, and that they behave as without us."""

from __future__ import annotations

import asyncio
import gc
import sys
import threading
import traceback
import types
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import circuitbreaker
import pybreaker
import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider

from spanwise import names
from spanwise.context import suppressed
from spanwise.instrumentors.circuitbreaker import CircuitbreakerInstrumentor
from spanwise.instrumentors.pybreaker import PybreakerInstrumentor

TRACER = TracerProvider().get_tracer("test")
LONG, AT_ONCE = 3_600, 1e-9


class Kind(NamedTuple):
    """A library.

    Attributes:
        instrumentor: ours.
        make: a breaker of two failures, by its name and the seconds that it stays open.
        call: a function through the breaker.
        rejection: what stands for a rejected call.
    """

    instrumentor: Any
    make: Callable[[str | None, float], Any]
    call: Callable[[Any, Callable[[], Any]], Any]
    rejection: type[Exception]


KINDS = [
    Kind(
        PybreakerInstrumentor,
        lambda name, seconds: pybreaker.CircuitBreaker(fail_max=2, reset_timeout=seconds, name=name),
        lambda breaker, function: breaker.call(function),
        pybreaker.CircuitBreakerError,
    ),
    Kind(
        CircuitbreakerInstrumentor,
        lambda name, seconds: circuitbreaker.CircuitBreaker(2, seconds, name=name),
        lambda breaker, function: breaker(function)(),
        circuitbreaker.CircuitBreakerError,
    ),
]


class Observed:
    def __init__(self, kind: Kind) -> None:
        self.kind = kind
        # The library keeps all that ever decorated a function.
        circuitbreaker.CircuitBreakerMonitor.circuit_breakers.clear()
        gc.collect()  # other tests' breakers
        self.reader = InMemoryMetricReader()
        kind.instrumentor().instrument(meter_provider=MeterProvider([self.reader]))

    def values(self, metric: names.Metric) -> dict[tuple[Any, ...], Any]:
        data = self.reader.get_metrics_data()
        if data is None:
            return {}
        return {
            tuple((point.attributes or {}).values()): point.value
            for resource in data.resource_metrics
            for scope in resource.scope_metrics
            for found in scope.metrics
            if found.name == metric.name
            for point in found.data.data_points
            if point.value
        }

    def calls(self, breaker: Any, *outcomes: bool) -> list[str]:
        """What became of calls that succeed or fail."""
        found = []
        for fine in outcomes:
            try:
                self.kind.call(breaker, works if fine else fails)
                found.append("fine")
            except Exception as error:
                found.append(type(error).__name__)
        return found


def works() -> int:
    return 1


def fails() -> int:
    raise ConnectionError("down")


@pytest.fixture(params=KINDS, ids=["pybreaker", "circuitbreaker"])
def observed(request: pytest.FixtureRequest) -> Iterator[Observed]:
    made = Observed(request.param)
    yield made
    request.param.instrumentor().uninstrument()


def test_calls_trips_and_states(observed: Observed) -> None:
    breaker = observed.kind.make("lyrics", LONG)
    with TRACER.start_as_current_span("request") as span:
        outcomes = observed.calls(breaker, True, False, False, True)
    assert outcomes[0] == "fine"
    assert outcomes[3] == observed.kind.rejection.__name__
    assert observed.values(names.CIRCUIT_CALLS) == {
        ("lyrics", "closed", "success"): 1,
        ("lyrics", "closed", "failure"): 2,
        ("lyrics", "open", "rejected"): 1,
    }
    assert observed.values(names.CIRCUIT_TRIPS_BY_REASON) == {("lyrics", "failures", "ConnectionError"): 1}
    assert observed.values(names.CIRCUIT_STATUS) == {("lyrics", "open"): 1}
    assert observed.values(names.CIRCUIT_OPEN_TIME)[("lyrics",)] > 0
    assert observed.values(names.CIRCUIT_BACKOFF) == {("lyrics",): LONG}
    (event,) = span.events  # type: ignore[attr-defined]
    assert event.name == names.CIRCUIT_TRIPPED_EVENT
    assert event.attributes[names.CIRCUIT_RETRY_AFTER] == LONG


@pytest.mark.parametrize("recovers", [True, False])
def test_a_trial(observed: Observed, recovers: bool) -> None:
    breaker = observed.kind.make("lyrics", AT_ONCE)
    observed.calls(breaker, False, False)
    with TRACER.start_as_current_span("request") as span:
        observed.calls(breaker, recovers)
    outcome = "success" if recovers else "failure"
    assert observed.values(names.CIRCUIT_CALLS) == {
        ("lyrics", "closed", "failure"): 2,
        ("lyrics", "half_open", outcome): 1,
    }
    end = names.CIRCUIT_CLOSED_EVENT if recovers else names.CIRCUIT_TRIPPED_EVENT
    assert [event.name for event in span.events] == [names.CIRCUIT_HALF_OPEN_EVENT, end]  # type: ignore[attr-defined]
    trips = {("lyrics", "failures", "ConnectionError"): 1}
    if not recovers:
        trips["lyrics", "trial failed", "ConnectionError"] = 1
    assert observed.values(names.CIRCUIT_TRIPS_BY_REASON) == trips


def test_results_and_exceptions_are_the_same_as_without(observed: Observed) -> None:
    def told() -> list[Any]:
        breaker, found = observed.kind.make("same", LONG), []
        for function in (works, fails, fails, works):
            try:
                found.append(observed.kind.call(breaker, function))
            except Exception as error:
                own = [
                    (entry.name, entry.lineno)
                    for entry in traceback.extract_tb(error.__traceback__)
                    if sys.version_info >= (3, 11) or "spanwise/instrumentors" not in entry.filename
                ]
                found.append((type(error), str(error).partition("until")[0], own))
        return found

    during = told()
    observed.kind.instrumentor().uninstrument()
    assert during == told()
    assert len(during) == 4


def test_breakers_made_before_and_everything_restored(observed: Observed) -> None:
    kind = observed.kind
    kind.instrumentor().uninstrument()
    of = type(kind.make("x", LONG))
    was = dict(vars(of))
    early = kind.make("early", LONG)
    observed.calls(early, False, False)
    observed = Observed(kind)
    assert observed.values(names.CIRCUIT_STATUS)["early", "open"] == 1
    assert observed.values(names.CIRCUIT_TRIPS_BY_REASON) == {}
    observed.calls(early, True)
    assert observed.values(names.CIRCUIT_CALLS) == {("early", "open", "rejected"): 1}
    kind.instrumentor().uninstrument()
    observed.calls(early, True)
    assert observed.values(names.CIRCUIT_CALLS) == {("early", "open", "rejected"): 1}
    assert dict(vars(of)) == was
    assert getattr(early, "listeners", ()) == ()


def test_suppressed_calls_are_not_counted(observed: Observed) -> None:
    with suppressed():
        observed.calls(observed.kind.make("lyrics", LONG), True, False)
    assert observed.values(names.CIRCUIT_CALLS) == {}


# -- pybreaker's own -----------------------------------------------------------------------------


@pytest.fixture
def pybreakers() -> Iterator[Observed]:
    yield Observed(KINDS[0])
    PybreakerInstrumentor().uninstrument()


def test_a_breaker_opened_by_hand(pybreakers: Observed) -> None:
    breaker = pybreaker.CircuitBreaker(name="lyrics")
    pybreakers.calls(breaker, False)
    breaker.open()
    assert pybreakers.values(names.CIRCUIT_TRIPS_BY_REASON) == {("lyrics", "forced"): 1}
    breaker.close()
    assert pybreakers.values(names.CIRCUIT_STATUS) == {("lyrics", "closed"): 1}


def test_a_breaker_within_another_one(pybreakers: Observed) -> None:
    inner = pybreaker.CircuitBreaker(name="inner")
    inner.open()
    outer = pybreaker.CircuitBreaker(name="outer")
    with pytest.raises(pybreaker.CircuitBreakerError):
        outer.call(lambda: inner.call(works))
    calls = pybreakers.values(names.CIRCUIT_CALLS)
    assert calls == {("inner", "open", "rejected"): 1, ("outer", "closed", "failure"): 1}


def test_decorators_blocks_and_a_name_given_later(pybreakers: Observed) -> None:
    breaker = pybreaker.CircuitBreaker(fail_max=1, reset_timeout=LONG)
    assert breaker(works)() == 1
    breaker.name = "later"
    with pytest.raises(pybreaker.CircuitBreakerError), breaker.calling():
        fails()
    with pytest.raises(pybreaker.CircuitBreakerError), breaker.calling():
        works()
    assert pybreakers.values(names.CIRCUIT_CALLS) == {
        ("unnamed", "closed", "success"): 1,
        ("later", "closed", "failure"): 1,
        ("later", "open", "rejected"): 1,
    }


def test_listeners_of_the_applications_are_kept(pybreakers: Observed) -> None:
    told: list[str] = []

    class Mine(pybreaker.CircuitBreakerListener):
        def state_change(self, cb: Any, old_state: Any, new_state: Any) -> None:
            told.append(new_state.name)

    breaker = pybreaker.CircuitBreaker(fail_max=1, listeners=[Mine()], name="lyrics")
    pybreakers.calls(breaker, False)
    assert told == ["open"]
    assert len(breaker.listeners) == 2
    PybreakerInstrumentor().uninstrument()
    assert len(breaker.listeners) == 1


# -- circuitbreaker's own ------------------------------------------------------------------------


@pytest.fixture
def circuitbreakers() -> Iterator[Observed]:
    yield Observed(KINDS[1])
    CircuitbreakerInstrumentor().uninstrument()


def test_coroutines_and_generators(circuitbreakers: Observed) -> None:
    @circuitbreaker.circuit(failure_threshold=1, name="async")
    async def coroutine() -> int:
        await asyncio.sleep(0)
        raise ConnectionError

    @circuitbreaker.circuit(name="generator")
    def generator() -> Iterator[int]:
        yield 1

    with pytest.raises(ConnectionError):
        asyncio.run(coroutine())
    with pytest.raises(circuitbreaker.CircuitBreakerError):
        asyncio.run(coroutine())
    assert list(generator()) == [1]
    assert circuitbreakers.values(names.CIRCUIT_CALLS) == {
        ("async", "closed", "failure"): 1,
        ("async", "open", "rejected"): 1,
        ("generator", "closed", "success"): 1,
    }


def test_a_fallback_stands_for_a_rejected_call(circuitbreakers: Observed) -> None:
    def fallback() -> str:
        return "instead"

    breaker = circuitbreaker.CircuitBreaker(1, LONG, name="lyrics", fallback_function=fallback)
    guarded = breaker(fails)
    with pytest.raises(ConnectionError):
        guarded()
    assert guarded() == "instead"
    assert breaker.fallback_function is fallback  # for all but the library
    assert circuitbreakers.values(names.CIRCUIT_CALLS) == {
        ("lyrics", "closed", "failure"): 1,
        ("lyrics", "open", "rejected"): 1,
    }


def test_reset_by_hand_and_failures_that_do_not_count(circuitbreakers: Observed) -> None:
    breaker = circuitbreaker.CircuitBreaker(1, LONG, expected_exception=ConnectionError, name="lyrics")
    with pytest.raises(KeyError), breaker:
        raise KeyError
    with pytest.raises(ConnectionError), breaker:
        fails()
    breaker.reset()
    assert circuitbreakers.values(names.CIRCUIT_STATUS) == {("lyrics", "closed"): 1}
    assert circuitbreakers.values(names.CIRCUIT_CALLS) == {
        ("lyrics", "closed", "success"): 1,
        ("lyrics", "closed", "failure"): 1,
    }


@pytest.mark.parametrize("kind", KINDS, ids=["pybreaker", "circuitbreaker"])
def test_a_version_that_is_too_different_is_left_as_it_was(
    kind: Kind, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    of = type(kind.make("x", LONG))
    monkeypatch.setitem(sys.modules, of.__module__, types.SimpleNamespace(CircuitBreaker=of))
    was = dict(vars(of))
    kind.instrumentor().instrument()
    try:
        assert dict(vars(of)) == was
        assert f"could not wrap {of.__module__} (" in caplog.text
    finally:
        kind.instrumentor().uninstrument()
    assert dict(vars(of)) == was


def test_calls_let_through_together_began_in_the_same_state(circuitbreakers: Observed) -> None:
    breaker = circuitbreaker.CircuitBreaker(1, LONG, name="lyrics")
    go = [threading.Event() for _ in range(3)]
    inside = threading.Barrier(4)

    @breaker
    def fails_later(number: int) -> None:
        inside.wait(60)
        go[number].wait(60)
        raise ConnectionError

    def run(number: int) -> None:
        with pytest.raises(ConnectionError):
            fails_later(number)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(3)]
    for each in threads:
        each.start()
    inside.wait(60)
    for event, thread in zip(go, threads, strict=True):
        event.set()
        thread.join(60)
    assert circuitbreakers.values(names.CIRCUIT_CALLS) == {("lyrics", "closed", "failure"): 3}


def test_calls_within_one_another_keep_their_states_apart(circuitbreakers: Observed) -> None:
    outer = circuitbreaker.CircuitBreaker(5, LONG, name="outer")
    inner = circuitbreaker.CircuitBreaker(1, AT_ONCE, name="inner")

    @inner
    def trial(again: bool) -> None:
        if again:
            outer(lambda: trial(False))()
        raise ConnectionError

    for again in (False, True):
        with pytest.raises(ConnectionError):
            trial(again)
    assert circuitbreakers.values(names.CIRCUIT_CALLS) == {
        ("inner", "closed", "failure"): 1,
        ("inner", "half_open", "failure"): 2,
        ("outer", "closed", "failure"): 1,
    }


def test_after_a_failed_generator_one_opened_by_hand_is_forced(pybreakers: Observed) -> None:
    breaker = pybreaker.CircuitBreaker(fail_max=5, name="steps")

    @breaker
    def steps() -> Iterator[int]:
        yield 1
        raise KeyError

    with pytest.raises(KeyError):
        list(steps())
    pybreaker.CircuitBreaker(name="other").open()
    breaker.open()
    assert pybreakers.values(names.CIRCUIT_TRIPS_BY_REASON) == {
        ("other", "forced"): 1,
        ("steps", "forced"): 1,
    }


def test_a_generator_that_is_one_failure_too_many(pybreakers: Observed) -> None:
    breaker = pybreaker.CircuitBreaker(fail_max=1, name="steps")

    @breaker
    def steps() -> Iterator[int]:
        yield 1
        raise KeyError

    with pytest.raises((KeyError, pybreaker.CircuitBreakerError)):
        list(steps())
    assert pybreakers.values(names.CIRCUIT_TRIPS_BY_REASON) == {("steps", "failures", "KeyError"): 1}


def test_a_listener_that_the_application_removed_is_no_matter(pybreakers: Observed) -> None:
    breaker = pybreaker.CircuitBreaker(name="lyrics")
    breaker.remove_listener(*breaker.listeners)
    PybreakerInstrumentor().uninstrument()
    assert list(breaker.listeners) == []
    assert not hasattr(pybreaker.CircuitBreaker.call, "__wrapped__")
    assert pybreakers.values(names.CIRCUIT_CALLS) == {}
