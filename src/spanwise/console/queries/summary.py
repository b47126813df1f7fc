"""How much has arrived, what was slow, what failed, and from whom?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    import duckdb

__all__ = ["InstanceCount", "SlowTrace", "Summary", "summarise"]

_SLOWEST: Final = 5


class SlowTrace(NamedTuple):
    """A slow trace: its root's name, its duration in milliseconds, its id."""

    name: str
    duration_ms: float
    trace_id: str


class InstanceCount(NamedTuple):
    """How many spans one service instance sent, and how many of them failed."""

    service: str
    instance: str
    spans: int
    errors: int


@dataclass(frozen=True, slots=True)
class Summary:
    """What the console holds.

    Attributes:
        traces: distinct traces.
        spans: spans stored.
        errors: failed spans.
        slowest: the five slowest traces, slowest first.
        instances: spans by service instance, most first.
        points: metric data points stored.
        logs: log records stored.
    """

    traces: int
    spans: int
    errors: int
    slowest: list[SlowTrace]
    instances: list[InstanceCount]
    points: int
    logs: int


_SLOW_SQL: Final = """
select coalesce(arg_min(name, start_ns) filter (where parent_id = ''), arg_min(name, start_ns)),
  (max(end_ns) - min(start_ns)) / 1e6 as took, trace_id
from spans group by trace_id order by took desc, trace_id limit ?
"""
_INSTANCE_SQL: Final = """
select service, instance, count(*) as spans, count(*) filter (where status = 'error')
from spans group by service, instance order by spans desc, service, instance
"""


def summarise(cursor: duckdb.DuckDBPyConnection) -> Summary:
    """The summary of everything stored."""
    traces, spans, errors, points, logs = cursor.execute(
        "select count(distinct trace_id), count(*), count(*) filter (where status = 'error'),"
        " (select count(*) from points), (select count(*) from logs) from spans"
    ).fetchone() or (0, 0, 0, 0, 0)
    return Summary(
        traces,
        spans,
        errors,
        [SlowTrace(*row) for row in cursor.execute(_SLOW_SQL, [_SLOWEST]).fetchall()],
        [InstanceCount(*row) for row in cursor.execute(_INSTANCE_SQL).fetchall()],
        points,
        logs,
    )
