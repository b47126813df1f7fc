"""``quantile``: a histogram's quantile over a window, against a limit."""

from __future__ import annotations

from spanwise.rules.model import MetricRule
from spanwise.thresholds import units
from spanwise.thresholds.kinds.common import LIMITS, limits, read_selector, series
from spanwise.thresholds.model import Entry, Field, Kind

__all__ = ["KIND"]


def _lower(entry: Entry) -> tuple[MetricRule, ...]:
    of = series(entry, "of", entry.values["of"], "histogram")
    if not entry.values["quantile"]:
        raise entry.error("quantile", "the quantile 0 is above no limit", "Give for example 0.95")
    return tuple(
        MetricRule(
            entry.name,
            "quantile",
            of,
            limit,
            severity,
            quantile=entry.values["quantile"],
            window=entry.values["over"],
            hold=entry.values.get("for", 0),
            minimum=entry.values.get("minimum", 0),
        )
        for severity, limit in limits(entry, of.unit)
    )


KIND = Kind(
    name="quantile",
    section="metrics",
    key="quantile",
    fields={
        "quantile": Field(units.share, required=True, meaning="for example 0.95 or 95%"),
        "of": Field(read_selector, required=True, meaning="the histogram"),
        "over": Field(units.duration, required=True, meaning="the window"),
        **LIMITS,
    },
    lower=_lower,
)
