"""The start-up report: every outcome has its place, and a process's children do not repeat it."""

from __future__ import annotations

import pytest

from spanwise import report
from spanwise.instrumentors.load import Outcome

OUTCOMES = [
    Outcome("flask", "waiting", "by contrib 1"),
    Outcome("logging", "instrumented", "by spanwise"),
    Outcome("redis", "absent", "redis is not installed"),
    Outcome("requests", "skipped", "a setting names it"),
    Outcome("sqlalchemy", "failed", "ImportError: no"),
]


def test_every_outcome_has_its_place() -> None:
    lines = report.lines("service shop", ["traces: there"], OUTCOMES, ["from here", "a: good"])
    assert lines[0].endswith(": service shop")
    assert lines[1:] == [
        "  data goes to:",
        "    traces: there",
        "  instrumented:",
        "    logging     by spanwise",
        "  to be instrumented when the application imports it:",
        "    flask       by contrib 1",
        "  skipped:",
        "    requests    a setting names it",
        "  FAILED:",
        "    sqlalchemy  ImportError: no",
        "  not installed, so not instrumented:",
        "    redis",
        "  thresholds:",
        "    from here",
        "    a: good",
    ]


def test_what_is_empty_is_left_out() -> None:
    assert report.lines("telemetry is off", [], [], [])[1:] == [
        "  data goes to:",
        "    nowhere: no exporter",
    ]


def test_it_is_shown_once_for_a_process_and_its_children(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(report.SHOWN, "")  # so that what show() sets is undone
    report.show("service shop", [], [], [])
    report.show("service shop", [], [], [])
    assert capsys.readouterr().err.count("service shop") == 1
