"""The SDK's own tests, run on our providers: what fails is exactly what is listed here."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

RUNNER = Path(__file__).resolve().parents[1] / "sdk" / "run_sdk_tests.py"

# Test id -> why it can't hold for our providers. Only tests that assert private fields belong here.
EXPECTED_FAILURES: dict[str, str] = {
    "tests/metrics/test_metrics.py::TestMeter::test_counter_noop_after_meter_disabled": (
        "counts calls of the private measurement consumer, which ours reach for the first of a series only"
    ),
}

# 1.45.1 has 749. Far fewer means that the run broke off or collected nothing.
AT_LEAST = 700


@pytest.mark.real
def test_sdk_own_tests_fail_exactly_where_listed(tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    done = subprocess.run(
        [sys.executable, str(RUNNER), "--report", str(report)],
        capture_output=True,
        text=True,
        timeout=540,
        check=False,
    )
    assert report.exists(), done.stdout[-4000:] + done.stderr[-4000:]
    result = json.loads(report.read_text(encoding="utf-8"))
    outcomes: dict[str, str] = result["outcomes"]

    assert result["provider"] == "spanwise.spans.provider"
    assert len(outcomes) >= AT_LEAST, done.stdout[-4000:]
    failures = {test for test, outcome in outcomes.items() if outcome not in ("passed", "skipped")}
    assert failures == set(EXPECTED_FAILURES), done.stdout[-8000:]
