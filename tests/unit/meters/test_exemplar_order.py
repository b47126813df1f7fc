"""The newest measurement of a bucket is its exemplar, whatever a view makes of the attributes."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.context import Context
from opentelemetry.sdk import metrics as sdk
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.metrics.view import (
    ExplicitBucketHistogramAggregation,
    ExponentialBucketHistogramAggregation,
    SumAggregation,
    View,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, set_span_in_context

from spanwise.fixed import Fixed
from spanwise.instruments import recorder
from spanwise.meters.provider import MeterProvider

COARSE = ExplicitBucketHistogramAggregation((2.0, 5.0))
VIEWS: dict[str, Any] = {
    "all dropped": [View(instrument_name="*", attribute_keys=set())],
    "some dropped": [View(instrument_name="*", attribute_keys={"a"})],
    "dropped and kept": [
        View(instrument_name="h", name="all"),
        View(instrument_name="h", name="none", attribute_keys=set(), aggregation=COARSE),
        View(instrument_name="h", name="b", attribute_keys=["b"]),
    ],
    "other edges": [View(instrument_name="h", aggregation=COARSE, attribute_keys=frozenset("b"))],
    "a counter by buckets": [View(instrument_name="c", aggregation=COARSE, attribute_keys=set())],
    "a histogram as a sum": [View(instrument_name="h", aggregation=SumAggregation(), attribute_keys=set())],
    "exponential": [
        View(instrument_name="h", aggregation=ExponentialBucketHistogramAggregation(), attribute_keys=set())
    ],
}
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["record", "bound", "add", "up_down", "set"]),
        st.sampled_from([0.5, 1, 3, 3.5, 9]),
        st.dictionaries(st.sampled_from("ab"), st.sampled_from([1, 2, "x"]), max_size=2),
        st.sampled_from([0, 1, 1]),  # flags: sampled or not
    )
    | st.just("collect"),
    max_size=40,
)


class Side:
    def __init__(self, kind: Any, views: Any) -> None:
        self.reader = InMemoryMetricReader()
        provider = kind([self.reader], Resource({}), shutdown_on_exit=False, views=views)
        meter = provider.get_meter("m")
        self.histogram = meter.create_histogram("h")
        self.methods = {
            "record": self.histogram.record,
            "add": meter.create_counter("c").add,
            "up_down": meter.create_up_down_counter("u").add,
            "set": meter.create_gauge("g").set,
        }
        self.fixed: dict[str, Fixed] = {}

    def measure(self, method: str, amount: float, attributes: Any, context: Context) -> None:
        if method == "bound":
            fixed = self.fixed.setdefault(repr(attributes), Fixed(attributes))
            recorder(self.histogram, fixed)(amount, context)
        else:
            self.methods[method](amount, attributes, context)

    def told(self) -> dict[Any, Any]:
        """By point: value or count, and exemplars; where they are chosen at random, whether there are any."""
        data = self.reader.get_metrics_data()
        found = {}
        for metric in data.resource_metrics[0].scope_metrics[0].metrics if data is not None else ():
            for point in metric.data.data_points:
                exemplars: Any = [
                    (each.span_id, each.value, repr(each.filtered_attributes)) for each in point.exemplars
                ]
                if not hasattr(point, "explicit_bounds"):
                    exemplars = bool(exemplars)
                value = getattr(point, "value", None) if hasattr(point, "value") else point.count
                found[metric.name, repr(sorted(point.attributes.items()))] = value, exemplars
        return found


@pytest.mark.parametrize("views", VIEWS)
@given(steps=STEPS)
def test_any_measurements_have_the_exemplars_that_the_sdk_gives_them(views: str, steps: list[Any]) -> None:
    stock, ours = (Side(kind, VIEWS[views]) for kind in (sdk.MeterProvider, MeterProvider))
    for number, step in enumerate([*steps, "collect"], 1):
        if step == "collect":
            assert ours.told() == stock.told()
            continue
        method, amount, attributes, flags = step
        span = NonRecordingSpan(SpanContext(7, number, False, TraceFlags(flags)))
        context = set_span_in_context(span, Context())
        stock.measure(method, amount, attributes, context)
        ours.measure(method, amount, attributes, context)


def test_much_that_is_folded_early_takes_no_newer_one_s_place() -> None:
    """A thousand amounts are folded at once, before the collection; exemplars wait for it."""
    side = Side(MeterProvider, VIEWS["dropped and kept"])
    for number in range(1, 5_001):
        span = NonRecordingSpan(SpanContext(7, number, False, TraceFlags(1)))
        side.measure("record", 1, {"b": number % 3}, set_span_in_context(span, Context()))
    ((_, (exemplar,)),) = [value for (name, _), value in side.told().items() if name == "none"]
    assert exemplar[0] == 5_000
