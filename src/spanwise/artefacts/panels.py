"""What the dashboards show: the panels of panels.yaml, and what the rules add to them, in plain terms.

Text of the thresholds file is data here too: Grafana would put a variable's value for ``$service`` or
``[[service]]``, and a label's for ``{{x}}``, so that these are taken apart.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from importlib import resources
from typing import Any, Final

import yaml

from spanwise.artefacts import prometheus_names, promql
from spanwise.artefacts.ottl import string
from spanwise.rules.model import MetricRule, Objective, Rule, Series, SpanRule

__all__ = ["Board", "Line", "Panel", "Query", "Row", "boards", "shipped"]

_FILE: Final = "panels.yaml"
_RATE: Final = "$__rate_interval"
_SERVICE: Final = f'{promql.SERVICE}=~"$service"'
_QUANTILES: Final = (0.5, 0.95, 0.99)
_COLORS: Final = {
    "info": "blue",
    "warning": "orange",
    "critical": "red",
    "good": "green",
    "acceptable": "orange",
    "poor": "red",
}


@dataclass(frozen=True)
class Query:
    """One query of a panel: PromQL with Grafana's variables, and how its series are named."""

    expr: str
    legend: str = ""


@dataclass(frozen=True, order=True)
class Line:
    """A limit, drawn in a colour."""

    value: float
    color: str


@dataclass(frozen=True)
class Panel:
    """One panel.

    Attributes:
        title, description: for the reader.
        type: ``timeseries``, ``stat``, ``graph`` (of nodes) or ``table``.
        unit: Grafana's.
        width, height: in Grafana's grid of 24 columns.
        queries: what is drawn.
        lines: the limits that are drawn, lowest first.
        stacked: series stand on each other.
        exemplars: points lead to single traces.
    """

    title: str
    description: str
    type: str
    unit: str
    width: int
    height: int
    queries: tuple[Query, ...]
    lines: tuple[Line, ...] = ()
    stacked: bool = False
    exemplars: bool = False


@dataclass(frozen=True)
class Row:
    """A titled row of panels."""

    title: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True)
class Board:
    """A dashboard."""

    uid: str
    title: str
    rows: tuple[Row, ...]


@cache
def shipped() -> tuple[dict[str, Any], ...]:
    """The dashboards of panels.yaml as they are written."""
    text = resources.files("spanwise.artefacts").joinpath(_FILE).read_text(encoding="utf-8")
    return tuple(yaml.safe_load(text)["dashboards"])


def boards(rules: tuple[Rule, ...]) -> tuple[Board, ...]:
    """The dashboards, with the rules' limits drawn."""
    drawn: set[MetricRule] = set()
    made = []
    for board in shipped():
        rows = []
        for row in board["rows"]:
            if "objectives" in row:
                panels = tuple(_objectives(rules))
            elif "thresholds" in row:
                panels = tuple(_left_over(rules, drawn))
            else:
                panels = tuple(_panel(said, rules, drawn) for said in row["panels"])
            if panels:
                rows.append(Row(row["title"], panels))
        made.append(Board(board["uid"], board["title"], tuple(rows)))
    return tuple(made)


def _panel(said: Mapping[str, Any], rules: tuple[Rule, ...], drawn: set[MetricRule]) -> Panel:
    kind = said.get("type", "timeseries")
    lines = {
        line
        for rule in rules
        if isinstance(rule, SpanRule) and rule.name == said.get("rating")
        for line in _edges(rule)
    }
    for rule in rules:
        if isinstance(rule, MetricRule) and _is_about(said, rule):
            drawn.add(rule)
            lines.add(Line(rule.limit, _COLORS[rule.severity]))
    return Panel(
        said["title"],
        said["description"],
        kind,
        said.get("unit", "short"),
        said.get("width", 12),
        said.get("height", 4 if kind == "stat" else 8),
        tuple(_queries(said)),
        tuple(sorted(lines)),
        said.get("stacked", False),
        said.get("exemplars", False),
    )


def _is_about(said: Mapping[str, Any], rule: MetricRule) -> bool:
    if set(said) & {"has", "lacks", "among"}:
        return False
    if rule.form == "level" and "level" in said:
        return _same(said["level"], said, "labels", rule.series)
    if rule.form == "quantile" and "quantiles" in said:
        return _same(said["quantiles"], said, "labels", rule.series) and rule.quantile in said.get(
            "at", _QUANTILES
        )
    if rule.form == "ratio" and "share" in said and rule.of is not None:
        above = _same(said["share"], said, "labels", rule.series)
        return above and _same(said["of"], said, "of_labels", rule.of)
    return False


def _same(metric: Mapping[str, str], said: Mapping[str, Any], labels: str, series: Series) -> bool:
    return metric["name"] == series.metric and said.get(labels, {}) == dict(series.labels)


def _edges(rule: SpanRule) -> Iterator[Line]:
    for rating, edge in (("good", rule.good), ("acceptable", rule.acceptable), ("poor", rule.poor)):
        yield Line(edge / 1_000_000_000, _COLORS[rating])


def _queries(said: Mapping[str, Any]) -> Iterator[Query]:
    by = [prometheus_names.label(key) for key in said.get("by", ())]
    split = f" by ({', '.join(by)})" if by else ""
    legend = " ".join(f"{{{{{label}}}}}" for label in by)
    if "exprs" in said:
        for name, expr in said["exprs"].items():
            yield Query(expr, name)
    elif "rate" in said:
        yield Query(f"sum{split} (rate({_selector(said['rate'], said)}[{_RATE}]))", legend)
    elif "level" in said:
        yield Query(f"{said.get('how', 'sum')}{split} ({_selector(said['level'], said)})", legend)
    elif "share" in said:
        above = f"sum{split} (rate({_selector(said['share'], said)}[{_RATE}]))"
        below = f"sum{split} (rate({_selector(said['of'], {'labels': said.get('of_labels', {})})}[{_RATE}]))"
        # Without any failure there is no such series, and the share is nought.
        yield Query(f"({above} or 0 * {below}) / {below}", legend)
    else:
        edges = ", ".join(["le", *by])
        buckets = f"sum by ({edges}) (rate({_selector(said['quantiles'], said, '_bucket')}[{_RATE}]))"
        at = said.get("at", _QUANTILES)
        for each in at:
            name = f"p{each * 100:g}"
            yield Query(
                f"histogram_quantile({each:g}, {buckets})",
                legend if len(at) == 1 and legend else f"{name} {legend}".strip(),
            )


def _selector(metric: Mapping[str, str], said: Mapping[str, Any], suffix: str = "") -> str:
    name = prometheus_names.metric(Series(metric["name"], metric["unit"], metric["kind"]))  # type: ignore[arg-type]
    label = prometheus_names.label
    matchers = [
        _SERVICE,
        *(f"{label(key)}={string(value)}" for key, value in said.get("labels", {}).items()),
        *(f'{label(key)}!=""' for key in said.get("has", ())),
        *(f'{label(key)}=""' for key in said.get("lacks", ())),
        *(f"{label(key)}=~{string('|'.join(values))}" for key, values in said.get("among", {}).items()),
    ]
    return f"{name}{suffix}{{{', '.join(matchers)}}}"


def _objectives(rules: tuple[Rule, ...]) -> Iterator[Panel]:
    found = sorted((rule for rule in rules if isinstance(rule, Objective)), key=lambda rule: rule.name)
    if not found:
        return
    by = f"{{{{{promql.OBJECTIVE}}}}} {{{{{promql.SERVICE}}}}}"
    left = Query(f"{promql.REMAINING}{{{_SERVICE}}}", by)
    said = "What is left of each objective's budget: below nought, the objective is missed."
    yield Panel("Budget left", said, "timeseries", "percentunit", 12, 8, (left,), (Line(0.0, "red"),))
    for rule in found:
        mine = f"{_SERVICE}, {promql.OBJECTIVE}={_in_expr(string(rule.name))}"
        queries = tuple(
            Query(
                f"{promql.ratio_name(burn.long)}{{{mine}}}",
                f"{promql.duration(burn.long)} {{{{{promql.SERVICE}}}}}",
            )
            for burn in rule.burns
        )
        lines = tuple(sorted(Line(burn.limit, _COLORS[burn.severity]) for burn in rule.burns))
        aim = f"{rule.good * 100:.10g} % of {rule.rule} are to be good over {promql.duration(rule.window)}."
        title, said = f"Missed: {rule.name}", f"Share that missed it, over each window that alerts. {aim}"
        yield Panel(_text(title), _text(said), "timeseries", "percentunit", 12, 8, queries, lines)


def _left_over(rules: tuple[Rule, ...], drawn: set[MetricRule]) -> Iterator[Panel]:
    """A panel for each figure that has a limit and no panel."""
    panels: dict[tuple[str, str], Panel] = {}
    rest = [rule for rule in rules if isinstance(rule, MetricRule) and rule not in drawn]
    for rule in sorted(rest, key=lambda rule: (rule.name, rule.severity)):
        figure = promql.figure(rule)
        line = Line(rule.limit, _COLORS[rule.severity])
        if (rule.name, figure) in panels:
            before = panels[rule.name, figure]
            panels[rule.name, figure] = replace(before, lines=tuple(sorted((*before.lines, line))))
            continue
        over = f", over {promql.duration(rule.window)}" if rule.window else ""
        said = f"The {rule.form} that the rule watches{over}: {rule.series.metric}."
        query = Query(_in_expr(figure), f"{{{{{promql.SERVICE}}}}}")
        panels[rule.name, figure] = Panel(
            _text(rule.name), _text(said), "timeseries", _unit(rule), 12, 8, (query,), (line,)
        )
    yield from panels.values()


def _unit(rule: MetricRule) -> str:
    if rule.form == "ratio" or (rule.series.unit == "1" and rule.form != "increase"):
        return "percentunit"
    return {"By": "bytes", "s": "s", "ms": "ms"}.get(rule.series.unit, "short")


# Zero-width, breaks no line: the reader sees the text as it was written, and Grafana no variable.
_APART: Final = "\u2060"


def _text(text: str) -> str:
    """Text that Grafana shows as it is."""
    return text.replace("$", f"${_APART}").replace("[[", f"[{_APART}[").replace("{{", f"{{{_APART}{{")


def _in_expr(expr: str) -> str:
    """PromQL without variables, in which ``$`` and ``[[`` stand in string literals only."""
    return expr.replace("$", "\\x24").replace("[[", "[\\x5b")
