"""The SDK's own tests, run on our providers: what fails is exactly what the runner lists."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

RUNNER = Path(__file__).resolve().parents[1] / "sdk" / "run_sdk_tests.py"


@pytest.mark.real
def test_sdk_own_tests_fail_exactly_where_listed() -> None:
    done = subprocess.run(
        [sys.executable, str(RUNNER)], capture_output=True, text=True, timeout=540, check=False
    )
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-4000:]
