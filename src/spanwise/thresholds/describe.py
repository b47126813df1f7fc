"""The thresholds that hold, in words: for the start-up report and ``spanwise thresholds show``."""

from __future__ import annotations

import dataclasses
import math

from spanwise.rules.alerting import Alerting
from spanwise.rules.local import elsewhere, in_process
from spanwise.rules.model import (
    History,
    MetricRule,
    Objective,
    Sampling,
    Series,
    SpanRule,
    Trigger,
)
from spanwise.shown import figure
from spanwise.thresholds.model import Thresholds
from spanwise.thresholds.units import duration_text

__all__ = ["amount", "describe", "summary"]


def describe(thresholds: Thresholds) -> list[str]:
    """One short line a rule."""
    lines = []
    for rule in thresholds.rules:
        if isinstance(rule, SpanRule):
            edges = " · ".join(
                f"{rating} ≤ {duration_text(edge)}"
                for rating, edge in (
                    ("good", rule.good),
                    ("acceptable", rule.acceptable),
                    ("poor", rule.poor),
                )
            )
            lines.append(f"{rule.name}: {edges}")
        elif isinstance(rule, MetricRule):
            lines.append(f"{rule.name}: {rule.severity} when {_figure(rule)} > {_limit(rule)}{_when(rule)}")
        elif isinstance(rule, Objective):
            share = f"{figure(rule.good * 100, 10)} % of the spans of {rule.rule}"
            lines.append(f"{rule.name}: {share} good or acceptable over {duration_text(rule.window)}")
        elif isinstance(rule, Trigger):
            own = rule.rule
            lines.append(f"{rule.name}: rolls back when {_figure(own)} > {_limit(own)}{_when(own)}")
        elif isinstance(rule, Alerting):
            told = ", ".join(each.name for each in rule.handlers) or "nobody"
            again = f"at most every {duration_text(rule.throttle)}, again after {duration_text(rule.repeat)}"
            lines.append(f"alerts: told to {told}, {again}")
        elif isinstance(rule, Sampling):
            kept = ", ".join(rule.keep) or "nothing in particular"
            lines.append(f"sampling: keeps {kept}, and {figure(rule.baseline)} % of the rest")
        else:
            lines.append(
                f"history: {rule.samples} samples of the metrics, one every {duration_text(rule.interval)}"
                if rule.samples
                else "history: none is kept"
            )
    return lines


def summary(thresholds: Thresholds) -> list[str]:
    """What of it holds in the process, a line a rule, and how much of it elsewhere."""
    spans = [rule for rule in thresholds.rules if isinstance(rule, SpanRule)]
    history = next(rule for rule in thresholds.rules if isinstance(rule, History))
    # One rule a severity shares a name.
    alerts = len({rule.name for rule in in_process(thresholds.rules, history)})
    profile = f", profile {thresholds.profile}" if thresholds.profile else ""
    here = describe(dataclasses.replace(thresholds, rules=tuple(spans)))
    return [
        f"from {thresholds.source or 'the shipped defaults'}{profile}",
        *here,
        f"{alerts} alerts on metrics hold in the process, and all in Prometheus (`spanwise generate`)",
        *(
            f"{name}: in Prometheus only: {why}"
            for name, why in sorted(elsewhere(thresholds.rules, history).items())
        ),
    ]


def _figure(rule: MetricRule) -> str:
    if rule.of is not None:
        return f"{_series(rule.series)} / {_series(rule.of)}"
    if rule.quantile is not None:
        return f"p{figure(rule.quantile * 100)} of {_series(rule.series)}"
    return _series(rule.series)


def _series(series: Series) -> str:
    labels = ",".join(f"{key}={value}" for key, value in series.labels)
    return f"{series.metric}{{{labels}}}" if labels else series.metric


def _limit(rule: MetricRule) -> str:
    return amount(rule, rule.limit)


def amount(rule: MetricRule, value: float) -> str:
    """A figure of a rule as people write it, in its unit."""
    if not math.isfinite(value):
        return str(value)
    if rule.of is not None or rule.series.unit == "1":
        return f"{figure(value * 100, 4)} %"
    if rule.series.unit == "s":
        return duration_text(round(value * 1e9))
    if rule.series.unit == "By" and value >= 1e6:
        return f"{figure(value / 1e6)} MB"
    return figure(value)


def _when(rule: MetricRule) -> str:
    over = f" over {duration_text(rule.window)}" if rule.window else ""
    return over + (f", for {duration_text(rule.hold)}" if rule.hold else "")
