"""The sections of the file that are not lists of entries: alerts, sampling."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

from spanwise.rules.alerting import Alerting
from spanwise.rules.model import RATINGS, History, Rule, Sampling
from spanwise.thresholds import units
from spanwise.thresholds.document import Node, suggestion
from spanwise.thresholds.handlers import read_handlers, written_handlers
from spanwise.thresholds.model import Entry, Field
from spanwise.thresholds.shapes import shape, shape_of

__all__ = ["SECTIONS", "SINGLE", "TOP_LEVEL", "Single"]

SECTIONS: Final = ("spans", "metrics", "objectives", "gate", "alerts", "sampling", "history", "settings")
"""What a file and each of its profiles may hold."""

TOP_LEVEL: Final = ("version", "profile", "profiles", *SECTIONS)


_KEPT: Final = ("error", *RATINGS[1:])


@shape(type="array", items={"enum": list(_KEPT)})
def _keep(node: Node) -> tuple[str, ...]:
    for each in node.sequence("a list such as [error, poor, critical]"):
        word = each.text("a word")
        if word not in _KEPT:
            raise each.error(f"traces cannot be kept for {word!r}", suggestion(word, _KEPT))
    # In one order, so that another writing gives the same files.
    said = units.words(node)
    return tuple(word for word in _KEPT if word in said)


@shape(**shape_of(units.share))
def _percentage(node: Node) -> float:
    return round(units.share(node) * 100, 9)


@shape(**shape_of(units.duration))
def _interval(node: Node) -> int:
    interval = units.duration(node)
    if interval < 1_000_000_000:
        raise node.error(f"{node.value!r} is shorter than a second, which is too often")
    return interval


# Memory is in proportion: at the shipped 1,000 it is 8 MB at most.
_MOST_SAMPLES: Final = 10_000


@shape(type="integer", minimum=0, maximum=_MOST_SAMPLES)
def _samples(node: Node) -> int:
    samples = units.count(node)
    if samples > _MOST_SAMPLES:
        raise node.error(f"{samples} samples would take too much memory", f"Keep {_MOST_SAMPLES} at most")
    return samples


class Single(NamedTuple):
    """A section that is one entry.

    Attributes:
        fields: its fields, by key.
        lower: makes its neutral rule.
    """

    fields: Mapping[str, Field]
    lower: Callable[[Entry], Rule]


def _alerting(entry: Entry) -> Alerting:
    if entry.values["repeat"] < entry.values["throttle"]:
        raise entry.error("repeat", "an alert cannot be repeated within its throttle", "Give a longer repeat")
    return Alerting(**entry.values)


SINGLE: Final[Mapping[str, Single]] = {
    "alerts": Single(
        {
            "throttle": Field(
                units.duration, required=True, meaning="an alert that changes is not told again within it"
            ),
            "repeat": Field(
                units.duration, required=True, meaning="an alert that goes on is told again after it"
            ),
            "handlers": Field(
                read_handlers,
                required=True,
                meaning="who is told, and of which severities",
                written=written_handlers,
            ),
        },
        _alerting,
    ),
    "sampling": Single(
        {
            "keep": Field(_keep, required=True, meaning="a trace with such a span is kept"),
            "baseline": Field(
                _percentage, required=True, meaning="the share of all other traces that is kept"
            ),
            "decision_wait": Field(
                units.duration, required=True, meaning="from a trace's first span to the decision about it"
            ),
        },
        lambda entry: Sampling(**entry.values),
    ),
    "history": Single(
        {
            "interval": Field(_interval, required=True, meaning="from one sample of the metrics to the next"),
            "samples": Field(
                _samples, required=True, meaning="how many are kept; 0 keeps none and takes none"
            ),
        },
        lambda entry: History(**entry.values),
    ),
}
"""By the section's name."""
