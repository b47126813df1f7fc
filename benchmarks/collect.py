"""Runs the measurements: each in a process of its own, the arms in turn, verified at the sink."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.arms import PLAIN, Arm
from benchmarks.plan import Workload
from benchmarks.receiver import Sink

__all__ = ["LONGEST", "Measurement", "command", "environment", "last_line", "measure", "verified"]

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


def measure(workload: Workload, arm: Arm, turn: int, folder: Path, sink: Sink, *, quick: bool) -> Measurement:
    """Runs one measurement. What fails is told in its ``error``, and the others go on."""
    result = Measurement(workload.name, arm.name, turn)
    argument = workload.quick if quick else workload.full
    arguments = ["{now}", *([argument] if argument else [])] if workload.outside else [argument]
    sink.reset()
    # An empty working folder: no thresholds, settings or packages of the caller's are picked up.
    with tempfile.TemporaryDirectory() as here:
        try:
            done, outside = _run(
                command(workload, arm, folder, arguments),
                environment(arm, folder, sink.port, here, logs=workload.outside),
                here,
            )
        except subprocess.TimeoutExpired:
            result.error = f"not done after {LONGEST} s"
            return result
    if done.returncode:
        result.error = f"exit status {done.returncode}: {last_line(done.stderr)}"
        return result
    printed = json.loads(done.stdout.strip().splitlines()[-1])
    result.values = {**printed["values"], **(outside if workload.outside else {})}
    verified(result, printed, sink.received())
    return result


def _run(
    arguments: Sequence[str], environ: Mapping[str, str], folder: str
) -> tuple[subprocess.CompletedProcess[str], dict[str, float]]:
    """Runs a process to its end: what it printed, and its time and CPU time in ms, its launcher's included.

    Raises:
        subprocess.TimeoutExpired: it did not end.
    """
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as errors:
        began = time.monotonic_ns()
        process = subprocess.Popen(
            [each.replace("{now}", str(began)) for each in arguments],
            cwd=folder,
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=errors,
        )
        killer = threading.Timer(LONGEST, process.kill)
        killer.start()
        # Not Popen.wait: the kernel tells at the end alone what this one child used.
        _, status, used = os.wait4(process.pid, 0)
        ended = time.monotonic_ns()
        expired = not killer.is_alive()
        killer.cancel()
        process.returncode = os.waitstatus_to_exitcode(status)
        if expired:
            raise subprocess.TimeoutExpired(list(arguments), LONGEST)
        out.seek(0)
        errors.seek(0)
        done = subprocess.CompletedProcess(list(arguments), process.returncode, out.read(), errors.read())
    return done, {"wall": (ended - began) / 1e6, "cpu": (used.ru_utime + used.ru_stime) * 1e3}


def command(workload: Workload, arm: Arm, folder: Path, arguments: Sequence[str]) -> list[str]:
    """What runs a workload's script in an arm's environment, launched as the arm is."""
    launcher = [str(folder / "bin" / arm.launcher[0]), *arm.launcher[1:]] if arm.launcher else []
    python = [str(folder / "bin" / "python"), str(SCRIPTS / f"{workload.script or workload.name}.py")]
    return [*(launcher if workload.launched else []), *python, arm.driver, *arguments]


def last_line(text: str) -> str:
    """Of what a process wrote to standard error: the line that says what went wrong."""
    return (text.strip().splitlines() or ["-"])[-1]


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


def environment(arm: Arm, folder: Path, port: int, home: str, *, logs: bool = False) -> dict[str, str]:
    """A small environment, so that no setting or proxy of the caller's changes a measurement."""
    host = f"127.0.0.1:{port}"
    filled = {key: value.format(sink=f"http://{host}", host=host) for key, value in arm.environment.items()}
    if logs and "OTEL_LOGS_EXPORTER" in filled:
        filled["OTEL_LOGS_EXPORTER"] = "otlp"
    path = f"{folder / 'bin'}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    return {"PATH": path, "HOME": home, "LANG": "C.UTF-8", **filled}
