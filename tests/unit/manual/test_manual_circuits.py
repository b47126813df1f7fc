"""A circuit breaker told of by hand."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

import spanwise
from spanwise import names
from spanwise.manual import circuits
from spanwise.meters import circuit as meter


@pytest.fixture
def points(monkeypatch: pytest.MonkeyPatch, observed: Any) -> Any:
    monkeypatch.setattr(circuits, "_breakers", {})
    made = meter.Circuits(observed.meter_provider.get_meter("test"))
    monkeypatch.setattr(meter, "_default", made)
    return observed.points


def calls(points: Any) -> dict[tuple[str, str], int]:
    found = points().get(names.CIRCUIT_CALLS.name, {})
    return {
        (dict(key)[names.CIRCUIT_STATE], dict(key)[names.CIRCUIT_OUTCOME]): count
        for key, count in found.items()
    }


def test_a_trip_with_its_reason(points: Any, observed: Any) -> None:
    with spanwise.operation("pay"):
        spanwise.circuit("payments").trip("5 failures", error=OSError("x"), backoff=30)
    ((key, count),) = points()[names.CIRCUIT_TRIPS_BY_REASON.name].items()
    assert dict(key) == {
        names.CIRCUIT_NAME: "payments",
        names.CIRCUIT_REASON: "5 failures",
        names.ERROR_TYPE: "OSError",
    }
    assert count == 1
    assert observed.span().events[0].name == names.CIRCUIT_TRIPPED_EVENT
    assert spanwise.circuit("payments").state == "open", "another object of the name is another breaker"
    assert spanwise.circuit("lyrics").state == "closed"


def test_calls_and_states(points: Any) -> None:
    breaker = spanwise.circuit("payments")

    @spanwise.circuit("payments")
    def pay(amount: int) -> int:
        return amount

    @breaker
    async def refund() -> None:
        raise LookupError("gone")

    assert pay(3) == 3
    with pytest.raises(LookupError, match="gone"):
        asyncio.run(refund())
    breaker.trip()
    breaker.rejected()
    breaker.half_open()
    with breaker, breaker:
        pass
    breaker.closed()
    assert breaker.state == "closed"
    assert calls(points) == {
        ("closed", "success"): 1,
        ("closed", "failure"): 1,
        ("open", "rejected"): 1,
        ("half_open", "success"): 2,
    }


def test_a_generator_that_is_closed_early_is_a_success(points: Any) -> None:
    @spanwise.circuit("payments")
    def pages() -> Iterator[int]:
        yield 1
        yield 2

    opened = pages()
    next(opened)
    opened.close()  # type: ignore[attr-defined]
    with pytest.raises(GeneratorExit), spanwise.circuit("payments"):
        raise GeneratorExit
    assert calls(points) == {("closed", "success"): 2}


@pytest.mark.usefixtures("points")
def test_names_that_are_data_are_told(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(circuits, "_MOST", 2)
    for n in range(3):
        spanwise.circuit(f"user-{n}").trip()
    assert "'user-2' is circuit breaker 3" in caplog.text
    assert len(circuits._breakers) == 2
