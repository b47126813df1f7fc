"""What a sink counts, whatever protocol it came by."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Point", "Span"]


@dataclass(frozen=True)
class Span:
    """A span that arrived: its name, and how many attributes (tags, data, labels) it carries."""

    name: str
    attributes: int


@dataclass(frozen=True)
class Point:
    """A metric's data point that arrived.

    Attributes:
        metric: the instrument's name.
        series: what tells this point's series from the metric's others.
        cumulative: whether ``count`` includes what earlier points of the series told.
        count: the number of records of a histogram, the value of a sum.
        time_ns: when it was collected.
    """

    metric: str
    series: str
    cumulative: bool
    count: float
    time_ns: int
