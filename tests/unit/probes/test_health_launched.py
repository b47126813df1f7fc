"""The health of a process with telemetry: by the thresholds in force, and over HTTP."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

CHILD = Path(__file__).with_name("health_child.py")
THRESHOLDS = """
version: 1
history: {interval: 3s}
metrics:
  memory: {warning: 1MB, critical: 2MB, for: 1ms}
  mine: {level: process.memory.usage, info: 1MB}
alerts: {handlers: []}
"""


def test_memory_above_its_limit_is_critical_here_and_over_http(tmp_path: Path) -> None:
    (tmp_path / "thresholds.yaml").write_text(THRESHOLDS, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, str(CHILD)],
        cwd=tmp_path,
        env={
            **os.environ,
            "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9",
            "SPANWISE_EXIT_TIMEOUT": "10",
        },
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    said: dict[str, Any] = {}
    for line in done.stdout.splitlines():
        said.update(json.loads(line))
    assert said["before"]["status"] == "unknown"
    assert "telemetry is not started" in said["before"]["reason"]
    assert said["first"]["status"] == "unknown"
    assert "no samples yet" in said["first"]["reason"]
    then = said["then"]
    assert (then["status"], then["service"]) == ("critical", "shop")
    assert {each["name"]: each["severity"] for each in then["issues"]} == {
        "memory": "critical",
        "mine": "info",
    }
    assert then["issues"][0]["value"] > then["issues"][0]["limit"] == 2e6
    assert 0 <= then["issues"][0]["seconds"] < 120
    status, body = said["endpoint"]
    assert (status, body["status"]) == (503, "critical")
    assert "no samples yet" in said["forked"]["reason"]  # a child's health is its own
