"""All that arrived during one measurement, summed up."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from typing import Any

from benchmarks.sink.model import Point, Span

__all__ = ["summary"]


def summary(records: Iterable[Span | Point]) -> dict[str, Any]:
    """Spans and their attributes by span name, records or sums by metric name.

    Cumulative points count once a series, by the latest; delta points add up.
    """
    spans: Counter[str] = Counter()
    attributes: Counter[str] = Counter()
    latest: dict[tuple[str, str], Point] = {}
    metrics: dict[str, float] = defaultdict(float)
    for record in records:
        if isinstance(record, Span):
            spans[record.name] += 1
            attributes[record.name] += record.attributes
        elif record.cumulative:
            key = (record.metric, record.series)
            if key not in latest or latest[key].time_ns <= record.time_ns:
                latest[key] = record
        else:
            metrics[record.metric] += record.count
    for point in latest.values():
        metrics[point.metric] += point.count
    return {"spans": dict(spans), "attributes": dict(attributes), "metrics": dict(metrics)}
