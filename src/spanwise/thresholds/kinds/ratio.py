"""``ratio``: one counter's growth over another's, over a window."""

from __future__ import annotations

import re

from spanwise.rules.alerting import SEVERITIES
from spanwise.rules.model import MetricRule
from spanwise.thresholds import units
from spanwise.thresholds.document import Node
from spanwise.thresholds.kinds.common import LIMITS, Selector, limits, read_selector, series
from spanwise.thresholds.model import Entry, Field, Kind
from spanwise.thresholds.shapes import shape

__all__ = ["KIND"]

# A metric's name may hold a slash, and a label's value anything: the division has blanks around it,
# and what stands in quotes is passed over.
_PARTS = re.compile(r"((?:[^\"]|\"(?:[^\"\\]|\\.)*\")+?)\s+/\s+(.+)", re.DOTALL)


@shape(type="string", pattern=r"\s/\s", examples=["preload.events{outcome=failure} / preload.events"])
def _read(node: Node) -> tuple[Selector, Selector]:
    text = node.text("a ratio such as errors / requests")
    parts = _PARTS.fullmatch(text)
    if parts is None:
        raise node.error(
            f"{text[:80]!r} is no ratio", "Write it as 'one / other', with blanks around the slash"
        )
    return read_selector(node, parts[1]), read_selector(node, parts[2])


def _lower(entry: Entry) -> tuple[MetricRule, ...]:
    above, below = (series(entry, "ratio", each, "counter") for each in entry.values["ratio"])
    for key in SEVERITIES:
        said = entry.values.get(key)
        if said is not None and said.number > 1 and not said.unit:
            raise entry.error(
                key, f"{entry.written[key]} is more than the whole", f"Did you mean {entry.written[key]}%?"
            )
    found = []
    for severity, limit in limits(entry, "1"):
        found.append(
            MetricRule(
                entry.name,
                "ratio",
                above,
                limit,
                severity,
                of=below,
                window=entry.values["over"],
                hold=entry.values.get("for", 0),
                minimum=entry.values.get("minimum", 0),
            )
        )
    return tuple(found)


KIND = Kind(
    name="ratio",
    section="metrics",
    key="ratio",
    fields={
        "ratio": Field(_read, required=True, meaning="two counters, as 'one / other'"),
        "over": Field(units.duration, required=True, meaning="the window"),
        **{key: each for key, each in LIMITS.items() if key != "unit"},
        "unit": Field(LIMITS["unit"].read, meaning="the unit of both counters"),
    },
    lower=_lower,
)
