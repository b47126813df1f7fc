"""Which rules the process can hold itself to, and which only Prometheus can."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from spanwise import names
from spanwise.rules.model import RATINGS, History, MetricRule, Objective, Rule, Series

__all__ = ["elsewhere", "in_process"]

_OF_RATED: Final = {names.RATING, names.RATING_RULE}


def in_process(rules: Iterable[Rule], history: History) -> tuple[MetricRule, ...]:
    """The rules on metrics that are held in the process, by name.

    One on the Collector's count of rated spans is held against the process's own count of them.
    """
    metrics = [
        replace(rule, series=_own(rule.series))
        for rule in rules
        if isinstance(rule, MetricRule) and not _hindrance(rule, history)
    ]
    return tuple(sorted(metrics, key=lambda rule: (rule.name, rule.severity)))


def elsewhere(rules: Iterable[Rule], history: History) -> dict[str, str]:
    """By name, why a rule on metrics or an objective is not."""
    return {
        rule.name: why
        for rule in rules
        if isinstance(rule, (MetricRule, Objective)) and (why := _hindrance(rule, history))
    }


def _own(series: Series) -> Series:
    """The series that the process has instead: spans that are worse than good are counted when they end."""
    labels = dict(series.labels)
    rated = labels.get(names.RATING, RATINGS[0]) != RATINGS[0]
    if series.metric == names.SPAN_METRICS_CALLS.name and rated and labels.keys() <= _OF_RATED:
        return replace(series, metric=names.RATED_SPANS.name, unit=names.RATED_SPANS.unit)
    return series


def _hindrance(rule: MetricRule | Objective, history: History) -> str:
    if isinstance(rule, Objective):
        return "an objective"
    # To count every span in the process, whatever its rating, would cost each of them.
    if any(
        each is not None and _own(each).metric.startswith(names.SPAN_METRICS_NAMESPACE)
        for each in (rule.series, rule.of)
    ):
        return "the Collector counts its spans"
    if not history.samples:
        return "no history is kept"
    if rule.window > history.interval * history.samples:
        return "it looks back further than the history"
    if rule.window and rule.window < history.interval:
        return "its window is shorter than from one sample to the next"
    return ""
