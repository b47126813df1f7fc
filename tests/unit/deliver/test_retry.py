"""Waits between attempts."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spanwise.deliver.retry import FIRST_WAIT, LONGEST_RETRY_AFTER, LONGEST_WAIT, Backoff


@given(st.integers(1, 2000), st.integers())
def test_every_wait_is_within_its_bounds(failures: int, seed: int) -> None:
    backoff = Backoff(random.Random(seed))
    for failure in range(min(failures, 40)):
        wait = backoff.failed()
        bound = min(LONGEST_WAIT, FIRST_WAIT * 2**failure)
        assert bound / 2 <= wait <= bound


@given(st.floats(0, 1e9), st.integers(0, 20))
def test_what_the_server_asks_for_is_honoured_up_to_a_bound(asked: float, failures: int) -> None:
    backoff = Backoff()
    for _ in range(failures):
        backoff.failed()
    wait = backoff.failed(asked)
    assert wait >= min(asked, LONGEST_RETRY_AFTER)
    assert wait <= max(LONGEST_WAIT, LONGEST_RETRY_AFTER)


@pytest.mark.parametrize(
    ("asked", "waits"), [(299.0, 299.0), (300.0, 300.0), (301.0, 300.0), (86_400.0, 300.0)]
)
def test_a_server_can_ask_for_five_minutes_and_no_more(asked: float, waits: float) -> None:
    assert Backoff().failed(asked) == waits


def test_success_starts_over() -> None:
    backoff = Backoff()
    for _ in range(8):
        backoff.failed()
    backoff.succeeded()
    assert backoff.failed() <= FIRST_WAIT


def test_two_processes_do_not_wait_alike() -> None:
    assert len({Backoff(random.Random(seed)).failed() for seed in range(20)}) > 10
