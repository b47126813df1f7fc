"""The edges of the span metrics' histogram: at each limit on a duration, a share above it is exact."""

from __future__ import annotations

from typing import Final

from spanwise.rules.model import MetricRule, Rule, SpanRule

__all__ = ["edges"]

# S4a's buckets, 0.1 to 10 s, and below them those of the semantic conventions' HTTP metrics, because
# database and cache calls are faster than any of S4a's. In nanoseconds.
_MS: Final = 1_000_000
_USUAL: Final = tuple(
    each * _MS for each in (5, 10, 25, 50, 100, 250, 500, 750, 1_000, 2_500, 5_000, 7_500, 10_000)
)


def edges(rules: tuple[Rule, ...]) -> list[int]:
    """The edges in nanoseconds: the usual ones, and every limit on a duration."""
    found = set(_USUAL)
    for rule in rules:
        if isinstance(rule, SpanRule):
            found.update(limit for _, limit in rule.edges)
        elif isinstance(rule, MetricRule) and rule.form == "quantile" and rule.series.unit == "s":
            found.add(round(rule.limit * 1_000_000_000))
    return sorted(edge for edge in found if edge > 0)
