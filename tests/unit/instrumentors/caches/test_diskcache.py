"""diskcache observed on a real folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import diskcache
import pytest

from spanwise import names
from spanwise.instrumentors.diskcache import DiskcacheInstrumentor

HIT, MISS, STORED = ("get", "hit"), ("get", "miss"), ("set", "stored")

on_top: Any = None  # a cache that a variable of this module holds


@pytest.fixture
def instrument(observe: Callable[..., None]) -> Callable[..., None]:
    return lambda **options: observe(DiskcacheInstrumentor(), **options)


def use(cache: Any) -> list[Any]:
    found = [
        cache.get("a"),
        cache.get("a", "default"),
        cache.set("a", 1),
        cache.get("a", tag=True, expire_time=True),
        cache.get("zz", None, False, True),
        cache.add("a", 2),
        cache["a"],
        cache.pop("a"),
        cache.pop("a", tag=True),
        cache.set("old", 1, expire=-1),
        cache.get("old"),
        cache.delete("a"),
        "a" in cache,
    ]
    cache["b"] = 1
    del cache["b"]
    for action in (lambda: cache["b"], lambda: cache.__delitem__("b")):
        with pytest.raises(KeyError):
            action()
    return found


@pytest.mark.parametrize("kind", [diskcache.Cache, diskcache.FanoutCache])
def test_it_does_the_same_and_is_counted(
    told: Any, instrument: Callable[..., None], tmp_path: Path, kind: Any
) -> None:
    expected = use(kind(str(tmp_path / "plain")))
    instrument()
    assert use(kind(str(tmp_path / "observed"))) == expected
    name = f"{__name__}.test_it_does_the_same_and_is_counted"
    assert told.counts(name) == {
        HIT: 3,
        MISS: 6,
        STORED: 3,
        ("set", "refused"): 1,
        ("delete", "deleted"): 1,
        ("delete", "absent"): 2,
    }
    assert told.timed() == told.counts(name)  # on a disk, each is timed
    assert told.spans() == []


def test_names(told: Any, instrument: Callable[..., None], tmp_path: Path) -> None:
    early = diskcache.Cache(str(tmp_path / "early"))
    instrument()
    global on_top
    on_top = diskcache.Cache(str(tmp_path / "top"))
    early.get("a"), on_top.get("a")
    assert told.counts() == {("Cache", *MISS): 1, (f"{__name__}.on_top", *MISS): 1}


def test_memoized_functions(told: Any, instrument: Callable[..., None], tmp_path: Path) -> None:
    instrument()

    @diskcache.Cache(str(tmp_path)).memoize()
    def square(number: int) -> int:
        return number * number

    assert [square(2), square(2)] == [4, 4]
    assert told.counts(f"{__name__}.test_memoized_functions") == {MISS: 1, STORED: 1, HIT: 1}


def test_an_error_and_spans_where_they_are_asked_for(
    told: Any, instrument: Callable[..., None], tmp_path: Path
) -> None:
    instrument(cache_spans=True)
    cache = diskcache.Cache(str(tmp_path))
    with pytest.raises(TypeError):
        cache.set("secret", 1, expire="secret")
    assert cache.get("secret") is None
    failed, get = told.spans()
    name = f"{__name__}.test_an_error_and_spans_where_they_are_asked_for"
    assert (failed.name, failed.attributes[names.ERROR_TYPE]) == (f"set {name}", "TypeError")
    assert (get.name, get.attributes[names.CACHE_OUTCOME]) == (f"get {name}", "miss")
    assert "secret" not in failed.to_json() + get.to_json()
    assert told.counts(name) == {("set", "error"): 1, MISS: 1}


def test_switched_off_the_class_is_as_it_was(told: Any, tmp_path: Path) -> None:
    before = dict(vars(diskcache.Cache))
    DiskcacheInstrumentor().instrument(**told.providers)
    assert dict(vars(diskcache.Cache)) != before
    DiskcacheInstrumentor().uninstrument()
    assert dict(vars(diskcache.Cache)) == before
    assert diskcache.Cache(str(tmp_path)).get("a") is None
    assert told.counts() == {}
