"""Objectives and handlers: what they come to, and what is refused."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spanwise.errors import ThresholdsError
from spanwise.rules.alerting import Alerting, Handler
from spanwise.rules.model import Objective, Rule
from spanwise.thresholds.load import read

V = "version: 1\n"
MINUTE = 60_000_000_000


def objective(rules: tuple[Rule, ...], name: str) -> Objective:
    return next(rule for rule in rules if isinstance(rule, Objective) and rule.name == name)


def one(text: str) -> Objective:
    return objective(read(V + f"objectives: {{http.server: {text}}}").rules, "http.server")


def test_thirty_days_are_the_workbooks_table() -> None:
    found = one("{good: 99.9%, over: 30d}")
    assert [
        (burn.long // MINUTE, burn.short // MINUTE, burn.limit, burn.severity) for burn in found.burns
    ] == [
        (60, 5, 0.0144, "critical"),
        (360, 30, 0.006, "critical"),
        (1440, 120, 0.003, "warning"),
        (4320, 360, 0.001, "warning"),
    ]
    assert found.budget == 0.001
    assert found.total.labels == (("spanwise.objective", "http.server"),)
    assert dict(found.missed.labels) == {
        "spanwise.objective": "http.server",
        "spanwise.objective.met": "false",
    }


@given(st.integers(1, 99_999), st.integers(1, 365))
def test_other_shares_and_periods_keep_the_proportions(thousandths: int, days: int) -> None:
    found = one(f"{{good: {thousandths / 1000}%, over: {days}d}}")
    budget = 1 - Fraction(thousandths, 100_000)
    assert abs(found.budget - float(budget)) < 1e-15
    assert found.burns, "the slowest burn always alerts"
    for burn in found.burns:
        assert 0 < burn.limit < 1
        assert burn.short % MINUTE == burn.long % MINUTE == 0
        assert MINUTE <= burn.short < burn.long
        assert burn.limit == pytest.approx(float(Fraction(burn.factor) * budget), rel=1e-12)
    dropped = {"14.4", "6", "3", "1"} - {burn.factor for burn in found.burns}
    assert all(Fraction(factor) * budget >= 1 for factor in dropped)


def test_an_objective_is_about_another_rules_spans_where_it_says_so() -> None:
    found = objective(read(V + "objectives: {fast: {good: 99%, over: 7d, spans: db.client}}").rules, "fast")
    assert found.rule == "db.client"
    assert [(burn.long // MINUTE, burn.short // MINUTE) for burn in found.burns] == [
        (14, 2),
        (84, 7),
        (336, 28),
        (1008, 84),
    ]


@pytest.mark.parametrize(
    ("text", "where", "said"),
    [
        ("objectives: {http.serve: {good: 99%, over: 30d}}", ":2:14", "Did you mean 'http.server'"),
        ("objectives: {a: {good: 99%, over: 30d, spans: db}}", ":2:47", "no entry of spans: is 'db'"),
        ("objectives: {http.server: {good: 100%, over: 30d}}", ":2:34", "nothing to decide"),
        ("objectives: {http.server: {good: 0%, over: 30d}}", ":2:34", "nothing to decide"),
        ("objectives: {http.server: {good: 99.9, over: 30d}}", ":2:34", "Did you mean 99.9%"),
        ("objectives: {http.server: {good: 99%, over: 5m}}", ":2:45", "a day at least"),
        ("objectives: {http.server: {good: 99%}}", ":2:14", "'over' is missing"),
        (
            "spans: {preload: off}\nobjectives: {preload: {good: 9%, over: 30d}}",
            ":3:14",
            "no entry of spans: is 'preload'",
        ),
        ("alerts: {repeat: 1m}", ":2:18", "within its throttle"),
        ("alerts: {handlers: [lgo]}", ":2:21", "Did you mean 'log'"),
        ("alerts: {handlers: [slack]}", ":2:21", "needs an address"),
        ("alerts: {handlers: {slack: {}}}", ":2:28", "needs an address"),
        ("alerts: {handlers: {a: {}}}", ":2:24", "does not say what it is"),
        ("alerts: {handlers: {a: {log: {}, webhook: 'http://x'}}}", ":2:24", "two things"),
        ("alerts: {handlers: {a: {webhook: 'ftp://x'}}}", ":2:34", "no URL"),
        ("alerts: {handlers: {a: {webhook: 'http://x/${env:HOME}'}}}", ":2:34", "no URL"),
        ("alerts: {handlers: {a: {webhook: 'http://x/{{ .Labels }}'}}}", ":2:34", "no URL"),
        ('alerts: {handlers: {a: {webhook: "http://x/\\n"}}}', ":2:34", "no URL"),
        ("alerts: {handlers: {a: {pagerduty: 'x y'}}}", ":2:36", "integration key"),
        ("alerts: {handlers: {a: {slack: {file: '{{'}}}}", ":2:39", "is no path"),
        ("alerts: {handlers: {a: {slack: {flie: x}}}}", ":2:32", "expected an address"),
        ("alerts: {handlers: {a: {log: {}, severities: [bad]}}}", ":2:47", "no severity"),
        ("alerts: {handlers: {a: {log: {}, severities: []}}}", ":2:46", "told of nothing"),
        ("alerts: {handlers: {'a b': {log: {}}}}", ":2:28", "handler's name"),
        ("alerts: {handlers: {a: {log: {}, severitis: []}}}", ":2:34", "Did you mean 'severities'"),
    ],
)
def test_what_cannot_be_used_is_told_with_its_place(text: str, where: str, said: str) -> None:
    with pytest.raises(ThresholdsError) as caught:
        read(V + text, file="f.yaml")
    assert caught.value.where.endswith(where)
    assert said in str(caught.value)


def test_a_span_rule_that_is_off_takes_the_shipped_objective_with_it() -> None:
    assert not [rule for rule in read(V + "spans: {preload: off}").rules if isinstance(rule, Objective)]


def test_handlers_by_name_and_as_a_list() -> None:
    text = """
alerts:
  throttle: 1m
  handlers:
    ops: {webhook: 'https://ops.example:8080/alerts?team=a'}
    chat: {slack: {file: /run/secrets/slack}, severities: [warning]}
    duty: {pagerduty: abc123, severities: [warning, critical]}
    log:
"""
    found = next(rule for rule in read(V + text).rules if isinstance(rule, Alerting))
    every = ("critical", "warning", "info")
    assert found.handlers == (
        Handler("chat", "slack", "", "/run/secrets/slack", ("warning",)),
        Handler("duty", "pagerduty", "abc123", "", ("critical", "warning")),
        Handler("log", "log", "", "", every),
        Handler("ops", "webhook", "https://ops.example:8080/alerts?team=a", "", every),
    )
    assert found.throttle == MINUTE
    shipped = next(rule for rule in read(None).rules if isinstance(rule, Alerting))
    assert shipped.handlers == (Handler("log", "log"),)
