"""What the tests of caches ask: counts, sizes, durations and spans of one process."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from spanwise import names


class Told:
    """Providers, and what they were told."""

    def __init__(self) -> None:
        self._reader = InMemoryMetricReader()
        self._exporter = InMemorySpanExporter()
        self.meter_provider = MeterProvider([self._reader])
        self.tracer_provider = TracerProvider()
        self.tracer_provider.add_span_processor(SimpleSpanProcessor(self._exporter))

    @property
    def providers(self) -> dict[str, Any]:
        return {"meter_provider": self.meter_provider, "tracer_provider": self.tracer_provider}

    def spans(self) -> list[ReadableSpan]:
        return list(self._exporter.get_finished_spans())

    def points(self, metric: names.Metric) -> list[Any]:
        data = self._reader.get_metrics_data()
        if data is None:
            return []
        return [
            point
            for resource in data.resource_metrics
            for scope in resource.scope_metrics
            for each in scope.metrics
            if each.name == metric.name
            for point in each.data.data_points
        ]

    def counts(self, name: str | None = None) -> dict[Any, int]:
        """Operations by operation and outcome, of one cache; by its name too without."""
        found = {}
        for point in self.points(names.CACHE_OPERATIONS):
            labels = point.attributes
            key = (labels[names.CACHE_OPERATION_NAME], labels[names.CACHE_OUTCOME])
            if name is None:
                found[(labels[names.CACHE_NAME], *key)] = point.value
            elif labels[names.CACHE_NAME] == name:
                found[key] = point.value
        return found

    def by_name(self, metric: names.Metric) -> dict[str, float]:
        return {point.attributes[names.CACHE_NAME]: point.value for point in self.points(metric)}

    def timed(self) -> dict[tuple[str, str], int]:
        """How many durations there are, by operation and outcome."""
        return {
            (point.attributes[names.CACHE_OPERATION_NAME], point.attributes[names.CACHE_OUTCOME]): point.count
            for point in self.points(names.CACHE_OPERATION_DURATION)
        }


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def observe(told: Told) -> Iterator[Callable[..., None]]:
    """Switches an instrumentor on until the test ends."""
    switched: list[Any] = []

    def on(instrumentor: Any, **options: Any) -> None:
        switched.append(instrumentor)
        instrumentor.instrument(**told.providers, **options)

    yield on
    for instrumentor in switched:
        instrumentor.uninstrument()


@pytest.fixture
def warnings(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    """The warnings that were logged."""
    caplog.set_level(logging.WARNING)
    return lambda: [record.getMessage() for record in caplog.records]
