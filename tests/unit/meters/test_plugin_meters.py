"""What is measured of plugins."""

from __future__ import annotations

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from spanwise import names
from spanwise.meters.plugins import PluginMeters, labels_of


@pytest.mark.parametrize(("grown", "told"), [(4096, 4096), (0, 0), (-4096, 0)])
def test_a_process_that_shrank_while_a_plugin_was_loaded_has_not_grown(grown: int, told: int) -> None:
    reader = InMemoryMetricReader()
    meters = PluginMeters(MeterProvider([reader], shutdown_on_exit=False).get_meter("m"))
    meters.grown(grown, labels_of("project", "plugin"))
    data = reader.get_metrics_data()
    assert data is not None
    (metric,) = data.resource_metrics[0].scope_metrics[0].metrics
    assert metric.name == names.PLUGIN_MEMORY.name
    assert [point.value for point in metric.data.data_points] == [told]  # type: ignore[union-attr]
