"""Prometheus alert rules. A rule whose metric nobody sends has no series, and says nothing.

Where Prometheus can only come near: ``increase`` and ``rate`` extrapolate to the window's borders, and a
quantile between two buckets is interpolated; at a bucket's edge, which every limit on a duration is in
the Collector's span metrics, it is exact.
"""

from __future__ import annotations

from typing import Any

import yaml

from spanwise import names
from spanwise.artefacts import prometheus_names
from spanwise.artefacts.stamp import stamp
from spanwise.rules.model import MetricRule, Rule, Series

__all__ = ["expression", "rules_file"]

_SERVICE = prometheus_names.label(names.SERVICE_NAME)


def rules_file(rules: tuple[Rule, ...]) -> str:
    """The rule file as YAML text."""
    found = [rule for rule in rules if isinstance(rule, MetricRule)]
    found.sort(key=lambda rule: (rule.name, rule.severity))
    tree = {"groups": [{"name": "spanwise", "rules": [_alert(rule) for rule in found]}]}
    return stamp(rules) + yaml.safe_dump(tree, sort_keys=False, width=1_000_000)


def _alert(rule: MetricRule) -> dict[str, Any]:
    alert: dict[str, Any] = {"alert": rule.name, "expr": expression(rule)}
    if rule.hold:
        alert["for"] = _duration(rule.hold)
    summary = f"{_literal(rule.name)} is above {_number(rule.limit)}"
    alert["labels"] = {"severity": rule.severity}
    alert["annotations"] = {
        "summary": f"{summary} in {{{{ $labels.{_SERVICE} }}}}",
        "description": "It is {{ $value }}.",
    }
    return alert


def expression(rule: MetricRule) -> str:
    """The rule's condition in PromQL. Two rules of one name differ in severity, and both may hold."""
    limit, window = _number(rule.limit), _duration(rule.window)
    if rule.form == "level":
        return f"{prometheus_names.selector(rule.series)} > {limit}"
    if rule.form == "increase":
        return f"{_grown(rule.series, window)} > {limit}"
    if rule.form == "ratio" and rule.of is not None:
        figure = f"{_grown(rule.series, window)} / {_grown(rule.of, window)} > {limit}"
        return figure + _enough(rule, _grown(rule.of, window))
    buckets = prometheus_names.selector(rule.series, "_bucket")
    summed = f"sum by ({_SERVICE}, le) (rate({buckets}[{window}]))"
    figure = f"histogram_quantile({_number(rule.quantile or 0)}, {summed}) > {limit}"
    return figure + _enough(rule, _grown(rule.series, window, "_count"))


def _grown(series: Series, window: str, suffix: str = "") -> str:
    return f"sum by ({_SERVICE}) (increase({prometheus_names.selector(series, suffix)}[{window}]))"


def _enough(rule: MetricRule, counted: str) -> str:
    return f" and {counted} >= {rule.minimum}" if rule.minimum else ""


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(value)


def _duration(nanoseconds: int) -> str:
    # Prometheus knows no unit below the millisecond; a shorter window would not hold two scrapes anyway.
    milliseconds = -(-nanoseconds // 1_000_000)
    for unit, size in (("h", 3_600_000), ("m", 60_000), ("s", 1_000)):
        if milliseconds and milliseconds % size == 0:
            return f"{milliseconds // size}{unit}"
    return f"{milliseconds}ms"


def _literal(text: str) -> str:
    """Text in an annotation, which Prometheus reads as a template of Go's."""
    return text.replace("{{", '{{"{{"}}')
