"""``increase``: how much a counter grew over a window. ``warning: 5/h`` says the window too."""

from __future__ import annotations

from typing import Any

from spanwise.rules.alerting import SEVERITIES
from spanwise.rules.model import MetricRule
from spanwise.thresholds import units
from spanwise.thresholds.kinds.common import LIMITS, limits, read_selector, series
from spanwise.thresholds.model import Entry, Field, Kind

__all__ = ["KIND"]


def _window(entry: Entry) -> int:
    said: dict[str, int] = {
        key: entry.values[key].per for key in SEVERITIES if key in entry.values and entry.values[key].per
    }
    if "over" in entry.values:
        said["over"] = entry.values["over"]
    if not said:
        raise entry.error("increase", "no window is given", "Add over: 1h, or write the limit as 5/h")
    if len(set(said.values())) > 1:
        raise entry.error(next(iter(said)), "two windows are given", "Say the same in each place")
    return next(iter(said.values()))


def _lower(entry: Entry) -> tuple[MetricRule, ...]:
    of = series(entry, "increase", entry.values["increase"], "counter")
    window = _window(entry)
    plain: dict[str, Any] = {
        key: each._replace(per=0) if isinstance(each, units.Quantity) else each
        for key, each in entry.values.items()
    }
    bare = Entry(entry.name, entry.kind, plain, entry.places, entry.place)
    return tuple(
        MetricRule(
            entry.name, "increase", of, limit, severity, window=window, hold=entry.values.get("for", 0)
        )
        for severity, limit in limits(bare, of.unit)
    )


KIND = Kind(
    name="increase",
    section="metrics",
    key="increase",
    fields={
        "increase": Field(read_selector, required=True, meaning="the counter whose growth is watched"),
        "over": Field(units.duration, meaning="the window"),
        **{key: each for key, each in LIMITS.items() if key != "minimum"},
    },
    lower=_lower,
)
