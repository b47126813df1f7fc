"""What happened in one trace? All its spans in tree order, with depth, and its log records."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from spanwise import names

if TYPE_CHECKING:
    import duckdb

__all__ = ["MAX_SPANS", "SpanView", "TraceView", "one_trace"]

# More rows than a reader can use; a browser still lays them out in under a second.
MAX_SPANS: Final = 10_000
_MAX_LOGS: Final = 5_000
# Figures that a name alone does not explain; limits are in the seconds of the thresholds file.
_UNITS: Final = {names.RATING_LIMIT: "s"}


@dataclass(slots=True)
class SpanView:
    """One span of the waterfall.

    Attributes:
        depth: 0 for a root; a child is one deeper than its parent.
        orphan: it names a parent that is not there.
        offset_ms: from the start of the trace.
        rating: the verdict of the thresholds file; empty where the span was not rated.
        units: the unit of each attribute that has one, by its name.
        exceptions: type, message and stack trace of each exception event.
    """

    span_id: str
    parent_id: str
    name: str
    service: str
    instance: str
    kind: str
    status: str
    status_message: str
    rating: str
    rating_rule: str
    scope: str
    start_unix_nano: str
    offset_ms: float
    duration_ms: float
    attributes: dict[str, Any]
    units: dict[str, str]
    resource: dict[str, Any]
    events: list[dict[str, Any]]
    exceptions: list[dict[str, str]]
    links: list[dict[str, Any]]
    dropped: int
    depth: int = 0
    children: int = 0
    orphan: bool = False
    logs: list[dict[str, Any]] = field(default_factory=list)


@dataclass(slots=True)
class TraceView:
    """A trace as the page shows it.

    Attributes:
        name: the root's name, or the earliest span's.
        truncated: there are more than ``MAX_SPANS`` spans; the earliest are shown.
        logs: records of the trace that belong to none of its spans.
    """

    trace_id: str
    name: str
    service: str
    start_unix_nano: str
    duration_ms: float
    errors: int
    services: list[str]
    truncated: bool
    spans: list[SpanView]
    logs: list[dict[str, Any]]


_SPANS: Final = """
select span_id, parent_id, name, spans.service, spans.instance, kind, status, status_message, rating, scope,
  start_ns, end_ns, spans.attributes, resources.attributes, events, links, dropped
from spans left join resources using (resource_id)
where trace_id = ?
order by start_ns, spans.seq
limit ?
"""
_LOGS: Final = """
select span_id, time_ns, severity, severity_number, event_name, body, attributes
from logs where trace_id = ? order by time_ns, seq limit ?
"""


def one_trace(cursor: duckdb.DuckDBPyConnection, trace_id: str) -> TraceView | None:
    """The trace with this id (32 hexadecimal digits), or None when nothing of it is stored."""
    rows: list[tuple[Any, ...]] = cursor.execute(_SPANS, [trace_id, MAX_SPANS + 1]).fetchall()
    if not rows:
        return None
    truncated = len(rows) > MAX_SPANS
    rows = rows[:MAX_SPANS]
    start = min(row[10] for row in rows)
    end = max(row[11] for row in rows)
    # A span that was sent twice is shown once.
    spans = {row[0]: _view(row, start) for row in rows}
    logs = [_log(row, start) for row in cursor.execute(_LOGS, [trace_id, _MAX_LOGS]).fetchall()]
    for log in logs:
        if log["span_id"] in spans:
            spans[log["span_id"]].logs.append(log)
    ordered = _tree_order(spans)
    head = next((span for span in ordered if not span.parent_id), ordered[0])
    return TraceView(
        trace_id,
        head.name,
        head.service,
        str(start),
        (end - start) / 1e6,
        sum(span.status == "error" for span in ordered),
        sorted({span.service for span in ordered}),
        truncated,
        ordered,
        [log for log in logs if log["span_id"] not in spans],
    )


def _view(row: tuple[Any, ...], trace_start: int) -> SpanView:
    attributes = json.loads(row[12])
    events = json.loads(row[14])
    for event in events:
        event["offset_ms"] = (int(event["time_ns"]) - trace_start) / 1e6
        event["exception"] = _is_exception(event)
    rule = attributes.get(names.RATING_RULE, "")
    return SpanView(
        span_id=row[0],
        parent_id=row[1],
        name=row[2],
        service=row[3],
        instance=row[4],
        kind=row[5],
        status=row[6],
        status_message=row[7],
        rating=row[8],
        rating_rule=rule if isinstance(rule, str) else json.dumps(rule),
        scope=row[9],
        start_unix_nano=str(row[10]),
        offset_ms=(row[10] - trace_start) / 1e6,
        duration_ms=(row[11] - row[10]) / 1e6,
        attributes=attributes,
        units={name: unit for name, unit in _UNITS.items() if name in attributes},
        resource=json.loads(row[13]) if row[13] else {},
        events=events,
        exceptions=[_exception(event["attributes"]) for event in events if event["exception"]],
        links=json.loads(row[15]),
        dropped=row[16],
    )


def _is_exception(event: dict[str, Any]) -> bool:
    return names.EXCEPTION_TYPE in event["attributes"] or names.EXCEPTION_MESSAGE in event["attributes"]


def _exception(attributes: dict[str, Any]) -> dict[str, str]:
    return {
        "type": str(attributes.get(names.EXCEPTION_TYPE, "")),
        "message": str(attributes.get(names.EXCEPTION_MESSAGE, "")),
        "stacktrace": str(attributes.get(names.EXCEPTION_STACKTRACE, "")),
    }


def _log(row: tuple[Any, ...], trace_start: int) -> dict[str, Any]:
    return {
        "span_id": row[0],
        "offset_ms": (row[1] - trace_start) / 1e6,
        "severity": row[2] or (str(row[3]) if row[3] else ""),
        "event_name": row[4],
        "body": row[5],
        "attributes": json.loads(row[6]),
    }


def _tree_order(spans: dict[str, SpanView]) -> list[SpanView]:
    """Depth first, children by start time; a loop, so that a chain of any depth is fine."""
    children: dict[str, list[SpanView]] = {}
    tops: list[SpanView] = []
    for span in spans.values():
        if span.parent_id in spans and span.parent_id != span.span_id:
            children.setdefault(span.parent_id, []).append(span)
        else:
            span.orphan = bool(span.parent_id)
            tops.append(span)
    ordered = _walk(tops, children, set())
    if len(ordered) < len(spans):
        # Spans that are each other's ancestors: no top leads to them, so one of them is made a top.
        seen = {span.span_id for span in ordered}
        for span in spans.values():
            if span.span_id not in seen:
                span.orphan = True
                ordered += _walk([span], children, seen)
    return ordered


def _walk(tops: Iterable[SpanView], children: dict[str, list[SpanView]], seen: set[str]) -> list[SpanView]:
    ordered: list[SpanView] = []
    pending = [(span, 0) for span in reversed(list(tops))]
    while pending:
        span, depth = pending.pop()
        seen.add(span.span_id)
        span.depth = depth
        below = [child for child in children.get(span.span_id, ()) if child.span_id not in seen]
        span.children = len(below)
        ordered.append(span)
        pending.extend((child, depth + 1) for child in reversed(below))
    return ordered
