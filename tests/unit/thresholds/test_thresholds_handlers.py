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


@pytest.mark.parametrize("kind", ["webhook", "slack"])
@pytest.mark.parametrize(
    "url",
    [
        "http://x",
        "HTTPS://x.example/",
        "https://x.example/",
        "https://x.example:9093/a%20b/%C3%A4?token=%2F&x=1/2?",
        "http://127.0.0.1:8",
        "http://x.example:/a",
        "http://[::1]:9093/a",
        "http://a_b.example./a",
        "http://x?y",
    ],
)
def test_an_address_that_can_be_called(url: str, kind: str) -> None:
    assert handlers(f"{{h: {{{kind}: '{url}'}}}}")[0].address == url


@pytest.mark.parametrize("kind", ["webhook", "slack"])
@pytest.mark.parametrize(
    "url",
    [
        "https://x.example/%zz",
        "https://x.example/a%",
        "https://x.example/a%4",
        "https://x.example/?a=%zz",
        "https://x%41.example/",
        "https://x.example/a b",
        "https://x.example/a\\u0007",
        "https://x.example/a\\x7f",
        "https://x.example/\\u00e4",
        "https://x.example:port/",
        "https://x.example:-1/",
        "https://x.example:65536/",
        "https://x.example:1:2/",
        "https://x.example:8080.0/",
        "https://user:secret@x.example/",
        "https://user@x.example/",
        "https://",
        "https:///a",
        "https://:80/",
        "https://?a",
        "https://./",
        "https://a..b/",
        f"https://{'a' * 64}.example/",
        "https://[::1/",
        "https://::1]/",
        "https://[::1]x/",
        "https://[x]/",
        "https://[1.2.3.4]/",
        "https://[]/",
        "https://[::1]:a/",
        "x.example/a",
        "//x.example/a",
        "ftp://x.example/a",
        "http:/x.example",
        "",
    ],
)
def test_an_address_that_alertmanager_or_nobody_can_call(url: str, kind: str) -> None:
    with pytest.raises(ThresholdsError, match="no URL that can be called") as caught:
        handlers(f'{{h: {{{kind}: "{url}"}}}}')
    assert caught.value.where.endswith(f":2:{len('alerts: {handlers: {h: {') + len(kind) + 3}")
    assert "secret" not in str(caught.value)
