"""A failing reading costs itself alone; growth is told over windows that mean something."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable
from typing import Any

import pytest
from opentelemetry.metrics import Observation

from spanwise import names
from spanwise.meters.readings import Rates, observed, remembered


def test_a_reading_that_fails_costs_one_debug_line_and_not_the_others(
    collecting: Any, caplog: pytest.LogCaptureFixture
) -> None:
    asked = []

    def refused() -> Iterable[Observation]:
        asked.append(1)
        yield Observation(1)
        raise PermissionError("/proc/self/io")

    def observe(meter: Any) -> None:
        observed(meter, names.PROCESS_DISK_IO, refused)
        observed(meter, names.PROCESS_UPTIME, lambda: (Observation(7),))

    collect = collecting(observe)
    with caplog.at_level(logging.DEBUG):
        found = [collect() for _ in range(3)]
    assert found == [{names.PROCESS_UPTIME.name: [({}, 7)]}] * 3  # half a reading is none
    assert len(asked) == 3  # it may work again later
    told = [record for record in caplog.records if "cannot be read" in record.message]
    assert [record.levelno for record in told] == [logging.DEBUG]
    assert names.PROCESS_DISK_IO.name in told[0].message
    assert "/proc/self/io" in told[0].message
    assert [record for record in caplog.records if record.levelno > logging.DEBUG] == []


def test_growth_per_second_since_the_last_reading(clock: Any) -> None:
    values = [10.0, 5.0]
    rates = Rates(lambda: tuple(values))
    assert rates.now() is None
    clock.now += 10
    values[:] = [12.0, 5.0]
    assert rates.now() == [0.2, 0.0]
    clock.now += 30
    values[:] = [42.0, 2.0]
    assert rates.now() == [1.0, 0.0]  # a counter that falls has not grown


def test_two_readers_at_about_the_same_time_get_the_same_window(clock: Any) -> None:
    values = [0.0]
    rates = Rates(lambda: tuple(values))
    rates.now()
    clock.now += 30
    values[0] = 15.0
    assert rates.now() == [0.5]
    clock.now += 0.5
    assert rates.now() == [pytest.approx(15 / 30.5)]
    clock.now += 3.4  # 3.9 s after the other: still too near
    assert rates.now() == [pytest.approx(15 / 33.9)]
    clock.now += 0.2
    assert rates.now() == [pytest.approx(0)]  # and now it is far enough


def test_flushes_do_not_fill_the_memory(clock: Any) -> None:
    rates = Rates(lambda: (clock.now,))
    for _ in range(10_000):
        clock.now += 0.001
        rates.now()
    assert len(rates._earlier) < 10
    assert rates.now() == [pytest.approx(1)]


def test_a_forked_child_begins_anew(monkeypatch: pytest.MonkeyPatch, clock: Any) -> None:
    rates = Rates(lambda: (clock.now,))
    rates.now()
    clock.now += 10
    monkeypatch.setattr(os, "getpid", lambda: -1)
    assert rates.now() is None


def test_one_collection_reads_once(clock: Any) -> None:
    count = [0]

    def read() -> int:
        count[0] += 1
        if count[0] == 1:
            raise OSError("not yet")
        return count[0]

    reading = remembered(read)
    with pytest.raises(OSError, match="not yet"):
        reading()
    assert [reading(), reading()] == [2, 2]
    clock.now += 0.49
    assert reading() == 2
    clock.now += 0.02
    assert reading() == 3
