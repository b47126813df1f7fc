"""``level``: a gauge's or up-down counter's value against a limit, at any moment."""

from __future__ import annotations

from spanwise.rules.model import MetricRule
from spanwise.thresholds.kinds.common import LIMITS, limits, read_selector, series
from spanwise.thresholds.model import Entry, Field, Kind

__all__ = ["KIND"]


def _lower(entry: Entry) -> tuple[MetricRule, ...]:
    of = series(entry, "level", entry.values["level"], "gauge")
    return tuple(
        MetricRule(entry.name, "level", of, limit, severity, hold=entry.values.get("for", 0))
        for severity, limit in limits(entry, of.unit)
    )


KIND = Kind(
    name="level",
    section="metrics",
    key="level",
    fields={
        "level": Field(read_selector, required=True, meaning="the metric whose value is watched"),
        **{key: each for key, each in LIMITS.items() if key != "minimum"},
    },
    lower=_lower,
)
