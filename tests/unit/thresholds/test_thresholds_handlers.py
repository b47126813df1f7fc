"""Handlers that the process alone tells: a file, and log events."""

from __future__ import annotations

import pytest

from spanwise.alerts.engine import Alerts
from spanwise.artefacts.alertmanager import alertmanager
from spanwise.errors import ThresholdsError
from spanwise.meters.history import History
from spanwise.rules.alerting import SEVERITIES, Alerting, Handler
from spanwise.thresholds.load import read


def handlers(text: str) -> tuple[Handler, ...]:
    rules = read(f"version: 1\nalerts: {{handlers: {text}}}").rules
    (alerting,) = (rule for rule in rules if isinstance(rule, Alerting))
    return alerting.handlers


def test_a_file_has_a_path() -> None:
    assert handlers("{lines: {file: logs/alerts.jsonl, severities: [critical]}}") == (
        Handler("lines", "file", "logs/alerts.jsonl", severities=("critical",)),
    )


def test_log_and_event_need_nothing() -> None:
    expected = (Handler("event", "event"), Handler("log", "log"))
    assert handlers("[log, event]") == handlers("{log: , event: }") == expected
    assert expected[0].severities == SEVERITIES


def test_who_tells_a_handler_is_told_once() -> None:
    rules = read(
        "version: 1\nalerts: {handlers: {a: {webhook: 'http://a/', by: process},"
        " b: {slack: {file: /b}, by: alertmanager}, c: {pagerduty: key}}}"
    ).rules
    (alerting,) = (rule for rule in rules if isinstance(rule, Alerting))
    assert [each.by for each in alerting.handlers] == ["process", "alertmanager", ""]
    generated = alertmanager(rules)
    assert "http://a/" not in generated
    assert generated.count("/b") == 3  # severities
    assert "routing_key: key" in generated
    alerts = Alerts((), alerting, History(1), "shop")
    assert sorted(alerts.notifications()) == ["a", "c"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[file]", "file needs an address"),
        ("{lines: {file: {file: x}}}", "lines: a path is no secret"),
        ("{lines: {file: 'a\\nb'}}", "is no path"),
        ("{lines: {file: '$HOME/x'}}", "is no path"),
        ("{lines: {file: x, event: }}", "lines is two things"),
        ("[evnt]", "did you mean"),
        ("{a: {webhook: 'http://a/', by: proces}}", "did you mean"),
        ("{lines: {file: x, by: alertmanager}}", "only the process tells a file"),
    ],
)
def test_mistakes(text: str, message: str) -> None:
    with pytest.raises(ThresholdsError) as caught:
        handlers(text)
    assert message.lower() in str(caught.value).lower()
