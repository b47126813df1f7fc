"""Through the real Collector with the generated configuration, a version can be judged alone."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from backends import prometheus
from collectors import running, until
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.trace import SpanKind

from spanwise import names
from spanwise.artefacts.collector import gateway
from spanwise.thresholds.load import load

pytestmark = pytest.mark.real


THRESHOLDS = "version: 1\ngate: {memory: {for: 2s}, http_errors: off}\n"


def gate(folder: Path, address: str, version: str) -> int:
    options = ["--service", "shop", "--version", version, "--window", "30s", "--ignore", "http_errors"]
    done = subprocess.run(
        [sys.executable, "-m", "spanwise", "gate", "--prometheus", address, *options],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert "Traceback" not in done.stderr
    return done.returncode


def test_both_the_application_s_series_and_those_of_its_spans_name_the_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SPANWISE_METRICS_FLUSH", "200ms")
    with running(tmp_path, gateway(load().rules)) as collector:
        for version in ("1", "2"):
            described = Resource({names.SERVICE_NAME: "shop", names.SERVICE_VERSION: version})
            reader = PeriodicExportingMetricReader(OTLPMetricExporter(f"{collector.http}/v1/metrics"))
            meters = MeterProvider([reader], described, shutdown_on_exit=False)
            memory = names.PROCESS_MEMORY_USAGE
            meters.get_meter("test").create_up_down_counter(memory.name, memory.unit).add(
                int(version) * 800_000_000
            )
            meters.shutdown()
            tracers = TracerProvider(resource=described, shutdown_on_exit=False)
            tracers.add_span_processor(SimpleSpanProcessor(OTLPSpanExporter(f"{collector.http}/v1/traces")))
            tracers.get_tracer("test").start_span("GET", kind=SpanKind.SERVER).end()
            tracers.shutdown()

        def versions(metric: str) -> set[str]:
            lines = [line for line in collector.scraped().splitlines() if line.startswith(f"{metric}{{")]
            return {each for each in ("1", "2") for line in lines if f'service_version="{each}"' in line}

        for metric in ("process_memory_usage_bytes", "traces_span_metrics_calls_total"):
            until(metric, lambda metric=metric: versions(metric) == {"1", "2"})  # type: ignore[misc]

        (tmp_path / "thresholds.yaml").write_text(THRESHOLDS, encoding="utf-8")
        with prometheus(tmp_path, collector.prometheus.removeprefix("http://").partition("/")[0]) as asked:
            until("a good version", lambda: gate(tmp_path, asked.address, "1") == 0)
            until("a breach", lambda: gate(tmp_path, asked.address, "2") == 1)
            assert gate(tmp_path, asked.address, "3") == 2
