"""What the metric kinds share: naming a series, its unit, and the two limits."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import Final, Literal

from spanwise import names
from spanwise.rules.alerting import SEVERITIES, Severity
from spanwise.rules.labels import label as prometheus_label
from spanwise.rules.model import Series
from spanwise.thresholds import units
from spanwise.thresholds.document import Node
from spanwise.thresholds.model import Entry, Field
from spanwise.thresholds.shapes import shape

__all__ = ["LIMITS", "limit_in", "limits", "read_selector", "series"]

Selector = tuple[str, tuple[tuple[str, str], ...]]

_KNOWN: Final = {each.name: each for each in vars(names).values() if isinstance(each, names.Metric)}
"""The metrics that spanwise knows. Of others an entry says the ``unit:``."""


@shape(anyOf=[{"type": "string", "pattern": "^[!-~]{1,64}$"}, {"type": "number"}], examples=["By", "s", "1"])
def _unit(node: Node) -> str:
    text = node.text("a UCUM unit such as By, s, 1 or {request}")
    # UCUM is printable ASCII without blanks (https://ucum.org/ucum, 2.1).
    if not re.fullmatch(r"[!-~]{1,64}", text):
        raise node.error(f"{text[:60]!r} is no UCUM unit")
    return text


LIMITS: Final = {
    "unit": Field(_unit, meaning="the metric's UCUM unit, where spanwise does not know the metric"),
    "info": Field(units.quantity, meaning="above it, an alert of severity info"),
    "warning": Field(units.quantity, meaning="above it, an alert of severity warning"),
    "critical": Field(units.quantity, meaning="above it, an alert of severity critical"),
    "for": Field(units.duration, meaning="how long the limit must be passed before the alert fires"),
    "minimum": Field(units.count, meaning="measurements in the window below which nothing is said"),
}
"""The fields that every metric kind has."""

_METRIC = r"[A-Za-z][A-Za-z0-9_./-]{0,254}"  # the specification's instrument name syntax
_SELECTOR = re.compile(rf"\s*(?P<metric>{_METRIC})\s*(?:\{{(?P<labels>.*)\}})?\s*", re.DOTALL)
_LABEL = re.compile(
    r"\s*(?P<key>[^\s=,{}\"]+)\s*=\s*(?:\"(?P<quoted>(?:[^\"\\]|\\[\"\\])*)\"|(?P<bare>[^\s,{}\"]+))\s*(?:,|$)"
)
_BUCKET: Final = "le"  # a histogram's


@shape(type="string", examples=["queue.length", "preload.events{outcome=failure}"])
def read_selector(node: Node, text: str | None = None) -> Selector:
    """Reads ``metric`` or ``metric{key=value,key="any text"}``.

    Raises:
        ThresholdsError: it is neither, names a label twice, or one that Prometheus cannot select by.
    """
    text = node.text("a metric such as preload.events{outcome=failure}") if text is None else text
    found = _SELECTOR.fullmatch(text)
    if found is None:
        raise node.error(f"{text.strip()[:80]!r} is no metric", "Write it as name or name{key=value}")
    labels: dict[str, str] = {}
    inside, position = found["labels"] or "", 0
    while inside[position:].strip():
        label = _LABEL.match(inside, position)
        if label is None or label["key"] in labels:
            raise node.error(
                f"cannot read the labels of {found['metric']} at {inside[position:].strip()[:40]!r}",
                'Write each once, as key=value or key="any text"',
            )
        _usable(node, label["key"], labels)
        quoted = label["quoted"]
        labels[label["key"]] = label["bare"] if quoted is None else re.sub(r"\\(.)", r"\1", quoted)
        position = label.end()
    return found["metric"], tuple(sorted(labels.items()))


def _usable(node: Node, key: str, others: Iterable[str]) -> None:
    # Prometheus refuses the whole file of rules, and with it all alerts, for one selector it cannot read.
    name = prometheus_label(key)
    if name == _BUCKET or name.startswith("__"):
        raise node.error(
            f"{key[:60]!r} cannot be selected by: it is {name[:60]} to Prometheus, which is its own",
            "Leave it out, or give the attribute another name",
        )
    for other in others:
        if prometheus_label(other) == name:
            raise node.error(
                f"{other[:60]!r} and {key[:60]!r} are the same to Prometheus: {name[:60]}", "Leave one out"
            )


def series(
    entry: Entry, key: str, selector: Selector, instrument: Literal["gauge", "counter", "histogram"]
) -> Series:
    """The series with its unit, from ``unit:`` or from what is known of the metric.

    Raises:
        ThresholdsError: neither says the unit, or the metric is known to be made by something else.
    """
    metric, labels = selector
    known = _KNOWN.get(metric)
    if known and (known.kind if known.kind != "updowncounter" else "gauge") != instrument:
        raise entry.error(
            key, f"{metric} is a {known.kind}, and this needs a {instrument}", f"Give another {instrument}"
        )
    unit = entry.values.get("unit", known.unit if known else None)
    if unit is None:
        raise entry.error(
            key, f"the unit of {metric} is not known, and Prometheus's name needs it", "Add unit: By, s, 1, …"
        )
    return Series(
        metric, unit, "updowncounter" if known and known.kind == "updowncounter" else instrument, labels
    )


def limit_in(entry: Entry, key: str, unit: str) -> float:
    """The limit that a field holds, in the unit.

    Raises:
        ThresholdsError: it has another unit.
    """
    limit: units.Quantity = entry.values[key]
    wanted = "%" if unit == "1" else unit
    if limit.per or (limit.unit and limit.unit != wanted):
        raise entry.error(key, f"{key} is in another unit than the figure, which is in {unit!r}")
    return limit.number


def limits(entry: Entry, unit: str) -> Iterator[tuple[Severity, float]]:
    """The limits that are given, worst first, in the unit.

    Raises:
        ThresholdsError: none is given, one has another unit, or a milder one is above a worse one.
    """
    found: dict[Severity, float] = {}
    for severity in SEVERITIES:
        if severity in entry.values:
            found[severity] = limit_in(entry, severity, unit)
    if not found:
        raise entry.error("", "none of info, warning and critical is given", "Add one, or remove the entry")
    for worse, milder in pairwise(found):
        if found[milder] > found[worse]:
            raise entry.error(
                "",
                f"{entry.said(milder)} is above {entry.said(worse)}",
                f"Give {milder} a lower limit, or {worse} a higher one",
            )
    yield from found.items()
