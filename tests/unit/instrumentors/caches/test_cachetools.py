"""cachetools observed: it does what it does without, and each operation is counted once."""

from __future__ import annotations

import gc
import pickle
import sys
import threading
import weakref
from collections import Counter
from collections.abc import Callable, Iterator
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import cachetools
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spanwise import names
from spanwise.context import suppressed
from spanwise.instrumentors.cachetools import CachetoolsInstrumentor
from spanwise.meters import cache as meter

HERE = __name__
GET_HIT, GET_MISS, GET_EXPIRED = ("get", "hit"), ("get", "miss"), ("get", "expired")
STORED, DELETED, ABSENT = ("set", "stored"), ("delete", "deleted"), ("delete", "absent")

on_top: Any = None  # a cache that a variable of this module holds
CLASSES = [
    each
    for each in vars(cachetools).values()
    if isinstance(each, type) and issubclass(each, cachetools.Cache) and not each.__name__.startswith("_")
]


def _copy() -> Any:
    """cachetools once more, which nobody wraps."""
    name, file = "cachetools_plain", Path(cachetools.__file__)
    spec: Any = spec_from_file_location(name, file, submodule_search_locations=[str(file.parent)])
    module = sys.modules[name] = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


PLAIN = _copy()


class Clock:
    """A timer that a test moves."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def make(kind: Any, clock: Clock, size: int = 3, getsizeof: Any = None) -> Any:
    if kind.__name__ == "TTLCache":
        return kind(size, 10, timer=clock, getsizeof=getsizeof)
    if kind.__name__ == "TLRUCache":
        return kind(size, lambda _key, value, now: now + 5 + value, timer=clock, getsizeof=getsizeof)
    if kind.__name__ == "RRCache":
        return kind(size, choice=min, getsizeof=getsizeof)
    return kind(size, getsizeof=getsizeof)


@pytest.fixture
def instrument(observe: Callable[..., None]) -> Callable[..., None]:
    return lambda **options: observe(CachetoolsInstrumentor(), **options)


@pytest.fixture(autouse=True)
def _nothing_stays() -> Iterator[None]:
    def attributes() -> dict[Any, Any]:
        # Pickling leaves __slotnames__ behind.
        return {
            (each, name): value
            for each in CLASSES
            for name, value in vars(each).items()
            if name != "__slotnames__"
        }

    before, function = attributes(), cachetools.cached
    yield
    CachetoolsInstrumentor().uninstrument()
    assert attributes() == before
    assert cachetools.cached is function


# -- against a model ----------------------------------------------------------------------------

KEYS = st.integers(0, 5)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("set"), KEYS, st.integers(0, 5)),
        st.tuples(st.just("setdefault"), KEYS, st.integers(0, 5)),
        st.tuples(st.sampled_from(["[]", "get", "pop", "pop default", "in", "del"]), KEYS, st.just(0)),
        st.tuples(st.sampled_from(["popitem", "clear", "len", "list", "size"]), st.just(0), st.just(0)),
        st.tuples(st.just("wait"), st.integers(1, 8), st.just(0)),
    ),
    max_size=60,
)


def step(cache: Any, clock: Clock, what: str, key: int, value: int) -> Any:
    """Does one thing and tells what came of it, an exception's class included."""
    if what == "wait":
        clock.now += key
        return None
    actions: dict[str, Callable[[], Any]] = {
        "set": lambda: cache.__setitem__(key, value),
        "setdefault": lambda: cache.setdefault(key, value),
        "[]": lambda: cache[key],
        "get": lambda: cache.get(key, "default"),
        "pop": lambda: cache.pop(key),
        "pop default": lambda: cache.pop(key, "default"),
        "in": lambda: key in cache,
        "del": lambda: cache.__delitem__(key),
        "popitem": cache.popitem,
        "clear": cache.clear,
        "len": lambda: len(cache),
        "list": lambda: sorted(cache),
        "size": lambda: cache.currsize,
    }
    try:
        return actions[what]()
    except Exception as error:
        return type(error)


class Model:
    """What ought to be counted, by looking at a cache that is not observed."""

    def __init__(self) -> None:
        self.counts: Counter[tuple[str, str]] = Counter()
        self.evicted = 0

    def watch(self, cache: Any) -> None:
        """Counts what a cache pops by itself."""
        popitem = cache.popitem

        def popping() -> Any:
            pair = popitem()
            self.popped += 1
            return pair

        cache.popitem = popping

    def step(self, cache: Any, clock: Clock, what: str, key: int, value: int) -> Any:
        there, kept = key in cache, PLAIN.Cache.__contains__(cache, key)
        self.popped = 0
        result = step(cache, clock, what, key, value)
        lookup = GET_HIT if there else GET_EXPIRED if kept else GET_MISS
        if what in ("[]", "get", "pop", "pop default") or (what == "in" and not there):
            self.counts[lookup] += 1
        if what in ("pop", "pop default") and there:
            self.counts[DELETED] += 1
        if what == "del":
            self.counts[ABSENT if result is KeyError else DELETED] += 1
        if what == "set" or (what == "setdefault" and not there):
            self.counts[("set", "refused") if result is ValueError else STORED] += 1
            self.evicted += self.popped
        if what == "setdefault" and there:
            self.counts[GET_HIT] += 1
        return result


@pytest.mark.parametrize("kind", CLASSES)
@pytest.mark.parametrize("sized", [False, True])
@given(steps=STEPS)
@settings(max_examples=60)  # what is counted is compared with what was before
def test_observed_it_does_the_same_and_counts_what_a_model_does(
    told: Any, instrument: Callable[..., None], kind: Any, sized: bool, steps: list[tuple[str, int, int]]
) -> None:
    # Once only: CPython 3.13.0 forgets to look a method up anew once a class has been changed 1,000 times.
    if not CachetoolsInstrumentor().is_instrumented_by_opentelemetry:
        instrument()
    measure = (lambda value: value) if sized else None
    clock, model = Clock(), Model()
    plain = make(getattr(PLAIN, kind.__name__), clock, getsizeof=measure)
    model.watch(plain)
    expected = [model.step(plain, clock, *each) for each in steps]

    name = f"{HERE}.make"
    counts, evicted = Counter(told.counts(name)), told.by_name(names.CACHE_EVICTIONS).get(name, 0)
    clock = Clock()
    cache = make(kind, clock, getsizeof=measure)
    assert [step(cache, clock, *each) for each in steps] == expected
    assert Counter(told.counts(name)) - counts == model.counts
    assert told.by_name(names.CACHE_EVICTIONS).get(name, 0) - evicted == model.evicted
    assert sorted(cache.items()) == sorted(plain.items())


# -- what is observed ---------------------------------------------------------------------------


def test_caches_made_before_are_named_after_their_class(told: Any, instrument: Callable[..., None]) -> None:
    early = cachetools.LRUCache(2)
    early["a"] = 1
    instrument()
    assert early["a"] == 1
    assert told.counts() == {("LRUCache", "get", "hit"): 1}
    assert told.by_name(names.CACHE_SIZE) == {"LRUCache": 1}


def test_a_cache_is_named_by_what_holds_it(told: Any, instrument: Callable[..., None]) -> None:
    instrument()
    global on_top
    on_top = cachetools.LRUCache(2)

    class Own(cachetools.LRUCache):  # type: ignore[type-arg]
        def __init__(self) -> None:
            super().__init__(2)

    class Shop:
        def __init__(self) -> None:
            self.tracks = cachetools.TTLCache(2, 10)

    shop, own = Shop(), Own()
    for cache in (on_top, shop.tracks, own):
        cache["a"] = 1
    found = {name for name, *_ in told.counts()}
    test = f"{HERE}.test_a_cache_is_named_by_what_holds_it"
    # Qualified names of code are there since Python 3.11.
    within = f"{test}.<locals>.Shop" if sys.version_info >= (3, 11) else HERE
    assert found == {f"{HERE}.on_top", test, within}


def test_decorated_functions_give_their_names_and_agree_with_cache_info(
    told: Any, instrument: Callable[..., None]
) -> None:
    instrument()

    @cachetools.cached(cachetools.LRUCache(2), info=True)
    def square(number: int) -> int:
        return number * number

    @cachetools.cached(cachetools.LRUCache(2), lock=threading.RLock(), info=True)
    def cube(number: int) -> int:
        return number**3

    for function in (square, cube):
        assert [function(n) for n in (1, 2, 1, 3, 1)] == [function.__wrapped__(n) for n in (1, 2, 1, 3, 1)]
        name = f"{HERE}.{function.__qualname__}"
        info = function.cache_info()
        counts = told.counts(name)
        assert (counts[GET_HIT], counts[GET_MISS]) == (info.hits, info.misses) == (2, 3)
        assert told.by_name(names.CACHE_EVICTIONS)[name] == 1
        assert told.by_name(names.CACHE_HIT_RATIO)[name] == pytest.approx(0.4)
        assert told.by_name(names.CACHE_SIZE)[name] == told.by_name(names.CACHE_LIMIT)[name] == 2


def test_two_functions_decorated_at_one_place_are_two_caches(
    told: Any, instrument: Callable[..., None]
) -> None:
    instrument()

    def remember(function: Any) -> Any:
        return cachetools.cached(cachetools.LRUCache(2))(function)

    def one(_: int) -> int:
        return 1

    def two(_: int) -> int:
        return 2

    first, second = remember(one), remember(two)
    first(1), second(1), second(1)
    assert told.counts(f"{HERE}.{one.__qualname__}") == {GET_MISS: 1, STORED: 1}
    assert told.counts(f"{HERE}.{two.__qualname__}") == {GET_MISS: 1, STORED: 1, GET_HIT: 1}


def test_cached_methods(told: Any, instrument: Callable[..., None]) -> None:
    instrument()

    class Shop:
        def __init__(self) -> None:
            self.cache = cachetools.LRUCache(4)

        @cachetools.cachedmethod(lambda self: self.cache)
        def price(self, track: int) -> int:
            return track * 2

    shop = Shop()
    assert [shop.price(1), shop.price(1), shop.price(2)] == [2, 2, 4]
    counts = Counter(key[1:] for key, value in told.counts().items() for _ in range(value))
    assert counts == {GET_HIT: 1, GET_MISS: 2, STORED: 2}


def test_what_missing_makes_up_is_a_miss(told: Any, instrument: Callable[..., None]) -> None:
    instrument()

    class Squares(cachetools.LRUCache):  # type: ignore[type-arg]
        def __missing__(self, key: int) -> int:
            self[key] = key * key
            return key * key

    cache = Squares(4)
    assert [cache[2], cache[2], cache.get(3)] == [4, 4, None]
    ((name, *_), *_) = told.counts()
    assert told.counts(name) == {GET_MISS: 2, GET_HIT: 1, STORED: 1}


def test_an_overridden_popitem_is_an_eviction(told: Any, instrument: Callable[..., None]) -> None:
    instrument()
    dropped = []

    class Telling(cachetools.LRUCache):  # type: ignore[type-arg]
        def popitem(self) -> Any:
            key, value = super().popitem()
            dropped.append(key)
            return key, value

    cache = Telling(1)
    cache["a"] = cache["b"] = 1
    assert dropped == ["a"]
    assert list(told.by_name(names.CACHE_EVICTIONS).values()) == [1]


def test_a_key_that_cannot_be_hashed_is_an_error(told: Any, instrument: Callable[..., None]) -> None:
    instrument()
    cache = cachetools.LRUCache(1)
    with pytest.raises(TypeError):
        cache[[]]
    with pytest.raises(TypeError):
        cache[[]] = 1
    ((name, *_), *_) = told.counts()
    assert told.counts(name) == {("get", "error"): 1, ("set", "error"): 1}
    assert told.by_name(names.CACHE_HIT_RATIO) == {}


def test_reading_a_size_does_not_touch_the_cache(told: Any, instrument: Callable[..., None]) -> None:
    instrument()
    clock = Clock()
    cache = cachetools.TTLCache(4, 10, timer=clock)
    cache["a"] = 1
    clock.now += 20
    ((name, size),) = told.by_name(names.CACHE_SIZE).items()
    # Asking a timed cache itself would drop what is old, on a thread that doesn't hold its lock.
    assert (size, cachetools.Cache.__len__(cache)) == (1, 1)
    assert told.by_name(names.CACHE_LIMIT) == {name: 4}
    assert cache.get("a") is None
    assert told.counts(name)[GET_EXPIRED] == 1
    cache["b"] = 1  # drops it
    assert cache.get("a") is None
    assert told.counts(name)[GET_MISS] == 1


def test_an_endless_cache_has_no_limit(
    told: Any, instrument: Callable[..., None], warnings: Callable[[], list[str]]
) -> None:
    instrument()
    cache = cachetools.Cache(float("inf"))
    cache["a"] = 1
    assert told.by_name(names.CACHE_LIMIT) == {}
    assert list(told.by_name(names.CACHE_SIZE).values()) == [1]
    assert warnings() == []  # the SDK warns of what is not finite


# -- that nothing is hurt -----------------------------------------------------------------------


def test_suppressed_operations_are_not_counted(told: Any, instrument: Callable[..., None]) -> None:
    instrument()
    cache = cachetools.LRUCache(2)
    with suppressed():
        cache["a"] = 1
        assert (cache["a"], cache.get("b")) == (1, None)
        del cache["a"]
    assert told.counts() == {}


def test_pickles_hold_nothing_of_ours(instrument: Callable[..., None]) -> None:
    plain = cachetools.TTLCache(2, 1e9, timer=_ZERO)
    plain["a"] = 1
    instrument()
    cache = cachetools.TTLCache(2, 1e9, timer=_ZERO)
    cache["a"] = 1
    assert cache["a"] == 1
    assert pickle.dumps(cache) == pickle.dumps(plain)
    assert pickle.loads(pickle.dumps(cache))["a"] == 1


_ZERO = Clock()


def test_caches_are_not_kept_alive_and_their_counts_stay(told: Any, instrument: Callable[..., None]) -> None:
    instrument()

    def once() -> None:
        cache = cachetools.LRUCache(2)
        cache["a"] = 1
        assert cache["a"] == 1

    for _ in range(50):
        once()
    gc.collect()
    observing: Any = CachetoolsInstrumentor()._observing
    assert observing.records == {}
    assert told.by_name(names.CACHE_SIZE) == {}
    assert [*told.counts().values()] == [50, 50]
    once()
    assert [*told.counts().values()] == [51, 51]


def test_threads_with_caches_of_their_own_lose_no_count(told: Any, instrument: Callable[..., None]) -> None:
    instrument()

    def work() -> None:
        cache = cachetools.LRUCache(8)
        for number in range(2_000):
            cache[number & 15] = number
            assert cache[number & 15] == number

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    ((name, *_), *_) = told.counts()
    assert told.counts(name) == {GET_HIT: 8_000, STORED: 8_000}
    assert told.by_name(names.CACHE_EVICTIONS)[name] == 4 * (2_000 - 8)


def test_a_failure_of_ours_costs_one_warning_and_no_result(
    instrument: Callable[..., None], monkeypatch: pytest.MonkeyPatch, warnings: Callable[[], list[str]]
) -> None:
    instrument()

    def broken(*_: Any, **__: Any) -> Any:
        raise RuntimeError("planted")

    monkeypatch.setattr(meter.Caches, "tally", broken)
    cache = cachetools.LRUCache(1)
    cache["a"] = 1
    assert (cache["a"], cache.get("b"), len(cache)) == (1, None, 1)
    (warning,) = warnings()
    assert "cachetools instrumentation could not observe a cache (RuntimeError: planted)" in warning


def test_one_hit_in_256_is_timed(told: Any, instrument: Callable[..., None]) -> None:
    instrument()
    cache = cachetools.LRUCache(1)
    cache["a"] = 1
    for _ in range(600):
        assert cache["a"] == 1
    assert told.timed() == {GET_HIT: 3}


def test_spans_where_they_are_asked_for(told: Any, instrument: Callable[..., None]) -> None:
    instrument(cache_spans=True)
    cache = cachetools.LRUCache(1)
    cache["a"] = 1
    cache["b"] = 1  # evicts
    assert (cache["b"], cache.get("c")) == (1, None)
    with pytest.raises(KeyError):
        cache["c"]
    with pytest.raises(KeyError):
        del cache["c"]
    with pytest.raises(TypeError):
        cache[[]]
    name = f"{HERE}.test_spans_where_they_are_asked_for"
    outcomes = [(span.name, (span.attributes or {}).get(names.CACHE_OUTCOME)) for span in told.spans()]
    assert outcomes == [
        (f"set {name}", None),
        (f"set {name}", None),
        (f"get {name}", "hit"),
        (f"get {name}", "miss"),
        (f"get {name}", "miss"),
        (f"delete {name}", "absent"),
        (f"get {name}", None),
    ]
    assert [span.status.is_ok for span in told.spans()] == [True] * 6 + [False]
    assert not any("a" in (span.attributes or {}).values() for span in told.spans())


def test_no_spans_otherwise(told: Any, instrument: Callable[..., None]) -> None:
    instrument()
    cache = cachetools.LRUCache(1)
    cache["a"] = 1
    assert (cache["a"], told.spans()) == (1, [])


def test_switched_off_it_is_told_of_no_more(told: Any, instrument: Callable[..., None]) -> None:
    instrument()
    cache = cachetools.LRUCache(1)
    cache["a"] = 1
    CachetoolsInstrumentor().uninstrument()
    assert cache["a"] == 1
    assert (told.counts(), told.by_name(names.CACHE_SIZE)) == ({}, {})
    CachetoolsInstrumentor().instrument(**told.providers)
    assert cache["a"] == 1
    assert told.counts() == {("LRUCache", "get", "hit"): 1}


def test_misses_are_timed_as_rarely_as_hits(told: Any, instrument: Callable[..., None]) -> None:
    instrument()
    cache = cachetools.LRUCache(1)
    for _ in range(600):
        with pytest.raises(KeyError):
            cache["a"]
    assert told.timed() == {GET_MISS: 3}


def test_with_getsizeof_the_size_is_of_entries_and_the_limit_is_not_told(
    told: Any, instrument: Callable[..., None]
) -> None:
    instrument()
    cache = cachetools.LRUCache(10_000, getsizeof=len)
    cache["a"] = b"x" * 5_000
    (size,) = told.by_name(names.CACHE_SIZE).values()
    assert size == 1
    assert told.by_name(names.CACHE_LIMIT) == {}


def test_what_a_constructor_drops_is_dropped_at_once(told: Any, instrument: Callable[..., None]) -> None:
    class Held:
        """Something large."""

    class Service:
        def __init__(self) -> None:
            held = Held()
            self.gone = weakref.ref(held)
            self.cache = cachetools.LRUCache(3)
            del held
            self.dropped = self.gone() is None

    class Own(cachetools.LRUCache):  # type: ignore[type-arg]
        def __init__(self) -> None:
            super().__init__(3)

    instrument()
    assert Service().dropped
    own = Own()
    own["a"] = 1
    here = f"{HERE}.test_what_a_constructor_drops_is_dropped_at_once"
    (name,) = told.by_name(names.CACHE_SIZE)
    # By who made it, not by its own constructor. Before Python 3.11 there is no qualified name.
    assert name == (here if sys.version_info >= (3, 11) else f"{HERE}.{here.rpartition('.')[2]}")


def test_a_cache_of_several_functions_is_called_after_the_first(
    told: Any, instrument: Callable[..., None]
) -> None:
    instrument()
    shared: Any = cachetools.LRUCache(8)

    def first(number: int) -> int:
        return number

    def second(number: int) -> int:
        return -number

    one = cachetools.cached(shared)(first)
    two = cachetools.cached(shared, key=lambda number: ("two", number))(second)
    one(1), two(1)
    assert list(told.by_name(names.CACHE_SIZE)) == [f"{HERE}.{first.__qualname__}"]


def test_a_name_that_another_cache_still_has_is_kept(told: Any, instrument: Callable[..., None]) -> None:
    instrument()
    made: list[Any] = [cachetools.LRUCache(8) for _ in range(2)]  # of one place: they share a name
    cachetools.cached(made[0])(len)
    made[1]["a"] = 1
    assert {("set", "stored")} == {key[1:] for key in told.counts()}
    assert len(told.counts()) == 1
