"""The Redis instrumentor on a real server: INFO's figures, addresses, forked children, waiting commands."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from redis_servers import redis_cluster
from servers import redis_server

from environments import run
from spanwise import names
from spanwise.context import suppressed
from spanwise.instrumentors import _redis_info
from spanwise.instrumentors.redis import RedisInstrumentor
from spanwise.rating import shipped
from spanwise.rating.verdict import verdicts

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    with redis_server(tmp_path_factory.mktemp("redis")) as url:
        yield int(url.rpartition(":")[2].partition("/")[0])


class Told:
    """What the instrumentor told."""

    def __init__(self) -> None:
        self.exporter, self.reader = InMemorySpanExporter(), InMemoryMetricReader()
        provider = TracerProvider(shutdown_on_exit=False)
        provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        meters = MeterProvider([self.reader], shutdown_on_exit=False)
        RedisInstrumentor().instrument(tracer_provider=provider, meter_provider=meters)

    def figures(self, port: int) -> dict[str, Any]:
        data: Any = self.reader.get_metrics_data()
        metrics = (
            [m for r in data.resource_metrics for s in r.scope_metrics for m in s.metrics] if data else []
        )
        return {
            metric.name: point.value
            for metric in metrics
            for point in metric.data.data_points
            if point.attributes.get(names.SERVER_PORT) == port and hasattr(point, "value")
        }

    def until(self, port: int, enough: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
        deadline = time.monotonic() + 20
        while not enough(found := self.figures(port)):
            assert time.monotonic() < deadline, found
            time.sleep(0.02)
        return found


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Iterator[Told]:
    monkeypatch.setattr(_redis_info, "_FRESH", 0.0)
    monkeypatch.delenv("OTEL_SEMCONV_STABILITY_OPT_IN", raising=False)
    yield Told()
    RedisInstrumentor().uninstrument()


def test_the_figures_are_what_info_says(told: Told, port: int) -> None:
    client = redis.Redis(host="127.0.0.1", port=port)
    client.flushall()
    client.config_resetstat()
    client.config_set("maxmemory-policy", "allkeys-lru")
    client.config_set("maxmemory", "3mb")
    for number in range(400):
        client.set(f"key {number}", "x" * 16384)
    client.set("mine", 1)
    for _ in range(3):
        client.get("mine")
    client.get("missing")
    client.set("short", 1, px=1)
    while client.info("stats")["expired_keys"] < 1:
        time.sleep(0.01)
    # Far from the limit and from the peak: asking must neither evict nor raise what is compared.
    client.config_set("maxmemory", "64mb")
    client.flushall()
    info = client.info()
    figures = told.until(port, lambda found: found.get(names.REDIS_KEYSPACE_HITS.name) == 3)
    exact = {
        names.REDIS_KEYSPACE_HITS: "keyspace_hits",
        names.REDIS_KEYSPACE_MISSES: "keyspace_misses",
        names.REDIS_KEYS_EVICTED: "evicted_keys",
        names.REDIS_KEYS_EXPIRED: "expired_keys",
        names.REDIS_MAXMEMORY: "maxmemory",
        names.REDIS_CONNECTIONS_REJECTED: "rejected_connections",
        names.REDIS_CLIENTS_BLOCKED: "blocked_clients",
        names.REDIS_MEMORY_PEAK: "used_memory_peak",
    }
    assert {metric.name: figures[metric.name] for metric in exact} == {
        metric.name: info[field] for metric, field in exact.items()
    }
    assert (info["keyspace_misses"], info["evicted_keys"] > 100, info["maxmemory"]) == (1, True, 64 << 20)
    assert figures[names.REDIS_KEYSPACE_HIT_RATIO.name] == 0.75
    assert figures[names.REDIS_CLIENTS_CONNECTED.name] == info["connected_clients"] + 1  # it asks itself
    for metric in (names.REDIS_MEMORY_USED, names.CACHE_MEMORY_USAGE):
        assert figures[metric.name] == pytest.approx(info["used_memory"], rel=0.1)
    assert figures[names.REDIS_COMMANDS_PROCESSED.name] >= info["total_commands_processed"]
    client.config_set("maxmemory", 0)


def test_asking_makes_no_spans(told: Told, port: int) -> None:
    client = redis.Redis(host="127.0.0.1", port=port)
    client.ping()
    told.until(port, bool)
    assert [span.name for span in told.exporter.get_finished_spans()] == ["PING"]


def test_a_user_that_may_not_ask(told: Told, port: int, caplog: pytest.LogCaptureFixture) -> None:
    with suppressed():  # else the server is asked as this one
        admin = redis.Redis(host="127.0.0.1", port=port)
        admin.acl_setuser("app", enabled=True, passwords=["+word"], commands=["+@all", "-info"], keys=["*"])
    client = redis.Redis(host="127.0.0.1", port=port, username="app", password="word")
    assert client.get("key") in (None, b"1")
    deadline = time.monotonic() + 20
    while "does not tell its INFO" not in caplog.text:
        assert told.figures(port) == {}
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert "word" not in caplog.text
    for _ in range(3):
        assert told.figures(port) == {}
    with suppressed():
        log = [entry for entry in admin.acl_log() if entry["username"] == "app"]
    assert sum(entry["count"] for entry in log) == 1


def test_every_node_of_a_cluster_is_asked(told: Told, tmp_path: Any) -> None:
    with redis_cluster(tmp_path) as ports:
        client = redis.cluster.RedisCluster(host="127.0.0.1", port=ports[0])
        client.ping(target_nodes=redis.cluster.RedisCluster.ALL_NODES)
        for key in ("{06S}key", "{6ZJ}key"):
            client.set(key, 1)
        for each in ports:
            found = told.until(each, bool)
            assert found[names.REDIS_MEMORY_USED.name] > 0
        client.close()


def test_the_address_behind_a_name(told: Told, port: int) -> None:
    client = redis.Redis(host="localhost", port=port)
    client.ping()
    client.ping()
    for span in told.exporter.get_finished_spans():
        assert span.attributes[names.SERVER_ADDRESS] == "localhost"
        assert span.attributes[names.NETWORK_PEER_ADDRESS] in ("127.0.0.1", "::1")
        assert span.attributes[names.NETWORK_PEER_PORT] == port


def test_a_command_that_waits_is_not_rated_as_slow(told: Told, port: int) -> None:
    redis.Redis(host="127.0.0.1", port=port).blpop("empty", timeout=0.2)
    (span,) = told.exporter.get_finished_spans()
    elapsed = span.end_time - span.start_time
    assert elapsed > 150_000_000
    rate = verdicts(shipped.CANDIDATES)
    assert rate is not None
    attributes = dict(span.attributes)
    assert rate("BLPOP", span.kind, attributes, elapsed) is None
    del attributes[names.REDIS_BLOCKING]
    worse = rate("BLPOP", span.kind, attributes, elapsed)
    assert worse is not None
    assert worse.rating == "critical"


FORKS = """
import os, sys, time
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from spanwise.instrumentors import _redis_info
from spanwise.instrumentors.redis import RedisInstrumentor
_redis_info._FRESH = 0.0
reader = InMemoryMetricReader()
RedisInstrumentor().instrument(meter_provider=MeterProvider([reader]))
import redis
client = redis.Redis(host="127.0.0.1", port=int(sys.argv[1]))
client.ping()

def told():
    end = time.monotonic() + 20
    while time.monotonic() < end:
        data = reader.get_metrics_data()
        metrics = [m.name for r in data.resource_metrics for s in r.scope_metrics for m in s.metrics]
        if "redis.memory.used" in metrics:
            return True
        time.sleep(0.02)
    return False

assert told()
child = os.fork()
if child == 0:
    client.ping()
    os._exit(0 if told() else 1)
assert told()
print(os.waitpid(child, 0)[1])
"""


def test_a_forked_child_asks_for_itself(port: int) -> None:
    assert run(sys.executable, "-c", FORKS, str(port)).strip() == "0"
