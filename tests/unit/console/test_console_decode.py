from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValue, KeyValueList
from opentelemetry.proto.metrics.v1.metrics_pb2 import DataPointFlags

from spanwise.console.decode import decode_logs, decode_metrics, decode_traces
from spanwise.console.rows import MAX_NANOSECONDS
from spanwise.console.values import attribute_map, plain, to_json

text = st.text(st.characters(exclude_categories=("Cs",)), max_size=20)
leaves = st.one_of(
    text.map(lambda v: AnyValue(string_value=v)),
    st.booleans().map(lambda v: AnyValue(bool_value=v)),
    st.integers(-(2**63), 2**63 - 1).map(lambda v: AnyValue(int_value=v)),
    st.floats().map(lambda v: AnyValue(double_value=v)),
    st.binary(max_size=20).map(lambda v: AnyValue(bytes_value=v)),
    st.just(AnyValue()),
)
values = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4).map(lambda v: AnyValue(array_value=ArrayValue(values=v))),
        st.lists(st.tuples(text, inner), max_size=4).map(
            lambda v: AnyValue(kvlist_value=KeyValueList(values=[KeyValue(key=k, value=x) for k, x in v]))
        ),
    ),
    max_leaves=12,
)


def numbers_in(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [n for item in value.values() for n in numbers_in(item)]
    if isinstance(value, list):
        return [n for item in value for n in numbers_in(item)]
    return [value] if isinstance(value, int | float) and not isinstance(value, bool) else []


@given(values)
def test_every_value_becomes_json_that_a_browser_reads_exactly(value: AnyValue) -> None:
    shown = plain(value)
    assert json.loads(to_json(shown)) == shown
    for number in numbers_in(shown):
        assert math.isfinite(number)
        assert isinstance(number, float) or abs(number) < 2**53


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (AnyValue(double_value=math.nan), "NaN"),
        (AnyValue(double_value=-math.inf), "-Infinity"),
        (AnyValue(int_value=2**53), "9007199254740992"),
        (AnyValue(int_value=2**53 - 1), 2**53 - 1),
        (AnyValue(bytes_value=b"\xff\x00"), "base64:/wA="),
    ],
)
def test_what_json_cannot_carry_has_a_text(value: AnyValue, shown: object) -> None:
    assert plain(value) == shown


def test_values_are_cut_below_32_levels() -> None:
    value = AnyValue(string_value="bottom")
    for _ in range(40):  # protobuf itself refuses more than 100 messages in each other
        value = AnyValue(array_value=ArrayValue(values=[value]))
    shown = plain(value)
    depth = 0
    while isinstance(shown, list):
        shown, depth = shown[0], depth + 1
    assert (shown, depth) == ("…", 32)


@given(st.binary(max_size=20), st.binary(max_size=12), st.binary(max_size=12))
def test_a_span_is_stored_or_counted_by_its_ids(trace_id: bytes, span_id: bytes, parent: bytes) -> None:
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    request = ExportTraceServiceRequest()
    span = request.resource_spans.add().scope_spans.add().spans.add()
    span.trace_id, span.span_id, span.parent_span_id = trace_id, span_id, parent
    batch = decode_traces(request)
    fits = (
        len(trace_id) == 16 and any(trace_id) and len(span_id) == 8 and any(span_id) and len(parent) in (0, 8)
    )
    assert (len(batch.spans), batch.rejected) == ((1, 0) if fits else (0, 1))


@given(st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1))
def test_times_never_leave_the_column_nor_run_backwards(start: int, end: int) -> None:
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    request = ExportTraceServiceRequest()
    span = request.resource_spans.add().scope_spans.add().spans.add()
    span.trace_id, span.span_id = b"t" * 16, b"s" * 8
    span.start_time_unix_nano, span.end_time_unix_nano = start, end
    (row,) = decode_traces(request).spans
    assert 0 <= row.start_ns <= row.end_ns <= MAX_NANOSECONDS
    if start <= end <= MAX_NANOSECONDS:
        assert (row.start_ns, row.end_ns) == (start, end)


def test_a_span_keeps_everything_it_carries(make: Any) -> None:
    span = make.span(name="GET /album", kind=2, parent_span_id=b"p" * 8, dropped_events_count=2)
    span.attributes.append(KeyValue(key="spanwise.rating", value=AnyValue(string_value="poor")))
    span.status.code, span.status.message = 2, "boom"
    event = span.events.add(name="exception", time_unix_nano=5)
    event.attributes.append(KeyValue(key="exception.type", value=AnyValue(string_value="ValueError")))
    span.links.add(trace_id=b"\1" * 16, span_id=b"\2" * 8)
    batch = decode_traces(make.request(span))
    (row,) = batch.spans
    assert (row.name, row.kind, row.status, row.status_message) == ("GET /album", "server", "error", "boom")
    assert (row.parent_id, row.rating, row.dropped) == ((b"p" * 8).hex(), "poor", 2)
    assert (row.service, row.instance) == ("store", "i-1")
    assert json.loads(row.events) == [
        {"name": "exception", "time_ns": "5", "attributes": {"exception.type": "ValueError"}}
    ]
    assert json.loads(row.links)[0]["trace_id"] == "01" * 16
    assert batch.resources[0].resource_id == row.resource_id


def test_equal_attribute_sets_give_equal_text_in_any_order() -> None:
    items = [KeyValue(key=k, value=AnyValue(int_value=1)) for k in ("b", "a", "c")]
    assert to_json(attribute_map(items)) == to_json(attribute_map(items[::-1]))


def test_each_kind_of_metric_gives_points() -> None:
    request = ExportMetricsServiceRequest()
    metrics = request.resource_metrics.add().scope_metrics.add().metrics
    counter = metrics.add(name="c", unit="{span}").sum
    counter.aggregation_temporality, counter.is_monotonic = 2, True
    counter.data_points.add(as_int=7, time_unix_nano=2)
    metrics.add(name="g").gauge.data_points.add(as_double=math.nan)
    metrics.add(name="n").gauge.data_points.add(
        as_int=3, flags=DataPointFlags.DATA_POINT_FLAGS_NO_RECORDED_VALUE_MASK
    )
    metrics.add(name="h").histogram.data_points.add(
        count=2**64 - 1, sum=1.5, explicit_bounds=[1.0, math.inf], bucket_counts=[1, 1, 0]
    )
    metrics.add(name="e").exponential_histogram.data_points.add(count=1, scale=3)
    metrics.add(name="s").summary.data_points.add(count=1).quantile_values.add(quantile=0.5, value=2)
    metrics.add(name="nothing")
    points = {point.name: point for point in decode_metrics(request).points}
    assert set(points) == {"c", "g", "n", "h", "e", "s"}
    assert (points["c"].value, points["c"].temporality, points["c"].monotonic) == (7.0, "cumulative", True)
    assert points["g"].value is not None
    assert math.isnan(points["g"].value)
    assert points["n"].value is None
    assert points["h"].observations == 2**63 - 1
    assert json.loads(points["h"].detail) == {"bounds": [1.0, "Infinity"], "counts": [1, 1, 0]}
    assert json.loads(points["s"].detail) == {"quantiles": [[0.5, 2.0]]}


def test_log_records_keep_their_trace_and_odd_ids_are_counted() -> None:
    request = ExportLogsServiceRequest()
    records = request.resource_logs.add().scope_logs.add().log_records
    records.add(
        trace_id=b"t" * 16, span_id=b"s" * 8, severity_text="WARN", observed_time_unix_nano=9
    ).body.string_value = "low disk"
    records.add().body.kvlist_value.values.add(key="k").value.int_value = 1
    records.add(trace_id=b"short")
    batch = decode_logs(request)
    assert batch.rejected == 1
    first, second = batch.logs
    assert (first.trace_id, first.span_id, first.body) == ((b"t" * 16).hex(), (b"s" * 8).hex(), "low disk")
    assert (first.severity, first.time_ns) == ("WARN", 9)
    assert second.body == '{"k":1}'
