"""Each kind of entry reaches each consumer that it is for, and a new kind or artefact is one thing added."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from spanwise import names
from spanwise.artefacts.panels import boards, shipped
from spanwise.artefacts.table import ARTEFACTS
from spanwise.commands.generate import generate
from spanwise.gate.questions import Scope, questions
from spanwise.rating.lowered import candidates
from spanwise.rules.model import MetricRule, Rule, Series
from spanwise.thresholds import units
from spanwise.thresholds.kinds.common import LIMITS, limits, read_selector, series
from spanwise.thresholds.kinds.table import KINDS
from spanwise.thresholds.load import load, read
from spanwise.thresholds.model import Entry, Field, Kind
from spanwise.thresholds.shapes import shape

RULES, TESTS, GATEWAY = "prometheus/rules/spanwise.yaml", "prometheus/tests/spanwise.yaml", "gateway.yaml"
OVERVIEW, INSIDE = "grafana/spanwise.json", "grafana/spanwise-application.json"
PROCESS, GATE = "the process", "spanwise gate"
ON_METRICS = {RULES, TESTS, INSIDE, GATE}
# What each kind must reach. A kind that is not here fails: say what its consumers are.
REACHES = {
    "span_rating": {PROCESS, GATEWAY, OVERVIEW, INSIDE},
    "level": ON_METRICS,
    "ratio": ON_METRICS,
    "increase": ON_METRICS,
    "quantile": {*ON_METRICS, GATEWAY},  # its limit is an edge of the span metrics' buckets
    "objective": {GATEWAY, RULES, TESTS, OVERVIEW, GATE},
    "trigger": {GATE},
}
# Names that the dashboards draw, so that a span rating's lines are seen.
EXAMPLES = {
    "span_rating": "spans: {http.server: {good: 41ms, acceptable: 42ms, poor: 43ms}, preload: {good: 41ms}}",
    "level": "metrics: {new: {level: new, unit: s, warning: 41s}}",
    "ratio": "metrics: {new: {ratio: 'new / other', unit: '1', over: 5m, warning: 41%}}",
    "increase": "metrics: {new: {increase: new, unit: '1', over: 5m, warning: 41}}",
    "quantile": "metrics: {new: {quantile: 0.5, of: new, unit: s, over: 5m, warning: 41s}}",
    "objective": "objectives: {http.server: {good: 41%, over: 30d}}",
    "trigger": "gate: {new: {metric: memory, limit: 41MB}}",
}
needs_grafana = pytest.mark.skipif(sys.version_info < (3, 11), reason="Grafana's model needs Python 3.11")


@needs_grafana
@pytest.mark.parametrize("kind", sorted(KINDS))
def test_a_kind_reaches_its_consumers(kind: str) -> None:
    with_it, without = read(f"version: 1\n{EXAMPLES[kind]}").rules, load().rules
    reached = {name for name, make in ARTEFACTS.items() if bare(make(with_it)) != bare(make(without))}
    if candidates(with_it) != candidates(without):
        reached.add(PROCESS)
    if questions(with_it, Scope(), 1, "warning") != questions(without, Scope(), 1, "warning"):
        reached.add(GATE)
    assert reached == REACHES[kind]


def bare(text: str) -> str:
    """A file without its stamp, which every change changes."""
    return "\n".join(line for line in text.splitlines() if "sha256" not in line)


@needs_grafana
def test_every_metric_rule_and_objective_is_drawn_on_some_panel() -> None:
    rules = load().rules
    found = [panel for board in boards(rules) for row in board.rows for panel in row.panels]
    drawn = {line.value for panel in found for line in panel.lines}
    assert {rule.limit for rule in rules if isinstance(rule, MetricRule)} <= drawn
    texts = [ARTEFACTS[name](rules) for name in (OVERVIEW, INSIDE)]
    assert "Missed: preload" in texts[0]
    steps = [
        step["value"]
        for text in texts
        for panel in json.loads(text)["panels"]
        for step in panel.get("fieldConfig", {}).get("defaults", {}).get("thresholds", {}).get("steps", [])
    ]
    assert drawn <= set(steps)


def test_the_panels_metrics_are_as_spanwise_makes_them() -> None:
    known = {each.name: each for each in vars(names).values() if isinstance(each, names.Metric)}
    checked = 0
    for panel in (panel for board in shipped() for row in board["rows"] for panel in row.get("panels", ())):
        for key in ("rate", "level", "quantiles", "share", "of"):
            metric = panel.get(key)
            if metric and metric["name"] in known:
                checked += 1
                wanted = known[metric["name"]]
                assert (metric["unit"], metric["kind"]) == (wanted.unit, wanted.kind), panel["title"]
    assert checked > 20


@shape(type="string")
def _selector(node: object) -> object:
    return read_selector(node)  # type: ignore[arg-type]


def _lower(entry: Entry) -> tuple[Rule, ...]:
    of: Series = series(entry, "grown", entry.values["grown"], "counter")
    window = entry.values["over"]
    return tuple(
        MetricRule(entry.name, "increase", of, limit, severity, window=window)
        for severity, limit in limits(entry, of.unit)
    )


PLANTED = Kind(
    name="grown",
    section="metrics",
    key="grown",
    fields={
        "grown": Field(_selector, required=True, meaning="what grows"),
        "over": Field(units.duration, required=True, meaning="the window"),
        **LIMITS,
    },
    lower=_lower,
)


def test_a_new_kind_is_one_thing_added(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(KINDS, "grown", PLANTED)
    rules = read("version: 1\nmetrics: {planted: {grown: a.b, unit: '1', over: 5m, critical: 7}}").rules
    found = yaml.safe_load(ARTEFACTS[RULES](rules))["groups"][0]["rules"]
    (alert,) = (each for each in found if each["alert"] == "planted")
    assert alert["expr"].endswith("> 7")
    tests = yaml.safe_load(ARTEFACTS[TESTS](rules))["tests"]
    assert sum(each["name"].startswith("planted, critical") for each in tests) >= 2
    panels = [panel.title for board in boards(rules) for row in board.rows for panel in row.panels]
    assert "planted" in panels


def test_a_new_artefact_is_one_thing_added(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(ARTEFACTS, "notes/rules.txt", lambda rules: f"{len(rules)} rules\n")
    monkeypatch.chdir(tmp_path)
    assert CliRunner().invoke(generate, ["--out", "out"]).exit_code == 0
    assert (tmp_path / "out/notes/rules.txt").read_text() == f"{len(load().rules)} rules\n"
