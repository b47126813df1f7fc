"""Which traces are there? Newest first, with filters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import duckdb

__all__ = ["MAX_LIMIT", "RATINGS", "TraceFilter", "TraceLine", "list_traces"]

MAX_LIMIT: Final = 500
#: The words of the thresholds file, worst last; unrated is better than all.
RATINGS: Final = ("good", "acceptable", "poor", "critical")


@dataclass(frozen=True, slots=True)
class TraceFilter:
    """Which traces to list.

    Attributes:
        service: traces with a span of this service; empty for any.
        name: traces with a span whose name contains this, in any case; empty for any.
        min_duration_ms: traces that took at least this long.
        errors_only: traces with a failed span.
        rating: traces with a span rated this or worse, one of ``RATINGS``; empty for any.
        limit: at most this many, up to ``MAX_LIMIT``.
        offset: leave out this many of the newest.
    """

    service: str = ""
    name: str = ""
    min_duration_ms: float = 0.0
    errors_only: bool = False
    rating: str = ""
    limit: int = 100
    offset: int = 0


@dataclass(frozen=True, slots=True)
class TraceLine:
    """One trace of the list.

    Attributes:
        name: the root span's name, or the earliest span's where the root has not arrived.
        complete: whether the root has arrived.
        start_unix_nano: a decimal string, because a browser's numbers end at 2**53.
        errors: failed spans.
        rating: the worst rating of its spans; empty where none was rated.
    """

    trace_id: str
    name: str
    service: str
    services: list[str]
    complete: bool
    start_unix_nano: str
    duration_ms: float
    spans: int
    errors: int
    rating: str


# Numbers in the order of RATINGS, from 1: max() picks the worst.
_SQL: Final = """
with traces as (
  select
    trace_id,
    min(start_ns) as start_ns,
    max(end_ns) as end_ns,
    arg_min(name, start_ns) filter (where parent_id = '') as root_name,
    arg_min(service, start_ns) filter (where parent_id = '') as root_service,
    arg_min(name, start_ns) as first_name,
    arg_min(service, start_ns) as first_service,
    list_sort(list(distinct service)) as services,
    count(*) as spans,
    count(*) filter (where status = 'error') as errors,
    max(case rating when 'critical' then 4 when 'poor' then 3 when 'acceptable' then 2 when 'good' then 1
        else 0 end) as worst
  from spans
  group by trace_id
  having ($service = '' or bool_or(service = $service))
     and ($name = '' or bool_or(contains(lower(name), lower($name))))
)
select trace_id, coalesce(root_name, first_name), coalesce(root_service, first_service), services,
  root_name is not null, start_ns, end_ns - start_ns, spans, errors,
  ['', 'good', 'acceptable', 'poor', 'critical'][worst + 1]
from traces
where (end_ns - start_ns) >= $least and (not $errors_only or errors > 0) and worst >= $worst
order by start_ns desc, trace_id
limit $limit offset $offset
"""


def list_traces(cursor: duckdb.DuckDBPyConnection, wanted: TraceFilter) -> list[TraceLine]:
    """The traces that pass the filter, newest first."""
    found: list[tuple[Any, ...]] = cursor.execute(
        _SQL,
        {
            "service": wanted.service,
            "name": wanted.name,
            "least": round(wanted.min_duration_ms * 1e6),
            "errors_only": wanted.errors_only,
            "worst": RATINGS.index(wanted.rating) + 1 if wanted.rating else 0,
            "limit": min(max(wanted.limit, 1), MAX_LIMIT),
            "offset": max(wanted.offset, 0),
        },
    ).fetchall()
    return [
        TraceLine(
            trace_id, name, service, services, complete, str(start), duration / 1e6, spans, errors, rating
        )
        for trace_id, name, service, services, complete, start, duration, spans, errors, rating in found
    ]
