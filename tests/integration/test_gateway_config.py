"""The real Collector with the generated configuration gives the process's verdict, span by span."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as service
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc as service_grpc
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import SpanKind
from parts import need

from spanwise import names
from spanwise.artefacts.collector import gateway
from spanwise.artefacts.prometheus import rules_file
from spanwise.rating.lowered import compile_rules
from spanwise.rules.model import SpanRule
from spanwise.thresholds.load import lower, read

pytestmark = pytest.mark.real
ROOT = Path(__file__).resolve().parents[2]
HOSTILE = '${env:HOME} $$ "quoted" \\ back\nline {{ .Values }} \x01 é 🎵 \' ; drop'
# Broad, specific by value, by name, overlapping on purpose, and one whose text tries to break out.
EXTRA = r"""
version: 1
spans:
  checkout: {match: {http.route: /checkout}, good: 300ms, acceptable: 400ms, poor: 500ms}
  named: {match: {span.name: the one}, good: 1ns, acceptable: 2ns, poor: 3ns}
  flag: {match: {flag: true}, good: 1ms, acceptable: 2ms, poor: 3ms}
  number: {match: {flag: 1}, good: 4ms, acceptable: 5ms, poor: 6ms}
  '${env:HOME} "$1" \ {{ 🎵':
    match: {text: "${env:HOME} $$ \"quoted\" \\ back\nline {{ .Values }} \x01 é 🎵 ' ; drop"}
    good: 7ms
    acceptable: 8ms
    poor: 9ms
metrics:
  '{{ .Values "$1" \ 🎵': {increase: 'a.b{c="}}{{ \" x"}', unit: s, over: 1h, warning: 1s}
"""
RULES = lower(read(EXTRA, "testing"))


def port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def until(what: str, condition: Callable[[], Any], seconds: float = 40) -> Any:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            if value := condition():
                return value
        except OSError:
            pass
        time.sleep(0.1)
    return pytest.fail(f"{what}: not within {seconds} s", pytrace=False)


class Sink(service_grpc.TraceServiceServicer):  # type: ignore[misc]
    """Stands in Jaeger's place and keeps what it is sent."""

    def __init__(self) -> None:
        self.spans: list[Any] = []

    def Export(self, request: Any, context: Any) -> Any:
        del context
        for resource in request.resource_spans:
            for scope in resource.scope_spans:
                self.spans.extend(scope.spans)
        return service.ExportTraceServiceResponse()


class Running:
    def __init__(self, otlp: int, metrics: int, sink: Sink) -> None:
        self.otlp, self.metrics, self.sink = otlp, metrics, sink


@pytest.fixture(scope="module")
def collector(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    program = need("otelcol", "scripts/build-collector")
    folder = tmp_path_factory.mktemp("gateway")
    config = folder / "gateway.yaml"
    config.write_text(gateway(RULES), encoding="utf-8")
    sink = Sink()
    server = grpc.server(ThreadPoolExecutor(2))
    service_grpc.add_TraceServiceServicer_to_server(sink, server)
    jaeger = server.add_insecure_port("127.0.0.1:0")
    server.start()
    http, metrics, health = port(), port(), port()
    environment = os.environ | {
        "SPANWISE_OTLP_GRPC": f"127.0.0.1:{port()}",
        "SPANWISE_OTLP_HTTP": f"127.0.0.1:{http}",
        "SPANWISE_JAEGER_ENDPOINT": f"127.0.0.1:{jaeger}",
        "SPANWISE_PROMETHEUS_LISTEN": f"127.0.0.1:{metrics}",
        "SPANWISE_HEALTH_LISTEN": f"127.0.0.1:{health}",
        "SPANWISE_STORAGE_DIR": str(folder / "storage"),
        "SPANWISE_TELEMETRY_PORT": str(port()),
        "SPANWISE_METRICS_FLUSH": "500ms",
    }
    log = folder / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [program, "--config", str(config)], env=environment, stdout=output, stderr=subprocess.STDOUT
        )
    try:

        def healthy() -> bool:
            if process.poll() is not None:
                pytest.fail(log.read_text(errors="replace")[-4000:], pytrace=False)
            with urllib.request.urlopen(f"http://127.0.0.1:{health}/", timeout=2) as answer:
                return bool(answer.status == 200)

        until("the Collector's health", healthy)
        yield Running(http, metrics, sink)
    finally:
        process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(5)
        server.stop(None).wait(5)


def cases() -> list[tuple[str, SpanKind, dict[str, Any], int]]:
    """Every kind of span at each of all rules' edges that it could be held against, ± 1 ns."""
    spans: list[tuple[str, SpanKind, dict[str, Any]]] = [
        ("GET /x", SpanKind.SERVER, {"http.request.method": "GET", "http.route": "/x"}),
        ("old", SpanKind.SERVER, {"http.method": "GET"}),
        ("POST /checkout", SpanKind.SERVER, {"http.request.method": "POST", "http.route": "/checkout"}),
        ("GET", SpanKind.CLIENT, {"http.request.method": "GET"}),
        ("SELECT", SpanKind.CLIENT, {"db.system.name": "postgresql"}),
        ("GET", SpanKind.CLIENT, {"db.system.name": "redis"}),
        ("chat", SpanKind.CLIENT, {"gen_ai.operation.name": "chat"}),
        ("load", SpanKind.INTERNAL, {"spanwise.operation.kind": "plugin.load"}),
        ("import", SpanKind.INTERNAL, {"spanwise.operation.kind": "file"}),
        ("query", SpanKind.CLIENT, {"spanwise.operation.kind": "database"}),
        ("render", SpanKind.INTERNAL, {"spanwise.operation.kind": "component.render"}),
        ("the one", SpanKind.PRODUCER, {"http.route": "/checkout"}),
        ("f", SpanKind.INTERNAL, {"flag": True}),
        ("f", SpanKind.INTERNAL, {"flag": 1}),
        ("f", SpanKind.INTERNAL, {"flag": 1.0}),
        ("f", SpanKind.CONSUMER, {"flag": "true"}),
        ("h", SpanKind.INTERNAL, {"text": HOSTILE}),
        ("none", SpanKind.INTERNAL, {}),
    ]
    found = []
    for name, kind, attributes in spans:
        rating = compile_rules(RULES)
        edges = {
            limit
            for rule in RULES
            if isinstance(rule, SpanRule)
            for _, limit in rule.edges
            if rating(name, kind, attributes, limit) != rating(name, kind, attributes, limit + 1)
        } or {10_000_000_000}
        found += [(name, kind, attributes, edge + off) for edge in sorted(edges) for off in (-1, 0, 1)]
    return found


def test_the_collector_and_the_process_agree_on_every_span(collector: Running) -> None:
    provider = TracerProvider(resource=Resource({"service.name": "edges"}), shutdown_on_exit=False)
    provider.add_span_processor(
        BatchSpanProcessor(OTLPSpanExporter(endpoint=f"http://127.0.0.1:{collector.otlp}/v1/traces"))
    )
    tracer = provider.get_tracer("edges")
    verdict = compile_rules(RULES)
    expected: dict[int, tuple[Any, ...] | None] = {}
    for name, kind, attributes, duration in cases():
        start = 1_700_000_000_000_000_001
        span = tracer.start_span(name, kind=kind, attributes=attributes, start_time=start)
        said = verdict(name, kind, attributes, duration)
        expected[span.get_span_context().span_id] = said and tuple(said)
        span.end(start + duration)
    provider.shutdown()
    assert len({each[0] for each in expected.values() if each}) == 3, "every rating must occur"

    until("all spans kept", lambda: len(collector.sink.spans) >= len(expected))
    got: dict[int, tuple[Any, ...] | None] = {}
    for span in collector.sink.spans:
        values = {each.key: getattr(each.value, each.value.WhichOneof("value")) for each in span.attributes}
        rated = tuple(values.get(key) for key in (names.RATING, names.RATING_RULE, names.RATING_LIMIT))
        got[int.from_bytes(span.span_id, "big")] = None if rated == (None,) * 3 else rated
    assert got == expected

    def counted() -> bool:
        with urllib.request.urlopen(f"http://127.0.0.1:{collector.metrics}/metrics", timeout=5) as answer:
            text = answer.read().decode()
        # Labels hold anything within quotes, blanks and braces too; an exemplar may follow the value.
        series = re.findall(
            r'^traces_span_metrics_calls_total{((?:[^"}]|"(?:[^"\\]|\\.)*")*)} (\S+)', text, re.M
        )
        return sum(float(value) for _, value in series) == len(expected) and all(
            'service_name="edges"' in labels for labels, _ in series
        )

    until("the span count in Prometheus's format", counted)


def test_the_collector_accepts_the_committed_configuration() -> None:
    done = subprocess.run(
        [need("otelcol", "scripts/build-collector"), "validate", "--config", "collector/gateway.yaml"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_prometheus_accepts_the_rules(tmp_path: Path) -> None:
    rules = tmp_path / "rules.yaml"
    rules.write_text(rules_file(RULES), encoding="utf-8")
    for path in (rules, ROOT / "collector/prometheus/rules/spanwise.yaml"):
        done = subprocess.run(
            [need("promtool", "apt-get install prometheus"), "check", "rules", str(path)],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
