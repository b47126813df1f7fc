"""The edges that limits add to the application's own histograms.

Whether a quantile is above an edge is exact; anywhere else it is interpolated.
"""

from __future__ import annotations

from spanwise import names
from spanwise.rules.model import MetricRule, Rule

__all__ = ["edges"]


def edges(rules: tuple[Rule, ...]) -> dict[str, tuple[float, ...]]:
    """The limits that are not yet an edge of the histogram they are about, by the metric's name, in its unit.

    Only of the histograms that spanwise knows: of others nobody here knows the edges they have.
    """
    known = {each.name: each for each in vars(names).values() if isinstance(each, names.Metric)}
    found: dict[str, set[float]] = {}
    for rule in rules:
        if isinstance(rule, MetricRule) and rule.form == "quantile":
            metric = known.get(rule.series.metric)
            if metric is not None and metric.buckets and rule.limit not in metric.buckets:
                found.setdefault(metric.name, set()).add(rule.limit)
    return {name: tuple(sorted(each)) for name, each in sorted(found.items())}
