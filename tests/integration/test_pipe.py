"""The whole pipe with the real parts: store under load → Collector → Jaeger and Prometheus.

What the store recorded is known from a second exporter, which writes every span to its log; what
arrived is asked of Jaeger and Prometheus. The two are compared span by span and count by count.
"""

from __future__ import annotations

import contextlib
import json
import math
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from backends import Jaeger, Prometheus, collector, jaeger, prometheus
from servers import STORE, postgres, redis_server, stop, store_app, wait_for

from spanwise import names

pytestmark = pytest.mark.real

LOADS = (("errors", 400), ("slow", 150))  # mix and number of requests, one after the other
REQUESTS = sum(count for _, count in LOADS)
RATE = 40
SEED = 7
DECISION_WAIT = 4  # seconds; longer than the slowest request of the plan's mix takes
BASELINE = 0.10  # what the gateway keeps of traces that are neither failed nor slow


@dataclass(frozen=True)
class Recorded:
    """A span as the store's process wrote it to its log."""

    trace_id: str
    span_id: str
    parent_id: str | None
    failed: bool
    rating: str | None


@dataclass(frozen=True)
class Run:
    """One load through the pipe, over and delivered."""

    recorded: dict[str, list[Recorded]]  # by trace id
    kept: dict[str, dict[str, Any]]  # Jaeger's traces by trace id
    planned: Counter[tuple[str, str]]  # requests by method and route
    answered: list[dict[str, Any]]  # the load generator's reports
    prometheus: Prometheus

    @property
    def must_keep(self) -> set[str]:
        return {
            trace_id
            for trace_id, spans in self.recorded.items()
            if any(span.failed or span.rating in ("poor", "critical") for span in spans)
        }


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """Sends the load once; each test looks at another side of what came of it."""
    tmp = tmp_path_factory.mktemp("pipe")
    with contextlib.ExitStack() as stack:
        database = stack.enter_context(postgres(tmp))
        cache = stack.enter_context(redis_server(tmp))
        traces = stack.enter_context(jaeger(tmp))
        gateway = stack.enter_context(
            collector(
                tmp,
                {
                    "SPANWISE_JAEGER_ENDPOINT": traces.otlp,
                    "SPANWISE_DECISION_WAIT": f"{DECISION_WAIT}s",
                    "SPANWISE_METRICS_FLUSH": "1s",
                },
            )
        )
        metrics = stack.enter_context(prometheus(tmp, gateway.prometheus))
        environ = {
            "DATABASE_URL": database,
            "REDIS_URL": cache,
            "OTEL_SERVICE_NAME": "store",
            "OTEL_EXPORTER_OTLP_ENDPOINT": gateway.http,
            "OTEL_TRACES_EXPORTER": "otlp,console",
            "OTEL_METRIC_EXPORT_INTERVAL": "2000",
        }
        launcher = (sys.executable, "-m", "spanwise", "run")
        address, store = stack.enter_context(store_app(tmp, environ, launcher))
        answered = [_load(address, mix, count, tmp / "report.json") for mix, count in LOADS]
        assert stop(store) == -15, "the store died of something else than our SIGTERM"
        recorded = _recorded(tmp / "store.log")
        _settled(traces, metrics, recorded)
        yield Run(
            recorded=recorded,
            kept={trace["traceID"]: trace for trace in traces.traces("store")},
            planned=_planned(),
            answered=answered,
            prometheus=metrics,
        )


def _load(address: str, mix: str, count: int, report: Path) -> dict[str, Any]:
    command = [sys.executable, str(STORE / "load.py"), "--url", address, "--seed", str(SEED)]
    options = ["--rate", str(RATE), "--requests", str(count), "--mix", mix]
    subprocess.run([*command, *options, "--quiet", "--report", str(report)], check=True, timeout=120)
    found: dict[str, Any] = json.loads(report.read_text())
    return found


def _planned() -> Counter[tuple[str, str]]:
    sys.path.insert(0, str(STORE))
    try:
        from load_plan import plan
    finally:
        sys.path.remove(str(STORE))
    return Counter(
        (request.method, request.route) for mix, count in LOADS for request in plan(SEED, count, mix)
    )


def _recorded(log: Path) -> dict[str, list[Recorded]]:
    """The spans in the store's log: each is a JSON object whose braces stand alone on their lines."""
    spans: dict[str, list[Recorded]] = {}
    block: list[str] = []
    for line in log.read_text("utf-8").splitlines():
        if line == "{":
            block = [line]
        elif block:
            block.append(line)
            if line == "}":
                span = json.loads("\n".join(block))
                block = []
                one = Recorded(
                    trace_id=span["context"]["trace_id"].removeprefix("0x"),
                    span_id=span["context"]["span_id"].removeprefix("0x"),
                    parent_id=(span["parent_id"] or "").removeprefix("0x") or None,
                    failed=span["status"]["status_code"] == "ERROR",
                    rating=span["attributes"].get(names.RATING),
                )
                spans.setdefault(one.trace_id, []).append(one)
    return spans


def _settled(traces: Jaeger, metrics: Prometheus, recorded: dict[str, list[Recorded]]) -> None:
    """Waits until decisions are made and scraped: the counts have stood still for some rounds."""
    seen: list[tuple[int, float]] = []

    def still() -> bool:
        calls = metrics.value("sum(traces_span_metrics_calls_total)")
        seen.append((len(traces.traces("store")), calls))
        return len(seen) > 100 and len(set(seen[-100:])) == 1 and seen[-1][0] > 0

    wait_for(still, 90, f"{len(recorded)} traces to be decided")


def test_every_request_was_answered_as_planned(run: Run) -> None:
    assert sum(report["sent"] for report in run.answered) == REQUESTS
    assert [report["unexpected"] for report in run.answered] == [0, 0]
    assert [report["unanswered"] for report in run.answered] == [0, 0]


def test_every_failing_and_every_poor_trace_is_kept(run: Run) -> None:
    failing = {trace_id for trace_id, spans in run.recorded.items() if any(span.failed for span in spans)}
    answered = sum(report["failing"] for report in run.answered)
    assert len(failing) >= answered > 50, "the loads no longer fail often enough to prove anything"
    poor = run.must_keep - failing
    assert len(poor) > 10, "the loads are no longer slow often enough to prove anything"
    assert run.must_keep - run.kept.keys() == set()


def test_kept_traces_are_whole_and_their_parents_right(run: Run) -> None:
    for trace_id, trace in run.kept.items():
        arrived = {span["spanID"]: _parent(span) for span in trace["spans"]}
        expected = {span.span_id: span.parent_id for span in run.recorded[trace_id]}
        assert arrived == expected, f"trace {trace_id}"


def test_the_baseline_is_sampled_within_statistical_bounds(run: Run) -> None:
    others = run.recorded.keys() - run.must_keep
    kept = len(run.kept.keys() & others)
    expected, deviation = BASELINE * len(others), math.sqrt(len(others) * BASELINE * (1 - BASELINE))
    # 4.5 standard deviations: a correct sampler fails this once in some 150,000 runs.
    assert abs(kept - expected) <= 4.5 * deviation, f"{kept} of {len(others)} others kept"
    assert kept < len(others)


def test_prometheus_counts_every_request_exactly(run: Run) -> None:
    """Although most traces were dropped: metrics are made before sampling."""
    found = run.prometheus.query(
        "sum by (http_request_method, http_route) "
        '(traces_span_metrics_calls_total{span_kind="SPAN_KIND_SERVER"})'
    )
    assert _by_route(found) == run.planned


def test_the_applications_own_histogram_counts_every_request_exactly(run: Run) -> None:
    found = run.prometheus.query(
        "sum by (http_request_method, http_route) (http_server_request_duration_seconds_count)"
    )
    assert _by_route(found) == run.planned


def test_every_span_is_counted(run: Run) -> None:
    recorded = sum(map(len, run.recorded.values()))
    assert run.prometheus.value("sum(traces_span_metrics_calls_total)") == recorded
    assert run.prometheus.value("sum(otel_sdk_exporter_span_exported_total)") == recorded


def _parent(span: dict[str, Any]) -> str | None:
    parents = [reference["spanID"] for reference in span["references"] if reference["refType"] == "CHILD_OF"]
    return parents[0] if parents else None


def _by_route(vector: list[dict[str, Any]]) -> Counter[tuple[str, str]]:
    """Requests by method and route, without those that the store sends to itself."""
    counts: Counter[tuple[str, str]] = Counter()
    for sample in vector:
        labels = sample["metric"]
        route = labels.get("http_route", "")
        if not route.startswith("/upstream"):
            counts[labels["http_request_method"], route] += int(float(sample["value"][1]))
    return counts
