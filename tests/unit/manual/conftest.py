"""The small API with providers of a test's own."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_ON

from spanwise.instrumentors import _abandoned
from spanwise.manual import parts, told
from spanwise.meters.provider import MeterProvider
from spanwise.spans.provider import TracerProvider

Key = tuple[tuple[str, Any], ...]


class Observed:
    """What the API recorded."""

    def __init__(self) -> None:
        self._exporter = InMemorySpanExporter()
        self.tracer_provider = TracerProvider(sampler=ALWAYS_ON, shutdown_on_exit=False)
        self.tracer_provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        self._reader = InMemoryMetricReader()
        self.meter_provider = MeterProvider([self._reader], shutdown_on_exit=False)
        self.parts = parts.Parts(self.tracer_provider, self.meter_provider)

    def spans(self) -> list[ReadableSpan]:
        """In the order in which they ended."""
        gc.collect()
        _abandoned.end_abandoned()
        return list(self._exporter.get_finished_spans())

    def span(self) -> ReadableSpan:
        (span,) = self.spans()
        return span

    def points(self) -> dict[str, dict[Key, Any]]:
        """By metric and attributes: a sum's or a gauge's value, a histogram's (count, sum)."""
        data = self._reader.get_metrics_data()
        found: dict[str, dict[Key, Any]] = {}
        for resource in data.resource_metrics if data is not None else ():
            for scope in resource.scope_metrics:
                for metric in scope.metrics:
                    found[metric.name] = {
                        tuple(sorted((point.attributes or {}).items())): point.value
                        if hasattr(point, "value")
                        else (point.count, point.sum)
                        for point in metric.data.data_points
                    }
        return found


@pytest.fixture(autouse=True)
def observed(monkeypatch: pytest.MonkeyPatch) -> Iterator[Observed]:
    made = Observed()
    monkeypatch.setattr(parts, "_made", made.parts)
    monkeypatch.setattr(told, "_told", set())
    yield made
    _abandoned.end_abandoned()  # else what this test dropped is ended in the next one
    made.tracer_provider.shutdown()
    made.meter_provider.shutdown()
