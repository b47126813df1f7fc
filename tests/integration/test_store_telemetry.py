"""What the store tells by the small API arrives in Jaeger and in Prometheus, by name."""

from __future__ import annotations

import contextlib
import json
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest
from backends import Jaeger, Prometheus, collector, jaeger, prometheus
from servers import store_app, wait_for

pytestmark = pytest.mark.real

Running = tuple[str, Jaeger, Prometheus]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    tmp = tmp_path_factory.mktemp("telemetry")
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
        environ = {
            "STORE_TRACKS": "100",
            "STORE_MEMORY_LIMIT": "1",  # crossed at once
            "OTEL_SERVICE_NAME": "store",
            "OTEL_EXPORTER_OTLP_ENDPOINT": gateway.http,
            "OTEL_METRIC_EXPORT_INTERVAL": "1000",
            "OTEL_BSP_SCHEDULE_DELAY": "200",
        }
        launcher = (sys.executable, "-m", "spanwise", "run")
        address, _ = stack.enter_context(store_app(tmp, environ, launcher))
        yield address, traces, metrics


def ask(url: str, body: object = None, **headers: str) -> None:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json", **headers})
    # A stream that breaks ends early: that is what is asked for.
    with contextlib.suppress(Exception), urllib.request.urlopen(request, timeout=10) as answer:
        answer.read()


def test_spans_and_metrics_of_the_store(running: Running) -> None:
    address, traces, metrics = running
    # A metric is alerted on by its growth, so the series must be there before the first failure.
    ask(f"{address}/preload", {"track_ids": [1, 2]})
    ask(f"{address}/stream/1?stall=0.1")
    wait_for(lambda: metrics.query('preload_events_total{outcome="failure"} == 0'), 60, "a failure's series")
    ask(f"{address}/preload", {"track_ids": [17, 3]})  # every 17th is damaged
    ask(f"{address}/stream/2?break_after=1")
    ask(f"{address}/", Accept="text/html")
    wanted = {
        'preload_events_total{outcome="success"}': 3,
        'preload_events_total{outcome="failure"}': 1,
        'preload_events_total{outcome="timeout"}': 0,
        "sum(preload_duration_seconds_count)": 4,
        'spanwise_operation_duration_seconds_count{spanwise_operation_kind="component.render"}': 1,
        "controller_limit": 20,
        "controller_active": 4,
        'controller_count{controller_state="ready"}': 3,
        'controller_count{controller_state="failed"}': 1,
        "controller_disposal_errors_total": 0,
        "memory_pressure_events_total": 1,
        "memory_pressure_before_bytes_count": 1,
        "memory_pressure_disposed_total": 0,
        "sum(stream_started_total)": 2,
        "sum(stream_completed_total)": 1,
        "sum(stream_errors_total)": 1,
        "sum(stream_active)": 0,
        "sum(stream_duration_seconds_count)": 2,
        "sum(stream_buffer_time_seconds_count)": 2,
        'sum(stream_buffer_ratio_bucket{le="+Inf"})': 2,
        "sum(stream_bandwidth_bytes_per_second_count)": 2,
    }
    found: dict[str, Any] = {}

    def settled() -> bool:
        found.update({each: [float(v["value"][1]) for v in metrics.query(each)] for each in wanted})
        return found == {each: [value] for each, value in wanted.items()}

    try:
        wait_for(settled, 60, "the metrics")
    except TimeoutError:
        assert found == {each: [value] for each, value in wanted.items()}
    for positive in (
        "preload_bytes_total",
        "sum(stream_bytes_total)",
        "sum(spanwise_operation_cpu_time_seconds_total)",
    ):
        assert metrics.value(positive) > 0, positive
    assert metrics.query("spanwise_operation_memory_delta_bytes")
    names = {"preload", "stream", "load media", "render home", "memory pressure"}
    spans = wait_for(lambda: _spans(traces, names), 60, f"spans {names}")
    broken = [tags for tags in spans["stream"] if tags.get("error")]
    assert [tags["stream.outcome"] for tags in broken] == ["error"]
    assert {tags["outcome"] for tags in spans["preload"]} == {"success", "failure"}
    assert spans["load media"][0]["spanwise.operation.kind"] == "file"


def _spans(traces: Jaeger, names: set[str]) -> dict[str, list[dict[str, Any]]] | None:
    """Tags of spans by name, once all names are there."""
    found: dict[str, list[dict[str, Any]]] = {}
    for trace in traces.traces("store"):
        for span in trace["spans"]:
            tags = {tag["key"]: tag["value"] for tag in span["tags"]}
            found.setdefault(span["operationName"], []).append(tags)
    return found if names <= found.keys() and len(found["stream"]) == 2 else None
