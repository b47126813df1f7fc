"""The real Collector as an agent: what it is sent comes to a gateway, whole and unchanged."""

from __future__ import annotations

from pathlib import Path

import pytest
from collectors import running, until
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource

from spanwise.artefacts.agent import agent
from spanwise.thresholds.load import load

pytestmark = pytest.mark.real


def test_spans_and_metrics_reach_the_gateway(tmp_path: Path) -> None:
    with running(tmp_path, agent(load().rules)) as collector:
        provider = collector.sender("near")
        tracer = provider.get_tracer("near")
        sent: dict[int, dict[str, int]] = {}
        for number in range(50):
            span = tracer.start_span("work", attributes={"number": number})
            sent[span.get_span_context().span_id] = {"number": number}
            span.end()
        provider.shutdown()
        exporter = OTLPMetricExporter(endpoint=f"{collector.http}/v1/metrics")
        meters = MeterProvider([PeriodicExportingMetricReader(exporter)], Resource({"service.name": "near"}))
        meters.get_meter("near").create_counter("orders").add(1)
        meters.shutdown()
        assert collector.kept(sent) == sent
        until("the metric", lambda: "orders" in collector.sink.metrics)
