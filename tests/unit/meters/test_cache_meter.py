"""The counts of caches: bounded, told together by name, and never in the way."""

from __future__ import annotations

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
    record = meter.caches.record
    record("redis", "sessions", GET, HIT, 0.002)
    record("redis", "sessions", GET, MISS, 0.001, 3)
    record("redis", "sessions", SET, STORED, -1.0)
    record("redis", "sessions", DELETE, DELETED, 0.001)
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
    meter.caches.record("redis", "a", GET, HIT, 0.1)
    meter.caches.record("redis", "a", GET, ERROR, 0.1, 9)
    meter.caches.record("redis", "b", GET, ERROR, 0.1)
    assert meter.values(names.CACHE_HIT_RATIO) == {("a", "redis"): 1.0}


def test_the_hit_ratio_is_the_share_of_lookups_that_gave_a_value(meter: Meter) -> None:
    for outcome, count in ((HIT, 3), (MISS, 2), (EXPIRED, 1)):
        meter.caches.record("lib", "a", GET, outcome, 0.1, count)
    meter.caches.record("lib", "a", SET, STORED, 0.1, 9)
    assert meter.values(names.CACHE_HIT_RATIO) == {("a", "lib"): 0.5}


def test_so_many_caches_are_asked_for_their_size(meter: Meter, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "_MOST_WATCHED", 3)
    owners = [Owner() for _ in range(5)]
    tally = meter.caches.tally("lib", 1, lambda: "a")
    for owner in owners:
        meter.caches.watch(owner, tally, lambda _: (2, None))
    assert meter.values(names.CACHE_SIZE) == {("a", "lib"): 6}


def test_there_are_so_many_names_and_then_one_for_the_rest(meter: Meter) -> None:
    for number in range(MOST_NAMES + 50):
        meter.caches.record("redis", f"tenant-{number}", GET, HIT, -1.0)
    found = meter.values(names.CACHE_OPERATIONS)
    assert len(found) == MOST_NAMES + 1
    assert found[(OTHER, "redis", "get", "hit")] == 50
    # Each with every outcome there is (4 of a get, 3 of a set, 3 of a delete) stays within the limit.
    assert (MOST_NAMES + 1) * 10 < MOST_SETS


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
        meter.caches.record(system, "c", GET, HIT, -1.0)
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
