"""Caches on real servers: memcached through pymemcache and Flask-Caching, Redis through Flask-Caching."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from flask import Flask
from flask_caching import Cache
from opentelemetry.instrumentation._semconv import _OpenTelemetrySemanticConventionStability
from opentelemetry.instrumentation.pymemcache import PymemcacheInstrumentor as Contrib
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind
from parts import need
from pymemcache.client.base import Client, PooledClient
from pymemcache.client.hash import HashClient
from pymemcache.client.retrying import RetryingClient
from servers import memcached_server, redis_server

from spanwise import names
from spanwise.instrumentors.flask_caching import FlaskCachingInstrumentor
from spanwise.instrumentors.pymemcache import PymemcacheInstrumentor

pytestmark = pytest.mark.real

Address = tuple[str, int]


@pytest.fixture(scope="module")
def memcached(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Address]:
    need("memcached", "apt-get install memcached")
    with memcached_server(tmp_path_factory.mktemp("memcached")) as address:
        yield address


class Observed:
    """Instrumentors at work, and what they told."""

    def __init__(self, *instrumentors: Any) -> None:
        self._exporter = InMemorySpanExporter()
        self._reader = InMemoryMetricReader()
        self._instrumentors = instrumentors
        self._tracer_provider = TracerProvider()
        self._tracer_provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        self._meter_provider = MeterProvider([self._reader])

    def __enter__(self) -> Observed:
        for each in self._instrumentors:
            each.instrument(tracer_provider=self._tracer_provider, meter_provider=self._meter_provider)
        return self

    def __exit__(self, *_: object) -> None:
        for each in self._instrumentors:
            each.uninstrument()

    def spans(self) -> list[ReadableSpan]:
        return list(self._exporter.get_finished_spans())

    def counts(self, system: str) -> dict[tuple[str, str], int]:
        data: Any = self._reader.get_metrics_data()
        return {
            (p.attributes[names.CACHE_OPERATION_NAME], p.attributes[names.CACHE_OUTCOME]): p.value
            for resource in data.resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
            if metric.name == names.CACHE_OPERATIONS.name
            for p in metric.data.data_points
            if p.attributes[names.CACHE_SYSTEM] == system
        }


def use(client: Any) -> list[Any]:
    """The same on every client; its failures are part of the result."""

    def failing() -> Any:
        try:
            return client.incr("text", 1)
        except Exception as error:
            return type(error)

    client.flush_all(noreply=False)
    return [
        client.get("a"),
        client.set("a", "1", noreply=False),
        client.get("a"),
        client.add("a", "2", noreply=False),
        client.set_many({"b": "2", "c": "3"}, noreply=False),
        client.get_many(["a", "b", "zz"]),
        client.incr("a", 5),
        client.delete("a", noreply=False),
        client.delete("a", noreply=False),
        client.set("text", "words", noreply=False),
        failing(),
        client.touch("text", 10, noreply=False),
    ]


CLIENTS: list[Callable[[Address], Any]] = [
    Client,
    PooledClient,
    lambda address: HashClient([address]),
    lambda address: RetryingClient(Client(address), attempts=1),
]


@pytest.mark.parametrize("make", CLIENTS, ids=["Client", "PooledClient", "HashClient", "RetryingClient"])
def test_each_client_answers_as_ever_and_is_told_of(
    memcached: Address, make: Callable[[Address], Any]
) -> None:
    expected = use(make(memcached))
    with Observed(PymemcacheInstrumentor()) as observed:
        assert use(make(memcached)) == expected
    assert expected[:3] == [None, True, b"1"]
    commands = ["flush_all", "get", "set", "get", "add", "set_many", "get_many", "incr", "delete", "delete"]
    commands += ["set", "incr", "touch"]
    assert [span.name for span in observed.spans()] == commands
    assert [span.name for span in observed.spans() if not span.status.is_ok] == ["incr"]
    with Observed(PymemcacheInstrumentor()) as again:
        use(make(memcached))
        assert again.counts("memcached") == {
            ("get", "hit"): 3,
            ("get", "miss"): 2,
            ("set", "stored"): 4,
            ("set", "refused"): 1,
            ("delete", "deleted"): 1,
            ("delete", "absent"): 1,
        }


def test_against_contrib_s(memcached: Address, monkeypatch: pytest.MonkeyPatch) -> None:
    """The differences are those that the instrumentor's docstring lists."""
    # contrib reads the variable once a process, perhaps in an earlier test.
    monkeypatch.setattr(_OpenTelemetrySemanticConventionStability, "_initialized", False)
    mapping = "_OTEL_SEMCONV_STABILITY_SIGNAL_MAPPING"
    monkeypatch.setattr(_OpenTelemetrySemanticConventionStability, mapping, {})
    monkeypatch.setenv("OTEL_SEMCONV_STABILITY_OPT_IN", "database")
    with Observed(Contrib()) as theirs:
        use(Client(memcached))
    with Observed(PymemcacheInstrumentor()) as ours:
        use(Client(memcached))
    pairs = list(zip(theirs.spans(), ours.spans(), strict=True))
    assert len(pairs) == 13
    added = {names.DB_OPERATION_NAME, names.DB_OPERATION_BATCH_SIZE, names.CACHE_OUTCOME, names.ERROR_TYPE}
    for their, our in pairs:
        assert (our.name, our.kind) == (their.name, SpanKind.CLIENT)
        assert our.status.status_code is their.status.status_code
        kept = {key: value for key, value in (our.attributes or {}).items() if key not in added}
        their_own = dict(their.attributes or {})
        text = str(their_own.pop(names.DB_QUERY_TEXT))
        assert text.split(" ")[0] == (our.attributes or {})[names.DB_OPERATION_NAME]
        assert their_own.pop("network.transport") == "tcp"
        assert kept == their_own


def backend(address: Address) -> Cache:
    app = Flask("shop")
    app.app_context().push()
    config = {"CACHE_TYPE": f"{__name__}.on_memcached", "ADDRESS": address}
    return Cache(app, config=config)


def on_memcached(_app: Flask, config: Any, _args: Any, options: Any) -> Any:
    from cachelib import MemcachedCache

    return MemcachedCache(PooledClient(config["ADDRESS"]), options["default_timeout"])


def test_flask_caching_on_pymemcache_makes_one_span_an_operation(memcached: Address) -> None:
    Client(memcached).flush_all()
    with Observed(PymemcacheInstrumentor(), FlaskCachingInstrumentor()) as observed:
        cache = backend(memcached)
        assert [cache.get("k"), cache.set("k", b"v"), cache.get("k"), cache.delete("k")] == [
            None,
            True,
            b"v",
            True,
        ]
        assert [span.name for span in observed.spans()] == ["get", "set", "get", "delete"]
        assert {(span.attributes or {}).get(names.SERVER_PORT) for span in observed.spans()} == {memcached[1]}
        counts = {("get", "miss"): 1, ("get", "hit"): 1, ("set", "stored"): 1, ("delete", "deleted"): 1}
        assert observed.counts("flask_caching") == observed.counts("memcached") == counts
    with Observed(FlaskCachingInstrumentor()) as alone:
        backend(memcached).get("k")
        # pymemcache's spans are pymemcache's instrumentor's affair, which the user has switched off.
        assert alone.spans() == []


def test_flask_caching_on_redis_leaves_the_spans_to_redis(tmp_path: Path) -> None:
    from opentelemetry.instrumentation.redis import RedisInstrumentor

    need("redis-server", "apt-get install redis-server")
    app = Flask("shop")
    with (
        redis_server(tmp_path) as url,
        app.app_context(),
        Observed(RedisInstrumentor(), FlaskCachingInstrumentor()) as observed,
    ):
        redis.Redis.from_url(url).ping()
        plain = len(observed.spans())
        cache = Cache(app, config={"CACHE_TYPE": "RedisCache", "CACHE_REDIS_URL": url})
        assert [cache.get("k"), cache.set("k", "v"), cache.get("k"), cache.get_many("k", "z")] == [
            None,
            True,
            "v",
            ["v", None],
        ]
        commands = [span.name for span in observed.spans()[plain:]]
        # SETEX with an older cachelib.
        assert [command.removesuffix("EX") for command in commands] == ["GET", "SET", "GET", "MGET"]
        assert observed.counts("flask_caching") == {
            ("get", "miss"): 2,
            ("get", "hit"): 2,
            ("set", "stored"): 1,
        }
