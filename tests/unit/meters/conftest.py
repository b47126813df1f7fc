"""Collecting what a group of meters tells."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from opentelemetry.metrics import Meter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from spanwise.meters import readings

Points = dict[str, list[tuple[dict[str, Any], float]]]
Collect = Callable[[], Points]


class Clock:
    """Seconds that pass when told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock of the readings."""
    stepped = Clock()
    monkeypatch.setattr(readings, "_now", stepped)
    return stepped


@pytest.fixture
def collecting() -> Callable[[Callable[[Meter], None]], Collect]:
    """Makes meters, and gives what collects their points: (attributes, value) by metric."""

    def begin(observe: Callable[[Meter], None]) -> Collect:
        reader = InMemoryMetricReader()
        provider = MeterProvider([reader], shutdown_on_exit=False)
        observe(provider.get_meter("test"))

        def collect() -> Points:
            data: Any = reader.get_metrics_data()
            if data is None:
                return {}
            return {
                metric.name: [(dict(point.attributes), point.value) for point in metric.data.data_points]
                for resource in data.resource_metrics
                for scope in resource.scope_metrics
                for metric in scope.metrics
            }

        return collect

    return begin
