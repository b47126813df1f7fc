"""The harness that changes threads at every instruction finds what it is there for."""

from __future__ import annotations

import sys
import threading
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from interleave import Case, explore, explore_on_top

HERE = [Path(__file__).name]


class Counter:
    def __init__(self) -> None:
        self.count = 0
        self.lock = threading.Lock()

    def add(self) -> None:
        self.count += 1

    def add_locked(self) -> None:
        with self.lock:
            self.count += 1


def counted(method: str) -> Case:
    counter = Counter()

    def check() -> None:
        assert counter.count == 2

    return Case((getattr(counter, method), getattr(counter, method)), check)


def test_a_lost_update_is_found() -> None:
    with pytest.raises(AssertionError, match=r"stopped at .*test_interleave.py:\d+ in add, instruction"):
        explore(lambda: counted("add"), HERE)


def test_what_a_lock_protects_holds_at_every_place() -> None:
    assert explore(lambda: counted("add_locked"), HERE) > 10


def test_what_an_operation_raises_is_told() -> None:
    def fails() -> None:
        raise ValueError("no")

    with pytest.raises(AssertionError, match="ValueError"):
        explore(lambda: Case((fails,), lambda: None), HERE)


def test_code_that_never_runs_is_an_error() -> None:
    with pytest.raises(AssertionError, match="no instruction"):
        explore(lambda: counted("add"), ["no/such/file"])


def test_something_runs_on_top_of_an_operation() -> None:
    seen: list[int] = []

    def make() -> Case:
        counter = Counter()
        return Case((counter.add, lambda: seen.append(counter.count)), lambda: None)

    assert explore_on_top(make, HERE) > 2
    assert set(seen) == {0, 1}


def test_what_goes_wrong_on_top_is_found() -> None:
    def make() -> Case:
        counter = Counter()

        def check() -> None:
            assert counter.count == 2

        return Case((counter.add, counter.add), check)

    with pytest.raises(AssertionError, match=r"interrupted at .*test_interleave.py:\d+ in add"):
        explore_on_top(make, HERE)
