"""The SDK's private shape that the meters rely on: red when another version looks different."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import threading
from importlib.metadata import version
from typing import Any

import pytest
from opentelemetry.metrics import Observation
from opentelemetry.sdk import metrics as sdk
from opentelemetry.sdk.metrics._internal.measurement_consumer import SynchronousMeasurementConsumer
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.metrics.view import ExponentialBucketHistogramAggregation, View
from opentelemetry.sdk.resources import Resource

from spanwise.meters import sdk_reservoirs, sdk_shape
from spanwise.meters.provider import MeterProvider


def test_installed_sdk_is_of_the_series_this_was_written_for() -> None:
    installed = ".".join(version("opentelemetry-sdk").split(".")[:2])
    assert installed == sdk_shape.TESTED_SDK, (
        f"opentelemetry-sdk {installed} is new to spanwise.meters: run scripts/sdk-tests on it, "
        "compare the SDK's metrics, then raise TESTED_SDK"
    )
    assert sdk_shape.SHAPE_HOLDS


@pytest.fixture
def made() -> tuple[sdk.MeterProvider, Any, InMemoryMetricReader]:
    """The SDK's own provider with views of two kinds, its consumer, its reader."""
    reader = InMemoryMetricReader()
    views = [
        View(instrument_name="narrow", attribute_keys={"a"}),
        View(instrument_name="exponential", aggregation=ExponentialBucketHistogramAggregation()),
    ]
    provider = sdk.MeterProvider([reader], Resource({}), shutdown_on_exit=False, views=views)
    return provider, provider._measurement_consumer, reader


def points(reader: InMemoryMetricReader) -> list[Any]:
    data: Any = reader.get_metrics_data()
    return [
        point
        for metric in data.resource_metrics[0].scope_metrics[0].metrics
        for point in metric.data.data_points
    ]


def test_every_lock_of_a_collection_is_renewed(made: Any) -> None:
    provider, consumer, reader = made
    counter = provider.get_meter("m").create_counter("plain")
    counter.add(1)
    held = [consumer._lock]
    for storage in consumer._reader_storages.values():
        held.append(storage._lock)
        for (match,) in storage._instrument_view_instrument_matches.values():
            held += [match._lock, *(each._lock for each in match._attributes_aggregation.values())]
    assert len(held) == 4
    with contextlib.ExitStack() as holding:
        for lock in held:
            holding.enter_context(lock)
        sdk_shape.renew_locks(provider)
        done = []
        other = threading.Thread(target=lambda: done.append((counter.add(1), points(reader))), daemon=True)
        other.start()
        other.join(60)
        assert done[0][1][0].value == 2


@pytest.mark.parametrize("name", ["plain", "exponential"])
def test_all_at_once_is_what_one_by_one_is(name: str, made: Any) -> None:
    provider, _, reader = made
    meter = provider.get_meter("m")
    histogram = meter.create_histogram(name)
    for amount in (0, 3, 7, 80):
        histogram.record(amount, {"k": "v"})
    (one_by_one,) = points(reader)
    other = sdk.MeterProvider(
        [again := InMemoryMetricReader()],
        Resource({}),
        shutdown_on_exit=False,
        views=provider._sdk_config.views,
    )
    instrument = other.get_meter("m").create_histogram(name)
    (aggregation,) = sdk_shape.aggregations(other._measurement_consumer, instrument, {"k": "v"}, 1)
    sdk_shape.add_all(aggregation, instrument, (0, 3, 7, 80), 90)
    (at_once,) = points(again)
    for point in (one_by_one, at_once):
        object.__setattr__(point, "start_time_unix_nano", 0)
        object.__setattr__(point, "time_unix_nano", 0)
    assert at_once == one_by_one


def test_what_views_keep(made: Any) -> None:
    provider, consumer, _ = made
    meter = provider.get_meter("m")
    assert sdk_shape.kept_keys(consumer, meter.create_counter("narrow")) == {"a"}
    assert sdk_shape.kept_keys(consumer, meter.create_counter("wide")) is None
    alone = sdk.MeterProvider((), Resource({}), shutdown_on_exit=False)
    assert sdk_shape.kept_keys(alone._measurement_consumer, alone.get_meter("m").create_counter("c")) is None


def test_a_consumer_of_another_class_registers_its_own_way(monkeypatch: pytest.MonkeyPatch) -> None:
    registered = []

    class Other(SynchronousMeasurementConsumer):
        def register_asynchronous_instrument(self, instrument: Any) -> None:
            registered.append(instrument)
            super().register_asynchronous_instrument(instrument)

    monkeypatch.setattr("opentelemetry.sdk.metrics._internal.SynchronousMeasurementConsumer", Other)
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader], Resource({}), shutdown_on_exit=False)
    gauge = provider.get_meter("m").create_observable_gauge("g", [lambda _: [Observation(1)]])
    assert gauge in registered
    assert 1 in [point.value for point in points(reader)]


def test_a_shape_that_does_not_hold_leaves_instruments_alone() -> None:
    """As with a version that has other names inside: everything works, at the SDK's cost."""
    code = """
from opentelemetry.sdk import metrics
import opentelemetry.sdk.metrics._internal.aggregation as inside
inside._SumAggregation = type("Other", (inside._SumAggregation,), {})  # what is made is of another class
import opentelemetry.sdk.metrics._internal.measurement as measurement
del measurement.Measurement
from spanwise.meters import sdk_reservoirs, sdk_shape
assert not sdk_shape.SHAPE_HOLDS
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from spanwise.meters.provider import MeterProvider
counter = MeterProvider([InMemoryMetricReader()], shutdown_on_exit=False).get_meter("m").create_counter("c")
assert "add" not in vars(counter)
counter.add(1)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("variable", "taken"), [("trace_based", True), ("always_off", False), ("always_on", None)]
)
def test_exemplar_filters(variable: str, taken: bool | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_METRICS_EXEMPLAR_FILTER", variable)
    assert (
        sdk_reservoirs.takes_exemplars(sdk.MeterProvider((), Resource({}), shutdown_on_exit=False)) is taken
    )


@pytest.mark.parametrize(
    ("name", "left"), [("plain", [{"a": 1, "b": 1}, {"a": 2, "b": 2}]), ("narrow", [{"a": 1}, {"a": 2}])]
)
def test_sets_that_are_gone_are_dropped_and_others_are_not(made: Any, name: str, left: list[Any]) -> None:
    provider, consumer, reader = made
    gauge = provider.get_meter("m").create_observable_gauge(
        name, [lambda _: [Observation(n, {"a": n, "b": n}) for n in range(5)]]
    )
    points(reader)
    sdk_shape.forget_others(consumer, gauge, {sdk_shape.identity({"a": n, "b": n}) for n in (1, 2)})
    (storage,) = consumer._reader_storages.values()
    (match,) = storage._instrument_view_instrument_matches[gauge]
    assert set(match._attributes_aggregation) == {sdk_shape.identity(each) for each in left}
    assert len(points(reader)) == 5, "what is told again is there again"
