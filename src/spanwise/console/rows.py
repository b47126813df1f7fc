"""The plain rows that the console stores: what decode.py makes and store.py writes.

The order of a row's fields is the order of its table's columns (see schema.py). Times are nanoseconds since
the Unix epoch, limited to ``MAX_NANOSECONDS``. Columns named ``attributes``, ``events``, ``links``
and ``detail`` hold JSON text without NaN or infinity.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, NamedTuple

__all__ = ["MAX_NANOSECONDS", "Batch", "LogRow", "PointRow", "ResourceRow", "SpanRow"]

# The year 2116. Anything later is a broken clock; a larger limit lets a difference of two times
# leave the 64 bits of a BIGINT and fail the query.
MAX_NANOSECONDS: Final = 2**62


class ResourceRow(NamedTuple):
    """One sender: a resource, identified by its attributes."""

    resource_id: str
    service: str
    instance: str
    attributes: str


class SpanRow(NamedTuple):
    """One span. ``parent_id`` is empty for a root; ``rating`` is empty where the span was not rated."""

    trace_id: str
    span_id: str
    parent_id: str
    name: str
    kind: str
    start_ns: int
    end_ns: int
    status: str
    status_message: str
    rating: str
    service: str
    instance: str
    resource_id: str
    scope: str
    attributes: str
    events: str
    links: str
    dropped: int


class PointRow(NamedTuple):
    """One metric data point. ``value`` is None for histograms and for points without a recorded value."""

    name: str
    unit: str
    kind: str
    temporality: str
    monotonic: bool
    start_ns: int
    time_ns: int
    value: float | None
    observations: int | None
    total: float | None
    service: str
    instance: str
    resource_id: str
    scope: str
    attributes: str
    detail: str


class LogRow(NamedTuple):
    """One log record. ``trace_id`` and ``span_id`` are empty where the record stands outside of a trace."""

    trace_id: str
    span_id: str
    time_ns: int
    severity_number: int
    severity: str
    event_name: str
    body: str
    service: str
    instance: str
    resource_id: str
    scope: str
    attributes: str


@dataclass(slots=True)
class Batch:
    """What one request brought.

    Attributes:
        rejected: spans, points or log records refused because of their ids.
    """

    resources: list[ResourceRow] = field(default_factory=list)
    spans: list[SpanRow] = field(default_factory=list)
    points: list[PointRow] = field(default_factory=list)
    logs: list[LogRow] = field(default_factory=list)
    rejected: int = 0

    def __len__(self) -> int:
        return len(self.spans) + len(self.points) + len(self.logs)
