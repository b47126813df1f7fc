"""functools.lru_cache and cache observed from outside: what they return is untouched."""

from __future__ import annotations

import functools
import gc
from collections.abc import Callable
from typing import Any

import pytest

from spanwise import names
from spanwise.instrumentors import functools as ours
from spanwise.instrumentors.functools import FunctoolsInstrumentor

HERE = __name__
HIT, MISS = ("get", "hit"), ("get", "miss")


@pytest.fixture
def instrument(observe: Callable[..., None]) -> Callable[[], None]:
    return lambda: observe(FunctoolsInstrumentor())


def square(number: int) -> int:
    return number * number


@pytest.mark.parametrize(
    ("decorate", "limit"),
    [
        (lambda function: functools.lru_cache(function), 128),
        (lambda function: functools.lru_cache(maxsize=2)(function), 2),
        (lambda function: functools.lru_cache(2, True)(function), 2),
        (lambda function: functools.cache(function), None),
    ],
)
def test_every_way_to_decorate(
    told: Any, instrument: Callable[[], None], decorate: Callable[[Any], Any], limit: int | None
) -> None:
    kind = type(functools.lru_cache(square))
    instrument()
    function = decorate(square)
    assert type(function) is kind
    assert [function(n) for n in (1, 2, 1)] == [1, 4, 1]
    name = f"{HERE}.square"
    assert told.counts(name) == {HIT: 1, MISS: 2}
    assert told.by_name(names.CACHE_SIZE)[name] == 2
    assert told.by_name(names.CACHE_LIMIT).get(name) == limit
    assert told.by_name(names.CACHE_HIT_RATIO)[name] == pytest.approx(1 / 3)


def test_a_name_bound_before_is_covered_for_cache_alone(told: Any, instrument: Callable[[], None]) -> None:
    early_cache, early_lru = functools.cache, functools.lru_cache
    instrument()
    seen, unseen = early_cache(square), early_lru(square)
    seen(1), unseen(1), unseen(2)
    assert told.counts(f"{HERE}.square") == {MISS: 1}


def test_counts_only_grow(told: Any, instrument: Callable[[], None]) -> None:
    instrument()
    function = functools.lru_cache(square)
    name = f"{HERE}.square"
    function(1), function(1)
    assert told.counts(name) == {HIT: 1, MISS: 1}
    function.cache_clear()
    function(1)
    assert told.counts(name) == {HIT: 1, MISS: 2}
    function(1), function(1)
    assert told.counts(name) == {HIT: 3, MISS: 2}
    del function
    gc.collect()
    assert told.counts(name) == {HIT: 3, MISS: 2}
    assert told.by_name(names.CACHE_SIZE) == {}


def test_what_is_never_called_is_not_told(told: Any, instrument: Callable[[], None]) -> None:
    instrument()
    function = functools.lru_cache(square)
    assert (told.counts(), told.by_name(names.CACHE_LIMIT)) == ({}, {})
    function(1)
    assert told.counts() == {(f"{HERE}.square", *MISS): 1}


@pytest.mark.parametrize("module", ["re", "collections.abc", "spanwise.names", "opentelemetry.trace"])
def test_python_s_own_and_ours_are_left_out(told: Any, instrument: Callable[[], None], module: str) -> None:
    instrument()

    def function() -> None:
        """Does nothing."""

    function.__module__ = module
    cached = functools.lru_cache(function)
    cached()
    assert told.counts() == {}


def test_so_many_functions_are_watched(
    told: Any, instrument: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ours, "_MOST_FUNCTIONS", 3)
    instrument()
    kept = [functools.lru_cache(square) for _ in range(5)]
    assert [function(1) for function in kept] == [1] * 5
    assert told.counts() == {(f"{HERE}.square", *MISS): 3}


def test_callables_without_a_name_are_decorated_all_the_same(instrument: Callable[[], None]) -> None:
    instrument()
    assert functools.lru_cache(functools.partial(square, 3))() == 9

    class Odd:
        __module__ = None  # type: ignore[assignment]

        def __call__(self) -> int:
            return 1

    assert functools.lru_cache(maxsize=None)(Odd())() == 1
    with pytest.raises(TypeError):
        functools.lru_cache("many")
    with pytest.raises(TypeError):
        functools.lru_cache(maxsize=1, nonsense=True)  # type: ignore[call-overload]


def test_switched_off_functools_is_as_it_was(told: Any, instrument: Callable[[], None]) -> None:
    before = functools.lru_cache
    instrument()
    assert functools.lru_cache is not before
    function = functools.lru_cache(square)
    function(1)
    FunctoolsInstrumentor().uninstrument()
    assert functools.lru_cache is before
    assert told.counts() == {}


def test_a_clearing_is_seen_by_the_size_too(told: Any, instrument: Callable[[], None]) -> None:
    instrument()
    function = functools.lru_cache(square)
    function(1), function(2)
    assert told.counts(f"{HERE}.square") == {MISS: 2}
    function.cache_clear()
    for _ in range(2):
        with pytest.raises(TypeError):
            function("no number")  # a miss that stores nothing
    assert told.counts(f"{HERE}.square") == {MISS: 4}
