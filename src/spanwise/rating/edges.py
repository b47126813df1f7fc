"""The edges that limits add to the application's own histograms.

Whether a quantile is above an edge is exact; anywhere else it is interpolated.
"""

from __future__ import annotations

from spanwise import names
from spanwise.rules.model import MetricRule, Rule

__all__ = ["edges"]


def edges(rules: tuple[Rule, ...]) -> dict[str, tuple[float, ...]]:
    """All edges of each histogram that a limit is not yet an edge of, by the metric's name, in its unit.

    Only of the histograms that spanwise knows: of others nobody here knows the edges they have.
    """
    known = {each.name: each for each in vars(names).values() if isinstance(each, names.Metric)}
    found: dict[str, set[float]] = {}
    for rule in rules:
        metric = (
            known.get(rule.series.metric)
            if isinstance(rule, MetricRule) and rule.form == "quantile"
            else None
        )
        if isinstance(rule, MetricRule) and metric is not None and metric.buckets:
            found.setdefault(metric.name, set(metric.buckets)).add(rule.limit)
    return {
        name: tuple(sorted(each)) for name, each in sorted(found.items()) if each != set(known[name].buckets)
    }
