"""Flask-Caching observed: its back ends, its decorators, and spans only where no client makes them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import flask_caching
import pytest
from cachelib import MemcachedCache, RedisCache
from flask import Flask
from flask_caching.backends import SimpleCache
from flask_caching.backends.base import BaseCache
from opentelemetry.trace import SpanKind

from spanwise import names
from spanwise.context import suppressed
from spanwise.instrumentors import flask_caching as ours
from spanwise.instrumentors.flask_caching import FlaskCachingInstrumentor, _is_traced

HIT, MISS, STORED = ("get", "hit"), ("get", "miss"), ("set", "stored")


@pytest.fixture
def instrument(observe: Callable[..., None]) -> Callable[..., None]:
    return lambda **options: observe(FlaskCachingInstrumentor(), **options)


@pytest.fixture
def app() -> Iterator[Flask]:
    made = Flask(__name__)
    with made.app_context():
        yield made


def cache_of(app: Flask, kind: str, **config: Any) -> flask_caching.Cache:
    return flask_caching.Cache(app, config={"CACHE_TYPE": kind, "CACHE_NO_NULL_WARNING": True, **config})


class MadeUp(BaseCache):
    """A back end of the application's."""

    def __init__(self) -> None:
        super().__init__()
        self.entries: dict[str, Any] = {}

    @classmethod
    def factory(cls, *_: Any) -> MadeUp:
        return cls()

    def get(self, key: str) -> Any:
        return self.entries.get(key)

    def set(self, key: str, value: Any, timeout: Any = None) -> bool:
        if value == "fails":
            return False
        self.entries[key] = value
        return True

    def has(self, key: str) -> bool:
        return key in self.entries

    def delete(self, key: str) -> bool:
        if key == "raises":
            raise OSError("cannot delete raises")
        return self.entries.pop(key, None) is not None


def use(cache: flask_caching.Cache) -> list[Any]:
    return [
        cache.get("a"),
        cache.set("a", 1),
        cache.get("a"),
        cache.add("a", 2),
        cache.add("b", 2),
        cache.get_many("a", "b", "c"),
        cache.get_dict("a", "c"),
        cache.set_many({"d": 4, "e": 5}),
        cache.delete("a"),
        cache.delete_many("b", "d"),
        cache.has("e"),
        cache.clear(),
    ]


@pytest.mark.parametrize("early", [True, False])
@pytest.mark.parametrize("kind", ["SimpleCache", "FileSystemCache"])
def test_local_back_ends_do_the_same_and_are_counted(
    told: Any, instrument: Callable[..., None], app: Flask, tmp_path: Path, kind: str, early: bool
) -> None:
    expected = use(cache_of(app, kind, CACHE_DIR=str(tmp_path / "plain")))
    folder = {"CACHE_DIR": str(tmp_path / "observed")}
    cache = cache_of(app, kind, **folder) if early else None
    instrument()
    assert use(cache or cache_of(app, kind, **folder)) == expected
    assert told.counts(kind) == {
        HIT: 4,
        MISS: 3,
        STORED: 4,
        ("set", "refused"): 1,
        ("delete", "deleted"): 3,
    }
    assert told.spans() == []


def test_the_null_cache_misses(told: Any, instrument: Callable[..., None], app: Flask) -> None:
    instrument()
    cache = cache_of(app, "NullCache")
    assert [cache.set("a", 1), cache.get("a")] == [True, None]
    assert told.counts("NullCache") == {STORED: 1, MISS: 1}
    assert told.by_name(names.CACHE_HIT_RATIO) == {"NullCache": 0}


def test_a_back_end_of_the_application_s(told: Any, instrument: Callable[..., None], app: Flask) -> None:
    instrument()
    cache = cache_of(app, f"{__name__}.MadeUp")
    assert [cache.set("a", 1), cache.set("b", "fails"), cache.get("a"), cache.delete("z")] == [
        True,
        False,
        1,
        False,
    ]
    with pytest.raises(OSError, match="cannot delete raises"):
        cache.delete("raises")
    assert told.counts("MadeUp") == {
        STORED: 1,
        ("set", "error"): 1,
        HIT: 1,
        ("delete", "absent"): 1,
        ("delete", "error"): 1,
    }
    assert told.timed()[HIT] == 1


def test_views_and_memoized_functions(told: Any, instrument: Callable[..., None], app: Flask) -> None:
    instrument()
    cache = cache_of(app, "SimpleCache")
    calls = []

    @app.route("/")
    @cache.cached()
    def home() -> str:
        calls.append("home")
        return "home"

    @cache.memoize()
    def square(number: int) -> int:
        calls.append("square")
        return number * number

    client = app.test_client()
    assert [client.get("/").text for _ in range(3)] == ["home"] * 3
    assert told.counts("SimpleCache") == {HIT: 2, MISS: 1, STORED: 1}
    assert [square(2) for _ in range(3)] == [4] * 3
    counts = told.counts("SimpleCache")
    # Its version is looked up too: missed at first, then found. How often depends on Flask-Caching's version.
    assert counts[MISS] == 1 + 2
    assert counts[HIT] >= 2 + 4
    assert counts[STORED] >= 1 + 2
    assert calls == ["home", "square"]


def test_one_lookup_in_256_is_timed_in_memory(told: Any, instrument: Callable[..., None], app: Flask) -> None:
    instrument()
    cache = cache_of(app, "SimpleCache")
    cache.set("a", 1)
    for _ in range(600):
        cache.get("a")
    assert told.timed() == {STORED: 1, HIT: 3}


def test_spans_where_they_are_asked_for(told: Any, instrument: Callable[..., None], app: Flask) -> None:
    instrument(cache_spans=True)
    cache = cache_of(app, f"{__name__}.MadeUp")
    cache.get("secret")
    with pytest.raises(OSError, match="raises"):
        cache.delete("raises")
    get, delete = told.spans()
    assert (get.name, get.kind, get.attributes[names.CACHE_OUTCOME]) == (
        "get MadeUp",
        SpanKind.INTERNAL,
        "miss",
    )
    assert (delete.name, delete.attributes[names.ERROR_TYPE]) == ("delete MadeUp", "OSError")
    assert not any(word in span.to_json() for span in (get, delete) for word in ("secret", "cannot delete"))


class FakeClient:
    """A client of memcached's, as pylibmc's is."""

    def __init__(self) -> None:
        self.entries: dict[str, Any] = {}

    def get(self, key: str) -> Any:
        return self.entries.get(key)

    def set(self, key: str, value: Any, timeout: int) -> bool:
        self.entries[key] = value
        return True


def memcached(_app: Flask, config: Any, _args: Any, _options: Any) -> MemcachedCache:
    return MemcachedCache(config["CLIENT"])


class FakeRedis(RedisCache):
    """Answers by itself."""

    @classmethod
    def factory(cls, *_: Any) -> FakeRedis:
        return cls(host=FakeClient())

    def get(self, key: str) -> Any:
        return None


def redis(*_: Any) -> FakeRedis:
    return FakeRedis.factory()


def test_a_memcached_call_is_a_span(told: Any, instrument: Callable[..., None], app: Flask) -> None:
    instrument()
    cache = cache_of(app, f"{__name__}.memcached", CLIENT=FakeClient())
    assert [cache.get("secret"), cache.set("secret", 1), cache.get("secret")] == [None, True, 1]
    assert [(span.name, span.kind, span.attributes[names.CACHE_OUTCOME]) for span in told.spans()] == [
        ("get", SpanKind.CLIENT, "miss"),
        ("set", SpanKind.CLIENT, "stored"),
        ("get", SpanKind.CLIENT, "hit"),
    ]
    assert told.spans()[0].attributes[names.DB_SYSTEM_NAME] == "memcached"
    assert "secret" not in told.spans()[0].to_json()
    assert told.counts("MemcachedCache") == {MISS: 1, STORED: 1, HIT: 1}
    operations = {
        p.attributes[names.DB_OPERATION_NAME] for p in told.points(names.DB_CLIENT_OPERATION_DURATION)
    }
    assert operations == {"get", "set"}


def test_where_the_client_is_traced_there_is_no_second_span(
    told: Any, instrument: Callable[..., None], app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    instrument(cache_spans=True)
    cache = cache_of(app, f"{__name__}.redis")
    assert cache.get("a") is None
    monkeypatch.setattr(FakeClient, "__module__", "pymemcache.client.base")
    other = cache_of(app, f"{__name__}.memcached", CLIENT=FakeClient())
    assert other.get("a") is None
    assert told.spans() == []
    assert told.counts() == {("FakeRedis", *MISS): 1, ("MemcachedCache", *MISS): 1}


def test_cachelib_keeps_its_client_where_we_look() -> None:
    client = FakeClient()
    assert MemcachedCache(client)._client is client
    assert not _is_traced(MemcachedCache(client))


def test_suppressed_operations_are_not_counted(
    told: Any, instrument: Callable[..., None], app: Flask
) -> None:
    instrument()
    cache = cache_of(app, "SimpleCache")
    with suppressed():
        cache.set("a", 1)
        assert cache.get("a") == 1
    assert told.counts() == {}


def test_switched_off_the_classes_are_as_they_were(told: Any, app: Flask) -> None:
    classes = (flask_caching.Cache, *flask_caching.SimpleCache.__mro__)
    before = [dict(vars(each)) for each in classes]
    FlaskCachingInstrumentor().instrument(**told.providers)
    cache = cache_of(app, "SimpleCache")
    cache.set("a", 1)
    assert dict(vars(flask_caching.SimpleCache)) != before[1]
    FlaskCachingInstrumentor().uninstrument()
    assert [dict(vars(each)) for each in classes] == before
    assert cache.get("a") == 1
    assert told.counts() == {}


def test_a_failure_of_ours_costs_one_warning_and_no_result(
    instrument: Callable[..., None],
    app: Flask,
    monkeypatch: pytest.MonkeyPatch,
    warnings: Callable[[], list[str]],
) -> None:
    def broken(*_: Any, **__: Any) -> Any:
        raise RuntimeError("planted")

    instrument()
    monkeypatch.setattr("spanwise.meters.cache.Caches.tally", broken)
    cache = cache_of(app, "SimpleCache")
    assert [cache.set("a", 1), cache.get("a")] == [True, 1]
    (warning,) = warnings()
    assert "flask_caching instrumentation could not wrap a back end (RuntimeError: planted)" in warning


class Mine(SimpleCache):
    """A back end of the application's that inherits everything."""

    @classmethod
    def factory(cls, _app: Any, _config: Any, _args: Any, options: dict[str, Any]) -> Mine:
        return cls(**options)


@pytest.mark.parametrize("parent_first", [True, False])
def test_a_back_end_and_its_parent_are_counted_apart(
    told: Any, instrument: Callable[..., None], app: Flask, parent_first: bool
) -> None:
    instrument()
    kinds = ["SimpleCache", f"{__name__}.Mine"]
    for kind in kinds if parent_first else reversed(kinds):
        cache_of(app, kind).set("a", 1)
    for _ in range(100):
        cache_of(app, kinds[1]).get("b")
    mine = cache_of(app, kinds[1])
    mine.set("a", 1)
    for _ in range(300):
        mine.get("a")
    assert told.counts("Mine") == {STORED: 2, MISS: 100, HIT: 300}
    assert told.counts("SimpleCache") == {STORED: 1}


def test_misses_in_memory_are_timed_as_rarely_as_hits(
    told: Any, instrument: Callable[..., None], app: Flask
) -> None:
    instrument()
    cache = cache_of(app, "SimpleCache")
    for _ in range(600):
        cache.get("a")
    assert told.counts("SimpleCache") == {MISS: 600}
    assert told.timed() == {MISS: 3}


def test_so_many_classes_are_wrapped(
    told: Any, instrument: Callable[..., None], app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ours, "_MOST_CLASSES", 1)
    instrument()
    for kind in ("SimpleCache", f"{__name__}.MadeUp"):
        cache_of(app, kind).set("a", 1)
    assert told.counts() == {("SimpleCache", *STORED): 1}
