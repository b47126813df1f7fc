"""pytest plugin: writes what became of every test to the file named by SDK_TESTS_REPORT, as JSON."""

from __future__ import annotations

import importlib
import json
import os
from pathlib import Path
from typing import Any

_outcomes: dict[str, str] = {}


def pytest_runtest_logreport(report: Any) -> None:
    # A test fails by its worst phase; subtests report on the way to it.
    if report.failed:
        _outcomes[report.nodeid] = "failed"
    elif report.when == "call" or report.skipped:
        _outcomes.setdefault(report.nodeid, report.outcome)


def pytest_collectreport(report: Any) -> None:
    if report.failed:
        _outcomes[report.nodeid] = "not collected"


def pytest_sessionfinish() -> None:
    # The provider that the tests got under the SDK's name: proof that they didn't test the SDK's own.
    provider = importlib.import_module("opentelemetry.sdk.trace").TracerProvider.__module__
    report = {"provider": provider, "outcomes": _outcomes}
    Path(os.environ["SDK_TESTS_REPORT"]).write_text(json.dumps(report, indent=1), encoding="utf-8")
