"""What is asked: the rules' own expressions, within a scope, and triggers in place of limits."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spanwise.artefacts import promql
from spanwise.artefacts.ottl import string
from spanwise.gate.questions import Question, Scope, questions
from spanwise.rules.model import MetricRule
from spanwise.thresholds.load import load, read

TEN_MINUTES = 600_000_000_000
ANY = Scope()
RULES = load().rules


def asked(text: str = "", scope: Scope = ANY, severity: str = "critical") -> dict[str, Question]:
    found = questions(read(f"version: 1\n{text}").rules, scope, TEN_MINUTES, severity)
    return {f"{each.rule.name} {each.rule.severity}": each for each in found}


def test_a_trigger_takes_the_place_of_the_critical_limit_of_its_name() -> None:
    found = asked()
    memory = found["memory critical"]
    assert memory.trigger
    assert (memory.rule.limit, memory.rule.hold) == (1e9, 300_000_000_000)
    assert not found["controllers critical"].trigger
    assert "memory warning" not in found
    milder = asked(severity="warning")
    assert milder["memory warning"].rule.limit == 500e6
    assert milder["memory critical"].rule.limit == 1e9


def test_the_shipped_triggers_are_those_that_were_asked_for() -> None:
    found = {name: each.rule for name, each in asked().items() if each.trigger}
    assert set(found) == {"memory critical", "http_errors critical"}
    assert found["http_errors critical"].limit == 0.2


def test_a_trigger_with_nothing_of_its_own_is_the_metric_s_worst_limit() -> None:
    found = asked("gate: {latency: {}, mine: {metric: latency, limit: 500ms, for: 1m, over: 2m, minimum: 3}}")
    assert found["latency critical"].rule.limit == 2
    mine = found["mine critical"].rule
    assert (mine.limit, mine.hold, mine.window, mine.minimum) == (0.5, 60e9, 120e9, 3)


def test_off_leaves_the_metric_s_own_limit_and_a_metric_that_is_off_has_no_trigger() -> None:
    assert asked("gate: {memory: off}")["memory critical"].rule.limit == 800e6
    assert "memory critical" not in asked("metrics: {memory: off}")


def test_an_objective_is_asked_over_the_gate_s_window_by_its_quickest_burn() -> None:
    found = asked("objectives: {http.server: {good: 99.9%, over: 30d, minimum: 7}}")
    rule = found["http.server_budget critical"].rule
    assert rule.limit == pytest.approx(0.0144)
    assert (rule.window, rule.minimum) == (TEN_MINUTES, 7)
    assert "[10m]" in found["http.server_budget critical"].figure
    assert found["http.server_budget critical"].counted


def test_the_scope_is_on_every_selector_and_the_rule_s_own_labels_stay() -> None:
    scope = Scope("shop", "2.0", (("pod", 'a"b'),))
    mine = r'service_name="shop",service_version="2.0"'
    for each in asked(scope=scope, severity="warning").values():
        for part in each.figure.split("{")[1:]:
            inside = part.partition("}")[0]
            assert 'pod="a\\"b"' in inside
            assert mine in inside
        assert 'service_name="shop"' in each.known or each.rule.form == "increase"
        assert "2.0" not in each.known
    errors = asked(scope=scope)["http_errors critical"].figure
    assert 'status_code="STATUS_CODE_ERROR"' in errors


def test_a_label_that_the_rule_has_is_not_given_twice() -> None:
    found = asked(scope=Scope(match=(("span_kind", "SPAN_KIND_CLIENT"),)))["http_errors critical"]
    assert 'span_kind="SPAN_KIND_SERVER"' in found.figure
    assert "CLIENT" not in found.figure


@given(st.text(max_size=20))
def test_no_text_of_a_scope_changes_the_expression(text: str) -> None:
    plain = {name: each.figure for name, each in asked(scope=Scope("mine")).items()}
    try:
        literal = string(f"mine:{text}")
    except UnicodeEncodeError:  # a lone surrogate, which is no text
        return
    for name, each in asked(scope=Scope(f"mine:{text}")).items():
        assert each.figure.replace(literal, '"mine"') == plain[name]


@pytest.mark.parametrize(
    "rule", [each for each in RULES if isinstance(each, MetricRule)], ids=lambda each: each.name
)
def test_outside_a_gate_the_figure_is_the_alert_s_where_there_is_one(rule: MetricRule) -> None:
    """`measured` adds nought, and nothing else."""
    measured = promql.measured(rule)
    if rule.form in ("level", "quantile"):
        assert measured == promql.figure(rule)
    elif rule.form == "increase":
        every = promql.figure(replace(rule, series=replace(rule.series, labels=())))
        nought = f" or 0 * {every}" if rule.series.labels else ""
        assert measured == promql.figure(rule) + nought
    else:
        above, below = promql.figure(rule).split(" / ")
        assert measured == f"({above} or 0 * {below}) / {below}"
