"""The real Collector with the generated configuration gives the process's verdict, span by span."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from collectors import Running, running, until
from opentelemetry.trace import SpanKind, StatusCode
from parts import need

from spanwise import names
from spanwise.artefacts.collector import gateway
from spanwise.artefacts.prometheus import rules_file
from spanwise.rating.lowered import compile_rules
from spanwise.rules.model import SpanRule
from spanwise.thresholds.load import lower, read

pytestmark = pytest.mark.real
ROOT = Path(__file__).resolve().parents[2]
HOSTILE = '${env:HOME} $$ "quoted" \\ back\nline {{ .Values }} \x01 é 🎵 \' ; drop'
# Broad, specific by value, by name, overlapping on purpose, and one whose text tries to break out.
EXTRA = r"""
version: 1
spans:
  checkout: {match: {http.route: /checkout}, good: 300ms, acceptable: 400ms, poor: 500ms}
  named: {match: {span.name: the one}, good: 1ns, acceptable: 2ns, poor: 3ns}
  flag: {match: {flag: true}, good: 1ms, acceptable: 2ms, poor: 3ms}
  number: {match: {flag: 1}, good: 4ms, acceptable: 5ms, poor: 6ms}
  '${env:HOME} "$1" \ {{ 🎵':
    match: {text: "${env:HOME} $$ \"quoted\" \\ back\nline {{ .Values }} \x01 é 🎵 ' ; drop"}
    good: 7ms
    acceptable: 8ms
    poor: 9ms
metrics:
  '{{ .Values "$1" \ 🎵': {increase: 'a.b{c="}}{{ \" x"}', unit: s, over: 1h, warning: 1s}
"""
EXTRA += """
objectives:
  checkout: {good: 99.9%, over: 30d}
  again: {good: 99%, over: 7d, spans: checkout}
"""
RULES = lower(read(EXTRA, "testing"))


@pytest.fixture(scope="module")
def collector(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("gateway"), gateway(RULES)) as found:
        yield found


def cases() -> list[tuple[str, SpanKind, dict[str, Any], int]]:
    """Every kind of span at each of all rules' edges that it could be held against, ± 1 ns."""
    spans: list[tuple[str, SpanKind, dict[str, Any]]] = [
        ("GET /x", SpanKind.SERVER, {"http.request.method": "GET", "http.route": "/x"}),
        ("old", SpanKind.SERVER, {"http.method": "GET"}),
        ("POST /checkout", SpanKind.SERVER, {"http.request.method": "POST", "http.route": "/checkout"}),
        ("GET", SpanKind.CLIENT, {"http.request.method": "GET"}),
        ("SELECT", SpanKind.CLIENT, {"db.system.name": "postgresql"}),
        ("GET", SpanKind.CLIENT, {"db.system.name": "redis"}),
        ("chat", SpanKind.CLIENT, {"gen_ai.operation.name": "chat"}),
        ("load", SpanKind.INTERNAL, {"spanwise.operation.kind": "plugin.load"}),
        ("import", SpanKind.INTERNAL, {"spanwise.operation.kind": "file"}),
        ("query", SpanKind.CLIENT, {"spanwise.operation.kind": "database"}),
        ("render", SpanKind.INTERNAL, {"spanwise.operation.kind": "component.render"}),
        ("the one", SpanKind.PRODUCER, {"http.route": "/checkout"}),
        ("f", SpanKind.INTERNAL, {"flag": True}),
        ("f", SpanKind.INTERNAL, {"flag": 1}),
        ("f", SpanKind.INTERNAL, {"flag": 1.0}),
        ("f", SpanKind.CONSUMER, {"flag": "true"}),
        ("h", SpanKind.INTERNAL, {"text": HOSTILE}),
        ("none", SpanKind.INTERNAL, {}),
    ]
    found = []
    for name, kind, attributes in spans:
        rating = compile_rules(RULES)
        edges = {
            limit
            for rule in RULES
            if isinstance(rule, SpanRule)
            for _, limit in rule.edges
            if rating(name, kind, attributes, limit) != rating(name, kind, attributes, limit + 1)
        } or {10_000_000_000}
        found += [(name, kind, attributes, edge + off) for edge in sorted(edges) for off in (-1, 0, 1)]
    return found


def test_the_collector_marks_what_an_objective_counts_and_the_policy_that_kept_it(collector: Running) -> None:
    provider = collector.sender("shop")
    tracer = provider.get_tracer("shop")
    checkout = {"http.request.method": "POST", "http.route": "/checkout"}
    poor = {"spanwise.rating": "poor", "spanwise.rating.rule": "checkout"}
    forged = {"spanwise.objective": "checkout", "spanwise.objective.met": True}
    wanted: dict[int, tuple[str | None, bool | None, set[str]]] = {}
    for attributes, milliseconds, failed, objective, met, policies in (
        (checkout, 300, False, "checkout", True, {"baseline"}),
        (checkout, 400, False, "checkout", True, {"baseline"}),
        (checkout, 401, False, "checkout", False, {"rated"}),
        (checkout, 501, False, "checkout", False, {"rated"}),
        (checkout, 1, True, "checkout", False, {"error"}),
        (checkout | poor, 1, False, "checkout", False, {"rated"}),
        (checkout | poor | {"spanwise.rating": "acceptable"}, 1, False, "checkout", True, {"baseline"}),
        (
            checkout | {"spanwise.objective": "mine", "spanwise.objective.met": True},
            401,
            False,
            "checkout",
            False,
            {"rated"},
        ),
        ({"http.request.method": "POST"} | forged, 1, False, None, None, {"baseline"}),
    ):
        start = 1_700_000_000_000_000_001
        span = tracer.start_span("POST", kind=SpanKind.SERVER, attributes=attributes, start_time=start)
        if failed:
            span.set_status(StatusCode.ERROR)
        wanted[span.get_span_context().span_id] = objective, met, policies
        span.end(start + milliseconds * 1_000_000)
    provider.shutdown()
    got = {
        span_id: (
            values.get(names.OBJECTIVE),
            values.get(names.OBJECTIVE_MET),
            {values[names.SAMPLING_POLICY]},
        )
        for span_id, values in collector.kept(wanted).items()
    }
    assert got == wanted

    def counted() -> bool:
        text = collector.scraped()
        lines = [line for line in text.splitlines() if line.startswith("traces_span_metrics_calls_total{")]
        mine = [
            line
            for line in lines
            if 'spanwise_objective="checkout"' in line and 'service_name="shop"' in line
        ]
        missed = [line for line in mine if 'spanwise_objective_met="false"' in line]
        counts = [sum(float(line.split("} ")[1].split()[0]) for line in each) for each in (mine, missed)]
        return counts == [8, 5]

    until("the objective's counts in Prometheus's format", counted)


def test_the_collector_and_the_process_agree_on_every_span(collector: Running) -> None:
    provider = collector.sender("edges")
    tracer = provider.get_tracer("edges")
    verdict = compile_rules(RULES)
    expected: dict[int, tuple[Any, ...] | None] = {}
    for name, kind, attributes, duration in cases():
        start = 1_700_000_000_000_000_001
        span = tracer.start_span(name, kind=kind, attributes=attributes, start_time=start)
        said = verdict(name, kind, attributes, duration)
        expected[span.get_span_context().span_id] = said and tuple(said)
        span.end(start + duration)
    provider.shutdown()
    assert len({each[0] for each in expected.values() if each}) == 3, "every rating must occur"

    got: dict[int, tuple[Any, ...] | None] = {}
    for span_id, values in collector.kept(expected).items():
        rated = tuple(values.get(key) for key in (names.RATING, names.RATING_RULE, names.RATING_LIMIT))
        got[span_id] = None if rated == (None,) * 3 else rated
    assert got == expected

    def counted() -> bool:
        text = collector.scraped()
        # Labels hold anything within quotes, blanks and braces too; an exemplar may follow the value.
        series = re.findall(
            r'^traces_span_metrics_calls_total{((?:[^"}]|"(?:[^"\\]|\\.)*")*)} (\S+)', text, re.M
        )
        mine = [(labels, value) for labels, value in series if 'service_name="edges"' in labels]
        return sum(float(value) for _, value in mine) == len(expected)

    until("the span count in Prometheus's format", counted)


@pytest.mark.parametrize("name", ["agent", "gateway"])
def test_the_collector_accepts_the_committed_configuration(name: str) -> None:
    done = subprocess.run(
        [need("otelcol", "scripts/build-collector"), "validate", "--config", f"collector/{name}.yaml"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_prometheus_accepts_the_rules(tmp_path: Path) -> None:
    rules = tmp_path / "rules.yaml"
    rules.write_text(rules_file(RULES), encoding="utf-8")
    for path in (rules, ROOT / "collector/prometheus/rules/spanwise.yaml"):
        done = subprocess.run(
            [need("promtool", "apt-get install prometheus"), "check", "rules", str(path)],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
