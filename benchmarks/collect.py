"""Runs the measurements: each in a process of its own, the arms in turn, verified at the sink."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.arms import PLAIN, Arm
from benchmarks.plan import Workload
from benchmarks.receiver import Sink

__all__ = ["Measurement", "measure", "verified"]

SCRIPTS = Path(__file__).parent / "workloads"
LONGEST = 120  # seconds; the slowest script takes some 15


@dataclass
class Measurement:
    """One run of one workload in one arm.

    Attributes:
        values: its figures by key; empty where it failed.
        sent, arrived: spans, or calls of metrics, by name ("*": any name).
        attributes: mean attributes of a span that arrived, by name.
        requests: requests answered, of the workload that has them.
        error: what went wrong, if anything.
    """

    workload: str
    arm: str
    round: int
    values: dict[str, float] = field(default_factory=dict)
    sent: dict[str, float] = field(default_factory=dict)
    arrived: dict[str, float] = field(default_factory=dict)
    attributes: dict[str, float] = field(default_factory=dict)
    requests: int = 0
    error: str = ""


def measure(
    workload: Workload, arm: Arm, turn: int, folder: Path, sink: Sink, *, quick: bool, redis_port: int | None
) -> Measurement:
    """Runs one measurement. What fails is told in its ``error``, and the others go on."""
    result = Measurement(workload.name, arm.name, turn)
    arguments = [arm.driver]
    if workload.name == "start_up":
        arguments.append("{now}")
    else:
        arguments.append(workload.quick if quick else workload.full)
    if workload.name == "flask_request":
        if redis_port is None:
            result.error = "no redis-server is installed"
            return result
        arguments.append(str(redis_port))
    sink.reset()
    python = [str(folder / "bin" / "python"), str(SCRIPTS / f"{workload.name}.py")]
    launcher = [str(folder / "bin" / arm.launcher[0]), *arm.launcher[1:]] if arm.launcher else []
    command = [*(launcher if workload.launched else []), *python]
    # An empty working folder: no thresholds, settings or packages of the caller's are picked up.
    with tempfile.TemporaryDirectory() as here:
        try:
            done = subprocess.run(
                [*command, *(each.replace("{now}", str(time.monotonic_ns())) for each in arguments)],
                cwd=here,
                env=_environment(arm, folder, sink.port, here),
                capture_output=True,
                text=True,
                timeout=LONGEST,
            )
        except subprocess.TimeoutExpired:
            result.error = f"not done after {LONGEST} s"
            return result
    if done.returncode:
        result.error = f"exit status {done.returncode}: {(done.stderr.strip().splitlines() or ['-'])[-1]}"
        return result
    printed = json.loads(done.stdout.strip().splitlines()[-1])
    result.values = printed["values"]
    verified(result, printed, sink.received())
    return result


def verified(result: Measurement, printed: Mapping[str, Any], received: Mapping[str, Any]) -> None:
    """Fills in what was sent, as the script says, and what of it arrived, as the sink says."""
    for name, count in printed.get("spans", {}).items():
        result.sent[name] = count
        result.arrived[name] = received["spans"].get(name, 0)
        if result.arrived[name]:
            result.attributes[name] = received["attributes"][name] / result.arrived[name]
    for name, count in printed.get("metrics", {}).items():
        result.sent[name] = count
        result.arrived[name] = received["metrics"].get(name, 0)
    if "any_spans" in printed and result.arm != PLAIN:
        result.requests = printed["requests"]
        result.sent["*"] = printed["any_spans"]
        result.arrived["*"] = sum(received["spans"].values())


def _environment(arm: Arm, folder: Path, port: int, home: str) -> dict[str, str]:
    """A small environment, so that no setting or proxy of the caller's changes a measurement."""
    host = f"127.0.0.1:{port}"
    filled = {key: value.format(sink=f"http://{host}", host=host) for key, value in arm.environment.items()}
    path = f"{folder / 'bin'}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    return {"PATH": path, "HOME": home, "LANG": "C.UTF-8", **filled}
