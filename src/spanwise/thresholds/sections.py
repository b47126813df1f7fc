"""The sections of the file that are not lists of rules: objectives, alerts, sampling."""

from __future__ import annotations

from typing import Final

from spanwise.rules.model import RATINGS
from spanwise.thresholds import units
from spanwise.thresholds.document import Node, suggestion
from spanwise.thresholds.model import Field

__all__ = ["ALERTS", "HISTORY", "OBJECTIVE", "SAMPLING", "SECTIONS", "TOP_LEVEL"]

SECTIONS: Final = ("spans", "metrics", "objectives", "alerts", "sampling", "history", "settings")
"""What a file and each of its profiles may hold."""

TOP_LEVEL: Final = ("version", "profile", "profiles", *SECTIONS)


def _keep(node: Node) -> tuple[str, ...]:
    known = ("error", *RATINGS[1:])
    for each in node.sequence("a list such as [error, poor, critical]"):
        word = each.text("a word")
        if word not in known:
            raise each.error(f"traces cannot be kept for {word!r}", suggestion(word, known))
    # In one order, so that another writing gives the same files.
    said = units.words(node)
    return tuple(word for word in known if word in said)


def _interval(node: Node) -> int:
    interval = units.duration(node)
    if interval < 1_000_000_000:
        raise node.error(f"{node.value!r} is shorter than a second, which is too often")
    return interval


def _samples(node: Node) -> int:
    samples = units.count(node)
    # Memory is in proportion: at the shipped 1,000 it is 8 MB at most.
    if samples > 10_000:
        raise node.error(f"{samples} samples would take too much memory", "Keep 10000 at most")
    return samples


def _percentage(node: Node) -> float:
    return round(units.share(node) * 100, 9)


OBJECTIVE: Final = {
    "good": Field(units.share, required=True, meaning="the share that is to be good"),
    "over": Field(units.duration, required=True, meaning="the window"),
}
ALERTS: Final = {
    "throttle": Field(units.duration, meaning="an alert is not told again within it"),
    "handlers": Field(units.words, meaning="who is told"),
}
SAMPLING: Final = {
    "keep": Field(_keep, required=True, meaning="a trace with such a span is kept"),
    "baseline": Field(_percentage, required=True, meaning="the share of all other traces that is kept"),
    "decision_wait": Field(
        units.duration, required=True, meaning="from a trace's first span to the decision about it"
    ),
}
HISTORY: Final = {
    "interval": Field(_interval, required=True, meaning="from one sample of the metrics to the next"),
    "samples": Field(_samples, required=True, meaning="how many are kept; 0 keeps none and takes none"),
}
