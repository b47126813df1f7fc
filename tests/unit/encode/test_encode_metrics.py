"""Metrics: the official decoder sees what the stock encoder sends, and hostile points are survived."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.exporter.otlp.proto.common._internal.metrics_encoder import EncodingException
from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics as stock_encode_metrics
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.sdk.metrics import AlwaysOnExemplarFilter, Counter, Exemplar, MeterProvider
from opentelemetry.sdk.metrics import Histogram as HistogramInstrument
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    ExponentialHistogram,
    ExponentialHistogramDataPoint,
    Gauge,
    Histogram,
    HistogramDataPoint,
    InMemoryMetricReader,
    Metric,
    MetricsData,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
    Sum,
)
from opentelemetry.sdk.metrics.view import ExponentialBucketHistogramAggregation, View
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from spanwise.encode.attributes import MAX_DEPTH, TOO_DEEP
from spanwise.encode.metrics import encode_metrics

RESOURCES = [Resource({"service.name": "a"}), Resource({"n": 1}, "https://e.org/s"), Resource({})]
SCOPES = [InstrumentationScope("lib"), InstrumentationScope("other", "1", "https://e.org/s", {"k": True})]
U64 = st.integers(0, (1 << 64) - 1)
I64 = st.integers(-(1 << 63), (1 << 63) - 1)
NUMBERS = I64 | st.floats() | st.sampled_from([0, 0.0, -0.0, math.nan])
SMALL = st.integers(-(1 << 50), 1 << 50) | st.floats()
OPTIONAL = st.none() | SMALL
TIMES = st.none() | U64
ATTRIBUTES = st.none() | st.dictionaries(
    st.sampled_from(["a", "b"]) | st.text(min_size=1, max_size=9),
    st.sampled_from(["x", 1, True, 1.0, 200])
    | st.text(max_size=20)
    | I64
    | st.floats()
    | st.lists(I64, max_size=3),
    max_size=4,
)
EXEMPLARS = st.lists(
    st.builds(
        Exemplar,
        filtered_attributes=ATTRIBUTES,
        value=NUMBERS,
        time_unix_nano=U64,
        span_id=st.none() | U64,
        trace_id=st.none() | st.integers(0, (1 << 128) - 1),
    ),
    max_size=2,
)
NUMBER_POINTS = st.lists(
    st.builds(
        NumberDataPoint,
        attributes=ATTRIBUTES,
        start_time_unix_nano=TIMES,
        time_unix_nano=TIMES,
        value=NUMBERS,
        exemplars=EXEMPLARS,
    ),
    max_size=3,
)
HISTOGRAM_POINTS = st.lists(
    st.builds(
        HistogramDataPoint,
        attributes=ATTRIBUTES,
        start_time_unix_nano=TIMES,
        time_unix_nano=TIMES,
        count=U64,
        sum=OPTIONAL,
        bucket_counts=st.lists(U64, max_size=5),
        explicit_bounds=st.lists(st.floats(), max_size=5),
        min=OPTIONAL,
        max=OPTIONAL,
        exemplars=EXEMPLARS,
    ),
    max_size=3,
)


class Half:
    """One side of an exponential histogram, as the SDK shapes it."""

    def __init__(self, offset: int, bucket_counts: list[int]) -> None:
        self.offset = offset
        self.bucket_counts = bucket_counts


I32 = st.integers(-(1 << 31), (1 << 31) - 1)
HALVES = st.builds(Half, I32, st.lists(U64, max_size=5))
EXPONENTIAL_POINTS = st.lists(
    st.builds(
        ExponentialHistogramDataPoint,
        attributes=ATTRIBUTES,
        start_time_unix_nano=TIMES,
        time_unix_nano=TIMES,
        count=U64,
        sum=OPTIONAL,
        scale=I32,
        zero_count=U64,
        positive=HALVES,
        negative=HALVES,
        flags=st.integers(0, (1 << 32) - 1),
        min=OPTIONAL,
        max=OPTIONAL,
        exemplars=EXEMPLARS,
    ),
    max_size=3,
)
TEMPORALITIES = st.sampled_from(list(AggregationTemporality))
DATA = (
    st.builds(Gauge, NUMBER_POINTS)
    | st.builds(Sum, NUMBER_POINTS, TEMPORALITIES, st.booleans())
    | st.builds(Histogram, HISTOGRAM_POINTS, TEMPORALITIES)
    | st.builds(ExponentialHistogram, EXPONENTIAL_POINTS, TEMPORALITIES)
)
TEXTS = st.none() | st.text(max_size=20)
METRICS = st.lists(
    st.builds(Metric, name=st.text(max_size=20), description=TEXTS, unit=TEXTS, data=DATA), max_size=3
)


@st.composite
def collections(draw: st.DrawFn) -> MetricsData:
    # Each resource and scope once: that is how the SDK collects, and stock keeps only the last of two.
    def of(resource: Resource) -> ResourceMetrics:
        scopes = draw(st.lists(st.sampled_from(SCOPES), unique_by=id, max_size=2))
        return ResourceMetrics(
            resource, [ScopeMetrics(scope, draw(METRICS), "unused") for scope in scopes], "unused"
        )

    return MetricsData(
        [of(each) for each in draw(st.lists(st.sampled_from(RESOURCES), unique_by=id, max_size=2))]
    )


def canonical(request: bytes) -> bytes:
    return ExportMetricsServiceRequest.FromString(request).SerializeToString(deterministic=True)


def stock(data: MetricsData) -> bytes:
    message: ExportMetricsServiceRequest = stock_encode_metrics(data)
    return message.SerializeToString(deterministic=True)


def number_point(value: Any = 1, attributes: Any = None, exemplars: Any = ()) -> NumberDataPoint:
    return NumberDataPoint(attributes, 1, 2, value, exemplars)


def one(*points: Any, name: Any = "m", data: Any = None) -> MetricsData:
    metric = Metric(name, None, None, data if data is not None else Gauge(list(points)))
    return MetricsData([ResourceMetrics(RESOURCES[0], [ScopeMetrics(SCOPES[0], [metric], "")], "")])


def metrics_of(request: bytes) -> Any:
    return ExportMetricsServiceRequest.FromString(request).resource_metrics[0].scope_metrics[0].metrics


@given(collections())
def test_decodes_to_what_stock_sends(data: MetricsData) -> None:
    expected = stock(data)
    for _ in range(2):
        assert canonical(encode_metrics(data)) == expected


@pytest.mark.parametrize("temporality", list(AggregationTemporality)[1:])
@pytest.mark.parametrize("exponential", [True, False])
def test_what_the_sdk_collects_decodes_to_what_stock_sends(temporality: Any, exponential: bool) -> None:
    reader = InMemoryMetricReader({Counter: temporality, HistogramInstrument: temporality})
    views = (
        [View(instrument_name="h", aggregation=ExponentialBucketHistogramAggregation())]
        if exponential
        else []
    )
    provider = MeterProvider([reader], RESOURCES[1], AlwaysOnExemplarFilter(), views=views)
    meter = provider.get_meter("lib", "1")
    meter.create_observable_gauge("g", [lambda _: []])
    counter, updown = meter.create_counter("c", "1", "counts"), meter.create_up_down_counter("u")
    histogram, gauge = meter.create_histogram("h", "s"), meter.create_gauge("now")
    for _ in range(2):
        with TracerProvider(resource=RESOURCES[0]).get_tracer("t").start_as_current_span("s"):
            for number in range(20):
                counter.add(number, {"k": number % 2, "s": "x"})
                updown.add(-number)
                histogram.record(number * 1.5 - 3 * exponential, {"ok": True})
                gauge.set(number / 3)
        data = reader.get_metrics_data()
        assert data is not None
        assert canonical(encode_metrics(data)) == stock(data)
        kinds = {metric.WhichOneof("data") for metric in metrics_of(encode_metrics(data))}
        assert kinds == {"sum", "gauge", "exponential_histogram" if exponential else "histogram"}


def test_nothing_collected_is_an_empty_request() -> None:
    assert encode_metrics(MetricsData([])) == b""


def test_the_same_resource_and_scope_twice_are_both_sent() -> None:
    (first,), (second,) = (one(number_point(n), name=f"m{n}").resource_metrics for n in (1, 2))
    request = ExportMetricsServiceRequest.FromString(encode_metrics(MetricsData([first, second])))
    assert [each.scope_metrics[0].metrics[0].name for each in request.resource_metrics] == ["m1", "m2"]


# -- where stock loses the whole collection ----------------------------------------------------


def test_a_lone_surrogate_in_a_name_is_replaced() -> None:
    data = one(number_point(), name="a\ud800b")
    with pytest.raises(UnicodeEncodeError):
        stock_encode_metrics(data)
    assert metrics_of(encode_metrics(data))[0].name == "a\ufffdb"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1 << 63, float(1 << 63)),
        (-(1 << 63) - 1, -float(1 << 63)),
        (10**400, math.inf),
        (-(10**400), -math.inf),
    ],
    ids=["above", "below", "far above", "far below"],
)
def test_a_number_beyond_64_bits_is_sent_as_a_double(value: int, expected: float) -> None:
    data = one(number_point(value))
    with pytest.raises(EncodingException):
        stock_encode_metrics(data)
    assert metrics_of(encode_metrics(data))[0].gauge.data_points[0].as_double == expected


def test_a_boolean_is_sent_as_a_number() -> None:
    (metric,) = metrics_of(encode_metrics(one(number_point(True), number_point(False))))
    assert [point.as_int for point in metric.gauge.data_points] == [1, 0]


@pytest.mark.parametrize(
    "bad",
    [
        number_point("no number"),
        number_point(None),
        number_point(1, exemplars=[Exemplar({}, "no number", 1)]),  # type: ignore[arg-type]
        object(),
    ],
)
def test_a_point_that_is_none_is_left_out_and_reported(bad: Any) -> None:
    reported: list[Any] = []
    request = encode_metrics(
        one(number_point(1), bad, number_point(2)), lambda each, _: reported.append(each)
    )
    assert [point.as_int for point in metrics_of(request)[0].gauge.data_points] == [1, 2]
    assert reported == [bad]


def test_a_metric_of_no_known_kind_is_left_out_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    data = one(data=object())
    data.resource_metrics[0].scope_metrics[0].metrics.append(  # type: ignore[attr-defined]
        Metric("good", None, None, Gauge([number_point()]))
    )
    assert [metric.name for metric in metrics_of(encode_metrics(data))] == ["good"]
    assert "holds object, which OTLP has no message for" in caplog.text


def test_an_attribute_that_cannot_be_encoded_harms_only_itself() -> None:
    attributes = {"a": "\ud800", "b": 1 << 64, "c": "kept"}
    exemplar = Exemplar(attributes, 1, 1, 2, 3)
    (point,) = metrics_of(encode_metrics(one(number_point(1, attributes, [exemplar]))))[0].gauge.data_points
    for pairs in (point.attributes, point.exemplars[0].filtered_attributes):
        assert [pair.value.string_value for pair in pairs] == ["\ufffd", str(1 << 64), "kept"]


def test_the_deepest_value_still_parses_where_attributes_are_deepest() -> None:
    value: Any = "leaf"
    for _ in range(MAX_DEPTH + 1):
        value = {"k": value}
    data = one(number_point(1, None, [Exemplar({"deep": value}, 1, 1)]))
    # The official parser refuses a message nested more than 100 deep.
    (metric,) = metrics_of(encode_metrics(data))
    found = metric.gauge.data_points[0].exemplars[0].filtered_attributes[0].value
    for _ in range(MAX_DEPTH):
        found = found.kvlist_value.values[0].value
    assert found.string_value == TOO_DEEP
