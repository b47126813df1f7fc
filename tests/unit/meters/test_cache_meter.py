"""The counts of caches: bounded, told together by name, and never in the way."""

from __future__ import annotations

import os
from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from spanwise import names
from spanwise.meters import cache
from spanwise.meters.cache import (
    DELETE,
    DELETED,
    ERROR,
    EXPIRED,
    GET,
    HIT,
    MISS,
    MOST_NAMES,
    MOST_OF_ONE,
    OTHER,
    SET,
    STORED,
    Caches,
    caches_of,
)
from spanwise.meters.series import MOST_SETS


class Meter:
    """Caches, and what is told of them."""

    def __init__(self) -> None:
        self._reader = InMemoryMetricReader()
        self.provider = MeterProvider([self._reader])
        self.caches: Caches = caches_of(self.provider)

    def points(self, metric: names.Metric) -> dict[tuple[Any, ...], Any]:
        data = self._reader.get_metrics_data()
        return {
            tuple((point.attributes or {}).values()): point
            for resource in (data.resource_metrics if data else ())
            for scope in resource.scope_metrics
            for each in scope.metrics
            if each.name == metric.name
            for point in each.data.data_points
        }

    def values(self, metric: names.Metric) -> dict[tuple[Any, ...], float]:
        return {key: point.value for key, point in self.points(metric).items()}


@pytest.fixture
def meter() -> Meter:
    return Meter()


class Owner:
    """Stands for a cache."""


def test_a_remote_cache_is_recorded_by_one_call(meter: Meter) -> None:
    note, tally = meter.caches.note, meter.caches.tally("redis", "sessions")
    note(tally, GET, HIT, 0.002)
    note(tally, GET, MISS, 0.001, 3)
    note(tally, SET, STORED, -1.0)
    note(tally, DELETE, DELETED, 0.001)
    assert meter.values(names.CACHE_OPERATIONS) == {
        ("sessions", "redis", "get", "hit"): 1,
        ("sessions", "redis", "get", "miss"): 3,
        ("sessions", "redis", "set", "stored"): 1,
        ("sessions", "redis", "delete", "deleted"): 1,
    }
    durations = meter.points(names.CACHE_OPERATION_DURATION)
    assert {key[2:]: point.count for key, point in durations.items()} == {
        ("get", "hit"): 1,
        ("get", "miss"): 1,
        ("delete", "deleted"): 1,
    }
    point = durations[("sessions", "redis", "get", "hit")]
    assert (point.sum, point.explicit_bounds) == (0.002, names.CACHE_OPERATION_DURATION.buckets)
    assert meter.values(names.CACHE_HIT_RATIO) == {("sessions", "redis"): 0.25}


def test_errors_are_no_part_of_the_hit_ratio(meter: Meter) -> None:
    meter.caches.note(meter.caches.tally("redis", "a"), GET, HIT, 0.1)
    meter.caches.note(meter.caches.tally("redis", "a"), GET, ERROR, 0.1, 9)
    meter.caches.note(meter.caches.tally("redis", "b"), GET, ERROR, 0.1)
    assert meter.values(names.CACHE_HIT_RATIO) == {("a", "redis"): 1.0}


def test_the_hit_ratio_is_the_share_of_lookups_that_gave_a_value(meter: Meter) -> None:
    tally = meter.caches.tally("lib", "a")
    for outcome, count in ((HIT, 3), (MISS, 2), (EXPIRED, 1)):
        meter.caches.note(tally, GET, outcome, 0.1, count)
    meter.caches.note(tally, SET, STORED, 0.1, 9)
    assert meter.values(names.CACHE_HIT_RATIO) == {("a", "lib"): 0.5}


def count(meter: Meter, system: str, names_: int) -> None:
    for number in range(names_):
        meter.caches.note(meter.caches.tally(system, f"tenant-{number}"), GET, HIT, -1.0)


def of(meter: Meter, system: str) -> dict[tuple[Any, ...], float]:
    return {key: value for key, value in meter.values(names.CACHE_OPERATIONS).items() if key[1] == system}


def test_there_are_so_many_names_and_then_one_for_the_rest(meter: Meter) -> None:
    count(meter, "redis", MOST_OF_ONE + 50)
    found = of(meter, "redis")
    assert len(found) == MOST_OF_ONE + 1
    assert found[(OTHER, "redis", "get", "hit")] == 50


def test_the_caches_of_one_library_leave_names_for_anothers(meter: Meter) -> None:
    count(meter, "functools", 1_000)
    count(meter, "cachetools", 1_000)
    assert len(of(meter, "cachetools")) == MOST_OF_ONE + 1
    count(meter, "memcached", 1_000)
    told = len(of(meter, "memcached"))
    assert told == MOST_NAMES - MOST_OF_ONE - 1 + 1  # less the cachetools' OTHER, and its own
    # Each with every outcome there is (4 of a get, 3 of a set, 3 of a delete) stays within the limit.
    systems = 5
    assert len(of(meter, "functools")) * 2 + (MOST_NAMES + systems) * 10 < MOST_SETS


def test_an_expired_entry_was_asked_for_and_is_no_hit(meter: Meter) -> None:
    tally = meter.caches.tally("lib", "a")
    for outcome in (HIT, EXPIRED, EXPIRED, MISS):
        meter.caches.note(tally, GET, outcome, -1.0)
    assert meter.values(names.CACHE_HIT_RATIO) == {("a", "lib"): 0.25}


def test_so_many_caches_are_asked_for_their_size(meter: Meter, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "_MOST_WATCHED", 3)
    owners = [Owner() for _ in range(5)]
    for owner in owners:
        meter.caches.watch(owner, meter.caches.tally("lib", "a"), lambda _: (1, None))
    assert meter.values(names.CACHE_SIZE) == {("a", "lib"): 3}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_forked_process_starts_at_zero(meter: Meter) -> None:
    tally, polled = meter.caches.tally("lib", "a"), meter.caches.tally("polled", "p")
    meter.caches.note(tally, GET, HIT, -1.0, 1_000)
    tally.evicted.value += 5

    def bring_up_to_date() -> None:
        polled.cell(GET, HIT).value = 7  # of which nobody was told before the fork

    meter.caches.poll("polled", bring_up_to_date)
    receiving, sending = os.pipe()
    process = os.fork()
    if process == 0:
        try:
            meter.caches.note(tally, GET, HIT, -1.0, 2)
            told = repr([meter.values(names.CACHE_OPERATIONS), meter.values(names.CACHE_EVICTIONS)])
        except BaseException as error:
            told = repr(error)
        os.write(sending, told.encode())
        os._exit(0)
    os.close(sending)
    with os.fdopen(receiving) as answer:
        assert answer.read() == repr([{("a", "lib", "get", "hit"): 2}, {}])
    os.waitpid(process, 0)
    assert meter.values(names.CACHE_OPERATIONS)[("a", "lib", "get", "hit")] == 1_000


def test_keys_of_one_name_are_told_together(meter: Meter) -> None:
    owners = [Owner(), Owner()]
    for number, owner in enumerate(owners):
        tally = meter.caches.tally("lib", number, lambda: "shop.tracks")
        tally.cell(GET, HIT).value += 1 + number
        tally.evicted.value += 1
        meter.caches.watch(owner, tally, lambda _: (2, 10))
    key = ("shop.tracks", "lib")
    assert meter.values(names.CACHE_OPERATIONS) == {(*key, "get", "hit"): 3}
    assert meter.values(names.CACHE_EVICTIONS) == {key: 2}
    assert meter.values(names.CACHE_SIZE) == {key: 4}
    assert meter.values(names.CACHE_LIMIT) == {key: 20}
    del owners, owner
    assert meter.values(names.CACHE_SIZE) == {}


def test_one_that_cannot_be_read_or_named_costs_itself_alone(meter: Meter) -> None:
    def broken(*_: Any) -> Any:
        raise RuntimeError("planted")

    good, bad = Owner(), Owner()
    tally = meter.caches.tally("lib", "good")
    meter.caches.watch(bad, meter.caches.tally("lib", "bad", broken), broken)
    meter.caches.watch(good, tally, lambda _: (1, None))
    tally.cell(GET, HIT).value += 1
    assert meter.values(names.CACHE_SIZE) == {("good", "lib"): 1}
    assert meter.values(names.CACHE_LIMIT) == {}
    meter.caches.tally("lib", "bad").cell(GET, HIT).value += 1
    assert set(meter.values(names.CACHE_OPERATIONS)) == {
        ("good", "lib", "get", "hit"),
        (OTHER, "lib", "get", "hit"),
    }


def test_a_fault_of_ours_does_not_end_the_collection(meter: Meter, caplog: pytest.LogCaptureFixture) -> None:
    def broken() -> None:
        raise RuntimeError("planted")

    meter.provider.get_meter("app").create_counter("orders").add(1)
    meter.caches.poll("lib", broken)
    assert list(meter.points(names.Metric("orders", "", ""))) == [()]
    assert "the caches cannot be told of; please report this" in caplog.text


def test_a_library_that_is_forgotten_is_told_of_no_more(meter: Meter) -> None:
    owner = Owner()
    for system in ("one", "two"):
        meter.caches.note(meter.caches.tally(system, "c"), GET, HIT, -1.0)
    meter.caches.watch(owner, meter.caches.tally("one", "c"), lambda _: (1, 1))
    meter.caches.forget("one")
    assert meter.values(names.CACHE_OPERATIONS) == {("c", "two", "get", "hit"): 1}
    assert meter.values(names.CACHE_SIZE) == {}


def test_a_provider_has_one_set_of_instruments(meter: Meter, caplog: pytest.LogCaptureFixture) -> None:
    assert caches_of(meter.provider) is meter.caches
    assert caches_of(MeterProvider([])) is not meter.caches
    assert caplog.text == ""


def test_used_tallies_are_not_discarded(meter: Meter) -> None:
    used, unused = meter.caches.tally("lib", "used"), meter.caches.tally("lib", "unused")
    used.cell(GET, HIT).value += 1
    meter.caches.discard(used)
    meter.caches.discard(unused)
    assert meter.caches.tally("lib", "used") is used
    assert meter.caches.tally("lib", "unused") is not unused
