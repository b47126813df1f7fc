"""What a sample takes out of the reservoirs is delivered all the same."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from opentelemetry.sdk import metrics as sdk
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider

from spanwise.deliver.account import Account
from spanwise.deliver.channel import Channel
from spanwise.deliver.signals import MetricDelivery
from spanwise.deliver.source import Queue
from spanwise.meters.provider import MeterProvider


class Delivery:
    """A reader, what it has delivered, and a span to measure within."""

    def __init__(self, kind: type[sdk.MeterProvider]) -> None:
        channel: Any = Channel(
            Queue(Account("metrics"), lambda *_: b"", capacity=9, batch=1),
            None,  # type: ignore[arg-type]
            address="",
            delay=60,
        )
        self._items = channel._source._items
        self.reader = MetricDelivery(channel, lambda _: True, lambda: True)
        self.stock = InMemoryMetricReader()
        self.provider = kind(metric_readers=[self.reader, self.stock], shutdown_on_exit=False)
        self._tracer = TracerProvider().get_tracer("t")

    def measured(self, record: Callable[..., None], *amounts: float, **attributes: Any) -> None:
        for amount in amounts:
            with self._tracer.start_as_current_span("request"):
                record(amount, attributes)

    def delivered(self) -> dict[str, Any]:
        """Of the next collection, by scope, name and attributes: the exemplars' values."""
        self._items.clear()
        self.reader.collect()
        (data,) = self._items
        return values(data)


def values(data: Any) -> dict[str, Any]:
    return {
        f"{scope.scope.name} {metric.name} {dict(point.attributes)}": sorted(
            each.value for each in point.exemplars
        )
        for resource in data.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
        for point in metric.data.data_points
    }


@pytest.fixture(params=[MeterProvider, sdk.MeterProvider])
def delivery(request: pytest.FixtureRequest) -> Delivery:
    return Delivery(request.param)


def test_samples_take_nothing_from_the_delivery(delivery: Delivery) -> None:
    histogram = delivery.provider.get_meter("m").create_histogram(
        "h", explicit_bucket_boundaries_advisory=[10.0, 100.0]
    )
    delivery.measured(histogram.record, 5, route="/a")
    delivery.measured(histogram.record, 50, route="/b")
    assert values(delivery.reader.sample()) == {"m h {'route': '/a'}": [5], "m h {'route': '/b'}": [50]}
    delivery.measured(histogram.record, 7, 500, route="/a")
    delivery.reader.sample()
    delivery.measured(histogram.record, 10, route="/a")
    expected = {"m h {'route': '/a'}": [10, 500], "m h {'route': '/b'}": [50]}
    assert values(delivery.stock.get_metrics_data()) == expected, "a reader that nobody samples"
    assert delivery.delivered() == expected
    assert delivery.delivered() == {"m h {'route': '/a'}": [], "m h {'route': '/b'}": []}, "sent once"


def test_a_counter_keeps_as_many_as_its_reservoir(delivery: Delivery) -> None:
    counter = delivery.provider.get_meter("m").create_counter("c")
    for amount in (1, 2, 3):
        delivery.measured(counter.add, amount)
        delivery.reader.sample()
    assert delivery.delivered() == {"m c {}": [3]}
    delivery.measured(counter.add, 4)
    delivery.reader.sample()
    delivery.measured(counter.add, 5)
    assert delivery.delivered() == {"m c {}": [5]}


def test_points_that_look_alike_are_told_apart(delivery: Delivery) -> None:
    """By scope, by name, and by attributes whose values Python takes for equal."""
    for ten, scope in enumerate("mn"):
        counter = delivery.provider.get_meter(scope).create_counter("c")
        delivery.measured(counter.add, 1 + 10 * ten, k=1)
        delivery.measured(counter.add, 2 + 10 * ten, k=True)
        delivery.measured(counter.add, 3 + 10 * ten, k=["a"])
    delivery.reader.sample()
    found = delivery.delivered()
    told = [found[f"{scope} c {{'k': {value}}}"] for scope in "mn" for value in ("1", "True", "('a',)")]
    assert told == [[1], [2], [3], [11], [12], [13]]
