"""``gate:`` entries: what rolls a deployment back. Each is about an entry of ``metrics:``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from spanwise.rules.alerting import SEVERITIES
from spanwise.rules.model import MetricRule, Rule, Trigger
from spanwise.thresholds import units
from spanwise.thresholds.document import Node, suggestion
from spanwise.thresholds.kinds.common import limit_in
from spanwise.thresholds.model import Entry, Field, Kind
from spanwise.thresholds.shapes import shape

__all__ = ["KIND"]


@shape(type="string")
def _name(node: Node) -> str:
    return node.text("the name of an entry of metrics:")


def _relate(entry: Entry, rules: Sequence[Rule]) -> tuple[Trigger, ...]:
    metric = entry.values.get("metric", entry.name)
    about = [rule for rule in rules if isinstance(rule, MetricRule) and rule.name == metric]
    if not about:
        known = {rule.name for rule in rules if isinstance(rule, MetricRule)}
        key = "metric" if "metric" in entry.values else ""
        raise entry.error(key, f"no entry of metrics: is {metric!r}", suggestion(metric, known))
    # Without a limit of its own: the worst that the metric has.
    rule = min(about, key=lambda each: SEVERITIES.index(each.severity))
    own: dict[str, Any] = {}
    if "limit" in entry.values:
        ratio = rule.form == "ratio"
        own["limit"] = limit_in(entry, "limit", rule.unit)
        if ratio and own["limit"] > 1:
            raise entry.error("limit", f"{entry.written['limit']} is more than the whole", "Write it as 20%")
    if "for" in entry.values:
        own["hold"] = entry.values["for"]
    if "over" in entry.values:
        if not rule.window:
            raise entry.error("over", f"{metric} is a level, which has no window", "Use for:")
        own["window"] = entry.values["over"]
    if "minimum" in entry.values:
        if rule.form in ("level", "increase"):
            raise entry.error("minimum", f"{metric} counts no measurements", "Remove it")
        own["minimum"] = entry.values["minimum"]
    return (Trigger(entry.name, replace(rule, name=entry.name, severity="critical", **own)),)


KIND = Kind(
    name="trigger",
    section="gate",
    key="",
    fields={
        "metric": Field(_name, meaning="the entry of metrics: it is about; else the one of its own name"),
        "limit": Field(units.quantity, meaning="above it, roll back; else the metric's worst limit"),
        "for": Field(units.duration, meaning="how long the limit must be passed"),
        "over": Field(units.duration, meaning="the window, in place of the metric's"),
        "minimum": Field(units.count, meaning="measurements in the window below which it cannot tell"),
    },
    lower=lambda _entry: (),
    relate=_relate,
)
