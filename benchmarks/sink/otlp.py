"""OTLP/HTTP protobuf, by the official classes."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.sink.model import Point, Span
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.metrics.v1.metrics_pb2 import AGGREGATION_TEMPORALITY_CUMULATIVE

__all__ = ["decode"]


def decode(path: str, body: bytes) -> Iterator[Span | Point]:
    """The spans or data points of one export request; none for logs."""
    if path.endswith("/v1/traces"):
        yield from _spans(ExportTraceServiceRequest.FromString(body))
    elif path.endswith("/v1/metrics"):
        yield from _points(ExportMetricsServiceRequest.FromString(body))


def _spans(request: ExportTraceServiceRequest) -> Iterator[Span]:
    for resource in request.resource_spans:
        for scope in resource.scope_spans:
            for span in scope.spans:
                yield Span(span.name, len(span.attributes))


def _points(request: ExportMetricsServiceRequest) -> Iterator[Point]:
    for resource in request.resource_metrics:
        for scope in resource.scope_metrics:
            for metric in scope.metrics:
                kind = metric.WhichOneof("data")
                if kind is None or kind == "gauge":
                    continue
                data = getattr(metric, kind)
                # A summary has no temporality; it is cumulative by definition.
                temporality = getattr(data, "aggregation_temporality", AGGREGATION_TEMPORALITY_CUMULATIVE)
                for point in data.data_points:
                    count = point.count if kind != "sum" else getattr(point, point.WhichOneof("value"))
                    series = ",".join(sorted(f"{each.key}={each.value}" for each in point.attributes))
                    cumulative = temporality == AGGREGATION_TEMPORALITY_CUMULATIVE
                    yield Point(metric.name, series, cumulative, count, point.time_unix_nano)
