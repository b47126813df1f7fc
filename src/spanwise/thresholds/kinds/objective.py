"""``objectives:`` entries: a share of a span rule's spans is to be good over a long window.

The alerts are those of the SRE workbook (https://sre.google/workbook/alerting-on-slos/, table 5-8): the
budget is used up too quickly over a long window, and a short one shows that this goes on. Its windows are
for 30 days; for another period they grow and shrink with it, in whole minutes, and the factors stay.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Final

from spanwise import names
from spanwise.rules.alerting import Severity
from spanwise.rules.model import Burn, Objective, Series
from spanwise.thresholds import units
from spanwise.thresholds.document import Node
from spanwise.thresholds.model import Entry, Field, Kind
from spanwise.thresholds.shapes import shape

__all__ = ["KIND"]

_MINUTE: Final = 60_000_000_000
_DAY: Final = 1440 * _MINUTE

# (long, short, factor, severity): of 30 days' budget, 2 % in an hour, 5 % in six, 10 % in a day or in three.
_WORKBOOK: Final[tuple[tuple[int, int, str, Severity], ...]] = (
    (60 * _MINUTE, 5 * _MINUTE, "14.4", "critical"),
    (6 * 60 * _MINUTE, 30 * _MINUTE, "6", "critical"),
    (_DAY, 2 * 60 * _MINUTE, "3", "warning"),
    (3 * _DAY, 6 * 60 * _MINUTE, "1", "warning"),
)
_PERIOD: Final = 30 * _DAY


@shape(type="string")
def _name(node: Node) -> str:
    return node.text("a span rule's name")


def _scaled(window: int, period: int) -> int:
    # Up to a whole minute: a window must hold some scrapes.
    return -(-window * period // (_PERIOD * _MINUTE)) * _MINUTE


def _lower(entry: Entry) -> tuple[Objective, ...]:
    good, period = entry.values["good"], entry.values["over"]
    # 0.999 is no binary fraction: the rest is what the decimals say.
    budget = 1 - Decimal(repr(good))
    if not 0 < budget < 1:
        raise entry.error(
            "good", f"{entry.written['good']} leaves nothing to decide", "Give a share between 0 % and 100 %"
        )
    if period < _DAY:
        raise entry.error("over", "an objective is about a day at least", "Write it as 30d")
    burns = tuple(
        Burn(_scaled(long, period), _scaled(short, period), factor, float(Decimal(factor) * budget), severity)
        for long, short, factor, severity in _WORKBOOK
        # A share beyond the whole is never seen: with such a budget a slower burn is the first sign.
        if Decimal(factor) * budget < 1
    )
    rule = entry.values.get("spans", entry.name)
    calls = names.SPAN_METRICS_CALLS
    total = Series(calls.name, calls.unit, "counter", ((names.OBJECTIVE, rule),))
    missed = Series(calls.name, calls.unit, "counter", (*total.labels, (names.OBJECTIVE_MET, "false")))
    minimum = entry.values.get("minimum", 0)
    return (Objective(entry.name, rule, good, float(budget), period, total, missed, burns, minimum),)


KIND = Kind(
    name="objective",
    section="objectives",
    key="",
    fields={
        "good": Field(
            units.share, required=True, meaning="the share of spans that is to be good or acceptable"
        ),
        "over": Field(units.duration, required=True, meaning="the period over which it is, for example 30d"),
        "spans": Field(_name, meaning="the span rule whose spans it is about; else the one of its own name"),
        "minimum": Field(units.count, meaning="spans in the long window below which nothing is said"),
    },
    lower=_lower,
)
