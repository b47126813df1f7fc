"""The rules' figures, out of the history of the process's metrics.

The same figures as in the generated PromQL (artefacts/promql.py), but counted where Prometheus comes near:

- an increase is what was counted, from the newest sample at or before the window's beginning on. With a
  window of a whole number of samples and samples in time, Prometheus's is the same;
- a ratio is that of two increases, infinite where only what is above the line grew, as in Prometheus;
- a quantile is interpolated within its bucket as histogram_quantile does it, with an exact rank.

A metric that there isn't has no figure, and so no alert.
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import TypeAlias

from spanwise.labels import label_text
from spanwise.meters.history import Growth, History, Watch
from spanwise.rules.model import MetricRule
from spanwise.rules.model import Series as Selected

__all__ = ["Figures", "Labels", "figures", "quantile", "watches"]

Labels: TypeAlias = tuple[tuple[str, str], ...]
Figures: TypeAlias = dict[Labels, float]
"""By the series' attributes, sorted. A figure that is a sum has none."""


def watches(rule: MetricRule) -> tuple[Watch, ...]:
    """What a history must watch for a rule."""
    return tuple(_watch(each) for each in (rule.series, rule.of) if each is not None)


def figures(rule: MetricRule, history: History) -> Figures:
    """A rule's figures in the newest sample; none where there are fewer measurements than it wants."""
    if rule.form == "level":
        return {
            tuple(sorted((key, label_text(each)) for key, each in attributes.items())): value
            for attributes, value in history.levels(_watch(rule.series))
        }
    window = rule.window / 1e9
    grown = history.growth(_watch(rule.series), window)
    if grown is None or bool(grown.buckets) is not (rule.form == "quantile"):
        return {}
    if rule.form == "increase":
        return {(): grown.total}
    if rule.form == "quantile":
        if grown.measurements < rule.minimum:
            return {}
        return {(): quantile(rule.quantile or 0.0, grown)}
    below = history.growth(_watch(rule.of), window) if rule.of is not None else None
    if below is None or below.buckets or below.total < rule.minimum:
        return {}
    if not below.total:
        return {(): math.inf if grown.total else math.nan}
    return {(): grown.total / below.total}


def quantile(share: float, grown: Growth) -> float:
    """A quantile of what a histogram measured; not a number where it measured nothing.

    In the last bucket, which has no end, the highest bound is all that can be said.
    """
    if not grown.measurements or not grown.bounds:
        return math.nan
    # As a decimal: 0.95 is a little less in binary, and 95 of 100 would be in the next bucket.
    rank = Fraction(repr(share)) * int(grown.measurements)
    before = 0.0
    for number, (bound, count) in enumerate(zip(grown.bounds, grown.buckets, strict=False)):
        if before + count >= rank:
            if number == 0 and bound <= 0:
                return bound
            start = grown.bounds[number - 1] if number else 0.0
            if not count:
                return start
            return start + (bound - start) * float((rank - Fraction(before)) / Fraction(count))
        before += count
    return grown.bounds[-1]


def _watch(series: Selected) -> Watch:
    return (series.metric, series.labels)
