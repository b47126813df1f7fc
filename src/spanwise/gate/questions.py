"""What a gate asks: the thresholds' rules, within one service, version or instance."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from spanwise import names
from spanwise.artefacts import prometheus_names, promql
from spanwise.artefacts.ottl import string
from spanwise.artefacts.prometheus import budget_alert
from spanwise.rules.alerting import SEVERITIES
from spanwise.rules.model import MetricRule, Objective, Rule, Series, Trigger

__all__ = ["Question", "Scope", "questions"]


@dataclass(frozen=True)
class Scope:
    """Whose metrics are looked at.

    Attributes:
        service: ``service.name``; empty for any.
        version: ``service.version``; empty for any.
        match: further labels that must hold, by Prometheus's name for each.
    """

    service: str = ""
    version: str = ""
    match: tuple[tuple[str, str], ...] = ()

    @property
    def labels(self) -> promql.Labels:
        """What must hold of each series."""
        own = ((names.SERVICE_NAME, self.service), (names.SERVICE_VERSION, self.version))
        return (*((key, value) for key, value in own if value), *self.match)

    @property
    def before(self) -> promql.Labels:
        """What must hold of those before the deployment: the same service, whatever its version."""
        return ((names.SERVICE_NAME, self.service),) if self.service else self.match

    def __str__(self) -> str:
        return ", ".join(f"{prometheus_names.label(key)}={value}" for key, value in self.labels) or "anything"

    def anything(self) -> str:
        """An expression that has a value where anything at all is known of it."""
        return f"count({{{_matchers(self.labels)}}})" if self.labels else "count(up)"

    def versions(self) -> str:
        """An expression whose values' labels are the versions that the service has sent from."""
        version = prometheus_names.label(names.SERVICE_VERSION)
        return f"count by ({version}) ({{{_matchers(self.before)}}})" if self.before else ""


@dataclass(frozen=True)
class Question:
    """One rule as it is asked of Prometheus.

    Attributes:
        rule: within the scope, its limit what may be passed.
        trigger: it is an entry of ``gate:``, so it must be measured.
        figure: the expression of what is compared with the limit.
        counted: that of the measurements it is made of; empty where no minimum is wanted.
        known: that which has a value where the service sent the metric before; empty where that says nothing.
    """

    rule: MetricRule
    trigger: bool
    figure: str
    counted: str
    known: str


# How long before now a metric that is missing is looked for.
_BEFORE: Final = "1h"


def questions(
    rules: tuple[Rule, ...], scope: Scope, window: int, severity: str = "critical"
) -> list[Question]:
    """What is asked, by name.

    A trigger of ``gate:`` takes the place of the critical limit of its name. Of an objective it is asked
    whether its budget is used up, over the gate's window, more quickly than its quickest burn rate: its own
    windows of hours and days would mostly tell of what ran before.

    Args:
        rules: those that hold.
        scope: whose metrics.
        window: the gate's, in nanoseconds.
        severity: the mildest whose rules count.
    """
    triggers = {rule.name: rule.rule for rule in rules if isinstance(rule, Trigger)}
    counting = SEVERITIES[: SEVERITIES.index(severity) + 1]
    others = [rule for rule in rules if isinstance(rule, MetricRule)]
    others += [_over(rule, window) for rule in rules if isinstance(rule, Objective) and rule.burns]
    asked = [_question(rule, scope, trigger=True) for rule in triggers.values()]
    asked += [
        _question(rule, scope, trigger=False)
        for rule in others
        if rule.severity in counting and not (rule.severity == "critical" and rule.name in triggers)
    ]
    return sorted(asked, key=lambda each: (each.rule.name, SEVERITIES.index(each.rule.severity)))


def _over(rule: Objective, window: int) -> MetricRule:
    burn = rule.burns[0]
    return MetricRule(
        budget_alert(rule),
        "ratio",
        rule.missed,
        burn.limit,
        burn.severity,
        of=rule.total,
        window=window,
        minimum=rule.minimum,
    )


def _question(rule: MetricRule, scope: Scope, *, trigger: bool) -> Question:
    of = None if rule.of is None else _within(rule.of, scope.labels)
    within = replace(rule, series=_within(rule.series, scope.labels), of=of)
    # A counter that nothing counted up may have no series at all: that it is missing says nothing.
    known = "" if rule.form == "increase" else _known(rule.of or rule.series, rule, scope)
    return Question(
        within,
        trigger,
        promql.measured(within, scope.labels),
        promql.counted(within) if within.minimum else "",
        known,
    )


def _within(series: Series, labels: promql.Labels) -> Series:
    given = {prometheus_names.label(key) for key, _ in series.labels}
    # What the rule itself says of a label stays: twice would be an expression that nothing matches.
    more = [each for each in labels if prometheus_names.label(each[0]) not in given]
    return replace(series, labels=tuple(sorted((*series.labels, *more))))


def _known(series: Series, rule: MetricRule, scope: Scope) -> str:
    suffix = "_count" if rule.form == "quantile" else ""
    before = prometheus_names.selector(_within(series, scope.before), suffix)
    return f"count(last_over_time({before}[{_BEFORE}]))"


def _matchers(labels: promql.Labels) -> str:
    return ",".join(f"{prometheus_names.label(key)}={string(value)}" for key, value in labels)
