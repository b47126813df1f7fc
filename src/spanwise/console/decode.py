"""OTLP messages to plain rows.

The messages are those of opentelemetry-proto (https://opentelemetry.io/docs/specs/otlp/). A span or log
record whose ids have the wrong length is not stored; it is counted, and partial_success tells the sender.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from hashlib import blake2b
from typing import Any, Final

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import InstrumentationScope
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from opentelemetry.proto.metrics.v1.metrics_pb2 import AggregationTemporality, DataPointFlags, Metric
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from spanwise import names
from spanwise.console.rows import MAX_NANOSECONDS, Batch, LogRow, PointRow, ResourceRow, SpanRow
from spanwise.console.values import attribute_map, number, plain, to_json

__all__ = ["decode_logs", "decode_metrics", "decode_traces"]

_TRACE_ID_BYTES: Final = 16
_SPAN_ID_BYTES: Final = 8
_MAX_COUNT: Final = 2**63 - 1

_KINDS: Final = {
    Span.SPAN_KIND_INTERNAL: "internal",
    Span.SPAN_KIND_SERVER: "server",
    Span.SPAN_KIND_CLIENT: "client",
    Span.SPAN_KIND_PRODUCER: "producer",
    Span.SPAN_KIND_CONSUMER: "consumer",
}
_STATUSES: Final = {Status.STATUS_CODE_OK: "ok", Status.STATUS_CODE_ERROR: "error"}
_TEMPORALITIES: Final = {
    AggregationTemporality.AGGREGATION_TEMPORALITY_DELTA: "delta",
    AggregationTemporality.AGGREGATION_TEMPORALITY_CUMULATIVE: "cumulative",
}


def decode_traces(request: ExportTraceServiceRequest) -> Batch:
    """The spans of a trace export."""
    batch = Batch()
    for group in request.resource_spans:
        resource = _resource(group.resource)
        batch.resources.append(resource)
        for scoped in group.scope_spans:
            scope = _scope(scoped.scope)
            for span in scoped.spans:
                if _span_ids_fit(span):
                    batch.spans.append(_span(span, resource, scope))
                else:
                    batch.rejected += 1
    return batch


def decode_metrics(request: ExportMetricsServiceRequest) -> Batch:
    """The data points of a metric export."""
    batch = Batch()
    for group in request.resource_metrics:
        resource = _resource(group.resource)
        batch.resources.append(resource)
        for scoped in group.scope_metrics:
            scope = _scope(scoped.scope)
            for metric in scoped.metrics:
                batch.points.extend(_points(metric, resource, scope))
    return batch


def decode_logs(request: ExportLogsServiceRequest) -> Batch:
    """The records of a log export."""
    batch = Batch()
    for group in request.resource_logs:
        resource = _resource(group.resource)
        batch.resources.append(resource)
        for scoped in group.scope_logs:
            scope = _scope(scoped.scope)
            for record in scoped.log_records:
                if len(record.trace_id) in (0, _TRACE_ID_BYTES) and len(record.span_id) in (
                    0,
                    _SPAN_ID_BYTES,
                ):
                    batch.logs.append(_log(record, resource, scope))
                else:
                    batch.rejected += 1
    return batch


def _resource(resource: Resource) -> ResourceRow:
    attributes = attribute_map(resource.attributes)
    text = to_json(attributes)
    return ResourceRow(
        blake2b(text.encode(), digest_size=8).hexdigest(),
        _text(attributes.get(names.SERVICE_NAME)),
        _text(attributes.get(names.SERVICE_INSTANCE_ID)),
        text,
    )


def _text(value: Any) -> str:
    return value if isinstance(value, str) else "" if value is None else to_json(value)


def _scope(scope: InstrumentationScope) -> str:
    return f"{scope.name} {scope.version}".strip()


def _time(nanoseconds: int) -> int:
    return min(nanoseconds, MAX_NANOSECONDS)


def _span_ids_fit(span: Span) -> bool:
    # An id of zeros is invalid by W3C Trace Context, section 3.2.2.3 and 3.2.2.4.
    return (
        len(span.trace_id) == _TRACE_ID_BYTES
        and any(span.trace_id)
        and len(span.span_id) == _SPAN_ID_BYTES
        and any(span.span_id)
        and len(span.parent_span_id) in (0, _SPAN_ID_BYTES)
    )


def _span(span: Span, resource: ResourceRow, scope: str) -> SpanRow:
    start = _time(span.start_time_unix_nano)
    attributes = attribute_map(span.attributes)
    parent = span.parent_span_id
    return SpanRow(
        span.trace_id.hex(),
        span.span_id.hex(),
        parent.hex() if any(parent) else "",
        span.name,
        _KINDS.get(span.kind, "unspecified"),
        start,
        # A clock that was set back must not give a negative duration.
        max(start, _time(span.end_time_unix_nano)),
        _STATUSES.get(span.status.code, "unset"),
        span.status.message,
        _text(attributes.get(names.RATING)),
        resource.service,
        resource.instance,
        resource.resource_id,
        scope,
        to_json(attributes),
        to_json([_event(event) for event in span.events]),
        to_json([_link(link) for link in span.links]),
        span.dropped_attributes_count + span.dropped_events_count + span.dropped_links_count,
    )


def _event(event: Span.Event) -> dict[str, Any]:
    return {
        "name": event.name,
        "time_ns": str(_time(event.time_unix_nano)),
        "attributes": attribute_map(event.attributes),
    }


def _link(link: Span.Link) -> dict[str, Any]:
    return {
        "trace_id": link.trace_id.hex(),
        "span_id": link.span_id.hex(),
        "attributes": attribute_map(link.attributes),
    }


def _points(metric: Metric, resource: ResourceRow, scope: str) -> Iterable[PointRow]:
    kind = metric.WhichOneof("data")
    if kind is None:
        return
    data: Any = getattr(metric, kind)
    temporality = ""
    if kind not in ("gauge", "summary"):
        temporality = _TEMPORALITIES.get(data.aggregation_temporality, "")
    for point in data.data_points:
        has_count = kind in ("histogram", "exponential_histogram", "summary")
        yield PointRow(
            metric.name,
            metric.unit,
            kind,
            temporality,
            kind == "sum" and data.is_monotonic,
            _time(point.start_time_unix_nano),
            _time(point.time_unix_nano),
            None if has_count else _value(point),
            min(point.count, _MAX_COUNT) if has_count else None,
            float(point.sum) if has_count else None,
            resource.service,
            resource.instance,
            resource.resource_id,
            scope,
            to_json(attribute_map(point.attributes)),
            to_json(_detail(kind, point)),
        )


def _value(point: Any) -> float | None:
    which = point.WhichOneof("value")
    if which is None or point.flags & DataPointFlags.DATA_POINT_FLAGS_NO_RECORDED_VALUE_MASK:
        return None
    return float(point.as_int if which == "as_int" else point.as_double)


def _detail(kind: str, point: Any) -> dict[str, Any]:
    if kind == "histogram":
        return {"bounds": _numbers(point.explicit_bounds), "counts": _numbers(point.bucket_counts)}
    if kind == "exponential_histogram":
        return {
            "scale": point.scale,
            "zero_count": number(point.zero_count),
            "positive": [point.positive.offset, _numbers(point.positive.bucket_counts)],
            "negative": [point.negative.offset, _numbers(point.negative.bucket_counts)],
        }
    if kind == "summary":
        return {"quantiles": [[number(q.quantile), number(q.value)] for q in point.quantile_values]}
    return {}


def _numbers(values: Sequence[float]) -> list[float | int | str]:
    return [number(value) for value in values]


def _log(record: LogRecord, resource: ResourceRow, scope: str) -> LogRow:
    body = plain(record.body)
    return LogRow(
        record.trace_id.hex(),
        record.span_id.hex(),
        _time(record.time_unix_nano or record.observed_time_unix_nano),
        record.severity_number,
        record.severity_text,
        record.event_name,
        _text(body),
        resource.service,
        resource.instance,
        resource.resource_id,
        scope,
        to_json(attribute_map(record.attributes)),
    )
