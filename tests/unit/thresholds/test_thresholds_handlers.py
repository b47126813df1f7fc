"""Handlers that the process alone tells: a file, and log events."""

from __future__ import annotations

import pytest

from spanwise.errors import ThresholdsError
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


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[file]", "file needs an address"),
        ("{lines: {file: {file: x}}}", "lines: a path is no secret"),
        ("{lines: {file: 'a\\nb'}}", "is no path"),
        ("{lines: {file: '$HOME/x'}}", "is no path"),
        ("{lines: {file: x, event: }}", "lines is two things"),
        ("[evnt]", "did you mean"),
    ],
)
def test_mistakes(text: str, message: str) -> None:
    with pytest.raises(ThresholdsError) as caught:
        handlers(text)
    assert message.lower() in str(caught.value).lower()
