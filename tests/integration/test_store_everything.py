"""Every metric that spanwise knows, and a span of each kind: of the running store, in Prometheus and Jaeger.

Two stores run: one on PostgreSQL and Redis, one on SQLite and a cache in its process.
"""

# ruff: noqa: E402  (the store is imported by path)

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).resolve().parent
for folder in (HERE, HERE.parents[1] / "examples" / "store"):
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))

from backends import Jaeger, Prometheus, collector, jaeger, prometheus
from load import Tally, drive
from load_plan import plan
from servers import postgres, redis_server, store_app, wait_for

from spanwise import names
from spanwise.artefacts.prometheus_names import metric
from spanwise.rules.model import Series

pytestmark = pytest.mark.real

TRACKS = 200

# Metrics that these two stores have no occasion for, each with the test that sees it.
ELSEWHERE = {
    names.OLD_DB_CLIENT_CONNECTIONS_USAGE.name: "old names: test_sqlalchemy_oracle",
    names.DB_CLIENT_CONNECTION_USE_TIME.name: "an option: test_sqlalchemy_pools",
    names.DB_CLIENT_CONNECTION_TIMEOUTS.name: "a pool that is used up: test_sqlalchemy_pools",
    names.DELIVERY_ADOPTED.name: "a killed process: test_span_segment",
    names.PROCESS_MEMORY_GROWTH_RATIO.name: "five minutes of life: test_process_meters",
    **dict.fromkeys(
        (
            names.CONTAINER_CPU_TIME.name,
            names.CONTAINER_CPU_USAGE.name,
            names.CONTAINER_MEMORY_USAGE.name,
            names.CONTAINER_MEMORY_WORKING_SET.name,
            names.CONTAINER_MEMORY_AVAILABLE.name,
        ),
        "a control group of its own, with limits: test_container",
    ),
    **dict.fromkeys(
        (names.SYSTEM_PAGING_USAGE.name, names.SYSTEM_PAGING_UTILIZATION.name),
        "a machine with swap space: test_system_meters",
    ),
}

Running = tuple[Jaeger, Prometheus]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    tmp = tmp_path_factory.mktemp("everything")
    with contextlib.ExitStack() as stack:
        traces = stack.enter_context(jaeger(tmp))
        gateway = stack.enter_context(
            collector(
                tmp,
                {
                    "SPANWISE_JAEGER_ENDPOINT": traces.otlp,
                    "SPANWISE_DECISION_WAIT": "1s",
                    "SPANWISE_BASELINE": "100",
                },
            )
        )
        metrics = stack.enter_context(prometheus(tmp, gateway.prometheus))
        services = {
            "shared": {
                "DATABASE_URL": stack.enter_context(postgres(tmp_path_factory.mktemp("postgres"))),
                "REDIS_URL": stack.enter_context(redis_server(tmp_path_factory.mktemp("redis"))),
            },
            "alone": {"STORE_CACHE_SIZE": "5"},
        }
        for service, own in services.items():
            environ = {
                "STORE_TRACKS": str(TRACKS),
                "STORE_MEMORY_LIMIT": "1",  # crossed at once
                "STORE_BREAKER_FAILURES": "2",
                "SPANWISE_REQUEST_MEMORY": "1",
                "OTEL_SERVICE_NAME": service,
                "OTEL_EXPORTER_OTLP_ENDPOINT": gateway.http,
                "OTEL_METRIC_EXPORT_INTERVAL": "1000",
                "OTEL_BSP_SCHEDULE_DELAY": "200",
            }
            folder = tmp_path_factory.mktemp(service)
            launcher = (sys.executable, "-m", "spanwise", "run")
            address, _ = stack.enter_context(store_app(folder, {**environ, **own}, launcher))
            for mix in ("default", "stream", "flaky", "slow"):
                drive(plan(3, 120, mix, tracks=TRACKS), address, rate=60, tally=Tally())
        yield traces, metrics


def exposed(found: names.Metric) -> str:
    instrument: Any = {"updowncounter": "gauge"}.get(found.kind, found.kind)
    name = metric(Series(found.name, found.unit, instrument))
    return f"{name}_count" if found.kind == "histogram" else name


def test_every_metric_is_in_prometheus_under_the_name_that_the_rules_use(running: Running) -> None:
    _, metrics = running
    known = {value.name: value for value in vars(names).values() if isinstance(value, names.Metric)}
    assert ELSEWHERE.keys() <= known.keys()
    wanted = {exposed(value): name for name, value in known.items() if name not in ELSEWHERE}
    missing: set[str] = set()

    def all_there() -> bool:
        missing.clear()
        there = {series["metric"]["__name__"] for series in metrics.query('{__name__=~".+"}')}
        missing.update(name for series, name in wanted.items() if series not in there)
        return not missing

    with contextlib.suppress(TimeoutError):
        wait_for(all_there, 60, "all metrics")
    assert sorted(missing) == []


def test_a_span_of_each_kind_is_in_jaeger(running: Running) -> None:
    traces, _ = running
    wanted = {
        "shared": {
            "GET /tracks/<int:track_id>",
            "SELECT track",
            "INSERT invoice",
            "GET",  # of Redis, and to the lyrics' service
            "SET",
            "store_price",
            "store_price pricing",
            "plugin.load pricing",
            "preload",
            "stream",
            "load media",
            "memory pressure",
        },
        "alone": {"GET /search", "SELECT track", "store_recommend recommendations", "plugin.load pricing"},
    }
    for service, names_of in wanted.items():
        found: set[str] = set()

        def there(service: str = service, names_of: set[str] = names_of, found: set[str] = found) -> bool:
            spans = (span for trace in traces.traces(service) for span in trace["spans"])
            found.update(span["operationName"] for span in spans)
            return names_of <= found

        with contextlib.suppress(TimeoutError):
            wait_for(there, 30, f"spans of {service}")
        assert sorted(names_of - found) == [], sorted(found)
    systems = {
        tag["value"]
        for trace in traces.traces("shared")
        for span in trace["spans"]
        for tag in span["tags"]
        if tag["key"] == names.DB_SYSTEM_NAME
    }
    assert systems == {"postgresql", "redis"}
