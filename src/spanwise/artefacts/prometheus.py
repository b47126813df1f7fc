"""Prometheus alert and recording rules. A rule whose metric nobody sends has no series, and says nothing."""

from __future__ import annotations

from typing import Any, Final

from spanwise.artefacts import promql
from spanwise.artefacts.stamp import stamp
from spanwise.artefacts.written import as_yaml
from spanwise.rules.model import Burn, MetricRule, Objective, Rule

__all__ = ["WINDOW", "budget_alert", "rules_file"]

WINDOW: Final = "window"
"""The label that tells an objective's alerts from each other."""

# What a window of days holds, and how often: a minute more or less is nothing to it.
_OBJECTIVES_EVERY: Final = "1m"


def rules_file(rules: tuple[Rule, ...]) -> str:
    """The rule file as YAML text."""
    metrics = [rule for rule in rules if isinstance(rule, MetricRule)]
    metrics.sort(key=lambda rule: (rule.name, rule.severity))
    objectives = sorted((rule for rule in rules if isinstance(rule, Objective)), key=lambda rule: rule.name)
    groups: list[dict[str, Any]] = [{"name": "spanwise", "rules": [_alert(rule) for rule in metrics]}]
    if objectives:
        told = [each for rule in objectives for each in _objective(rule)]
        groups.append({"name": "spanwise-objectives", "interval": _OBJECTIVES_EVERY, "rules": told})
    return stamp(rules) + as_yaml({"groups": groups})


def budget_alert(rule: Objective) -> str:
    """The name of an objective's alerts: a metric's rule may have the objective's."""
    return f"{rule.name}_budget"


def _alert(rule: MetricRule) -> dict[str, Any]:
    alert: dict[str, Any] = {"alert": rule.name, "expr": promql.condition(rule)}
    if rule.hold:
        alert["for"] = alert["keep_firing_for"] = promql.duration(rule.hold)
    summary = f"{_literal(rule.name)} is above {promql.number(rule.limit)}"
    alert["labels"] = {"severity": rule.severity}
    alert["annotations"] = {
        "summary": f"{summary} in {{{{ $labels.{promql.SERVICE} }}}}",
        "description": "It is {{ $value }}.",
        "accuracy": promql.ACCURACY[rule.form],
    }
    return alert


def _objective(rule: Objective) -> list[dict[str, Any]]:
    mine = {promql.OBJECTIVE: rule.name}
    recorded = [
        {"record": name, "expr": expression, "labels": mine} for name, expression in promql.recordings(rule)
    ]
    return [*recorded, *(_burn(rule, burn) for burn in rule.burns)]


def _burn(rule: Objective, burn: Burn) -> dict[str, Any]:
    aim = f"{rule.good * 100:.10g} % of {_literal(rule.rule)} good over {promql.duration(rule.window)}"
    return {
        "alert": budget_alert(rule),
        "expr": promql.burning(rule, burn),
        "labels": {"severity": burn.severity, WINDOW: promql.duration(burn.long)},
        "annotations": {
            "summary": f"{_literal(rule.name)} uses up its budget in {{{{ $labels.{promql.SERVICE} }}}}",
            "description": f"{{{{ $value | humanizePercentage }}}} miss it over "
            f"{promql.duration(burn.long)}, more than {burn.factor} times what it allows: {aim}.",
            "accuracy": promql.ACCURACY["objective"],
        },
    }


def _literal(text: str) -> str:
    """Text in an annotation, which Prometheus reads as a template of Go's."""
    return text.replace("{{", '{{"{{"}}')
