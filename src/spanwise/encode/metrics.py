"""Metrics as an OTLP ExportMetricsServiceRequest.

Decoded, the result equals what the stock encoder makes: sums, gauges, explicit and exponential
histograms, exemplars, either temporality. Intended differences are where stock gives up the whole
request: a lone surrogate in a name is replaced, a number of 65 bits sent as a double, a boolean as 0 or
1, and a data point of a wrong shape left out and reported. And where the SDK hands over the same
resource or scope twice, both are sent (stock sends the last).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final

from opentelemetry.sdk.metrics.export import ExponentialHistogram, Gauge, Histogram, Sum

from spanwise.encode.attributes import encode_attributes
from spanwise.encode.request import OnUnencodable, UnencodableError, frame, warn_unencodable
from spanwise.encode.varint import varint, zigzag
from spanwise.encode.wire import (
    MAX_UINT32,
    MAX_UINT64,
    double,
    fixed64,
    nested,
    packed_doubles,
    packed_fixed64,
    repeated,
    sfixed64,
    text,
    unsigned,
)

if TYPE_CHECKING:
    from opentelemetry.sdk.metrics import Exemplar
    from opentelemetry.sdk.metrics.export import (
        ExponentialHistogramDataPoint,
        HistogramDataPoint,
        Metric,
        MetricsData,
        NumberDataPoint,
    )

__all__ = ["encode_metric", "encode_metrics"]

_INT64: Final = 1 << 63


def encode_metrics(data: MetricsData, on_unencodable: OnUnencodable = warn_unencodable) -> bytes:
    """A collection of metrics as an ExportMetricsServiceRequest. Never raises.

    Args:
        data: what the SDK's metric reader collected.
        on_unencodable: told of each data point and metric left out, with the error.
    """
    requests = []
    for resource_metrics in data.resource_metrics:
        scopes = []
        for scope_metrics in resource_metrics.scope_metrics:
            metrics = []
            for metric in scope_metrics.metrics:
                try:
                    metrics.append(encode_metric(metric, on_unencodable))
                except Exception as error:
                    on_unencodable(metric, error)
            scopes.append((scope_metrics.scope, metrics))
        requests.append(frame(resource_metrics.resource, scopes))
    return b"".join(requests)


def encode_metric(metric: Metric, on_unencodable: OnUnencodable = warn_unencodable) -> bytes:
    """One metric as the body of an OTLP Metric message.

    Args:
        metric: the metric with its data points; without any, only its description is written.
        on_unencodable: told of each data point left out, with the error.

    Raises:
        UnencodableError: its data is of no kind that OTLP has.
    """
    data = metric.data
    if isinstance(data, Gauge):
        points = _points(_gauge_point, data.data_points, on_unencodable)
        content = nested(b"\x2a", points) if points else b""
    elif isinstance(data, Sum):
        points = _points(_sum_point, data.data_points, on_unencodable)
        monotonic = b"\x18\x01" if data.is_monotonic else b""
        content = nested(b"\x3a", points + _temporality(data) + monotonic) if points else b""
    elif isinstance(data, Histogram):
        points = _points(_histogram_point, data.data_points, on_unencodable)
        content = nested(b"\x4a", points + _temporality(data)) if points else b""
    elif isinstance(data, ExponentialHistogram):
        points = _points(_exponential_point, data.data_points, on_unencodable)
        content = nested(b"\x52", points + _temporality(data)) if points else b""
    else:
        raise UnencodableError(
            f"Metric {metric.name!r} holds {type(data).__name__}, which OTLP has no message for",
            fix="Use a sum, a gauge, a histogram or an exponential histogram",
        )
    description = text(b"\x12", metric.description) + text(b"\x1a", metric.unit)
    return text(b"\x0a", metric.name) + description + content


def _points(encode: Callable[[Any], bytes], points: Iterable[Any], on_unencodable: OnUnencodable) -> bytes:
    encoded = []
    for point in points:
        try:
            encoded.append(encode(point))
        except Exception as error:
            on_unencodable(point, error)
    return repeated(b"\x0a", encoded)


def _temporality(data: Sum | Histogram | ExponentialHistogram) -> bytes:
    # The SDK's enum has OTLP's values: delta 1, cumulative 2.
    return b"\x10" + varint(int(data.aggregation_temporality))


def _number(as_double: bytes, value: int | float) -> bytes:
    """A number as an integer, in field 6 of data points and exemplars, or as a double."""
    if not isinstance(value, int):
        return as_double + double(value)
    if -_INT64 <= value < _INT64:
        return b"\x31" + sfixed64(value)
    try:
        return as_double + double(float(value))
    except OverflowError:
        # Beyond what a double holds: as far as it goes.
        return as_double + double(math.inf if value > 0 else -math.inf)


def _optional(prefix: bytes, value: float | None) -> bytes:
    """A double that is told apart from an absent one."""
    return prefix + double(value) if value is not None else b""


def _time(prefix: bytes, value: int | None) -> bytes:
    return prefix + fixed64(unsigned(value, MAX_UINT64)) if value else b""


def _exemplars(prefix: bytes, exemplars: Iterable[Exemplar]) -> bytes:
    return repeated(prefix, [_exemplar(exemplar) for exemplar in exemplars or ()])


def _exemplar(exemplar: Exemplar) -> bytes:
    identifiers = b""
    if exemplar.span_id is not None and exemplar.trace_id is not None:
        span_id = exemplar.span_id.to_bytes(8, "big")
        identifiers = b"\x22\x08" + span_id + b"\x2a\x10" + exemplar.trace_id.to_bytes(16, "big")
    return b"".join(
        (
            _time(b"\x11", exemplar.time_unix_nano),
            _number(b"\x19", exemplar.value),
            identifiers,
            encode_attributes(b"\x3a", exemplar.filtered_attributes),
        )
    )


def _gauge_point(point: NumberDataPoint) -> bytes:
    # Like stock, a gauge's point has no start: it is true at its time only.
    return b"".join(
        (
            _time(b"\x19", point.time_unix_nano),
            _number(b"\x21", point.value),
            encode_attributes(b"\x3a", point.attributes),
            _exemplars(b"\x2a", point.exemplars),
        )
    )


def _sum_point(point: NumberDataPoint) -> bytes:
    return _time(b"\x11", point.start_time_unix_nano) + _gauge_point(point)


def _histogram_point(point: HistogramDataPoint) -> bytes:
    return b"".join(
        (
            _time(b"\x11", point.start_time_unix_nano),
            _time(b"\x19", point.time_unix_nano),
            b"\x21" + fixed64(point.count),
            _optional(b"\x29", point.sum),
            packed_fixed64(b"\x32", point.bucket_counts),
            packed_doubles(b"\x3a", point.explicit_bounds),
            _exemplars(b"\x42", point.exemplars),
            encode_attributes(b"\x4a", point.attributes),
            _optional(b"\x59", point.min),
            _optional(b"\x61", point.max),
        )
    )


def _exponential_point(point: ExponentialHistogramDataPoint) -> bytes:
    return b"".join(
        (
            encode_attributes(b"\x0a", point.attributes),
            _time(b"\x11", point.start_time_unix_nano),
            _time(b"\x19", point.time_unix_nano),
            b"\x21" + fixed64(point.count),
            _optional(b"\x29", point.sum),
            b"\x30" + zigzag(point.scale),
            b"\x39" + fixed64(point.zero_count),
            _buckets(b"\x42", point.positive),
            _buckets(b"\x4a", point.negative),
            b"\x50" + varint(unsigned(point.flags, MAX_UINT32)),
            _exemplars(b"\x5a", point.exemplars),
            _optional(b"\x61", point.min),
            _optional(b"\x69", point.max),
        )
    )


def _buckets(prefix: bytes, buckets: Any) -> bytes:
    """Half of an exponential histogram; nothing when it counted nothing, as stock does."""
    if not buckets.bucket_counts:
        return b""
    counts = b"".join([varint(count) for count in buckets.bucket_counts])
    return nested(prefix, b"\x08" + zigzag(buckets.offset) + nested(b"\x12", counts))
