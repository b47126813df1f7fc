"""The snapshot of a process."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from typing import Any

import psutil
import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from spanwise import names, statistics
from spanwise.instruments import make
from spanwise.meters import statistics as room
from spanwise.meters.history import History
from spanwise.meters.sampler import Sampler
from spanwise.meters.statistics import Controllers, Preloads, Trend, take
from spanwise.meters.watched import WATCHED


class Process:
    """Instruments by the names that the statistics read, sampled once a second without a thread."""

    def __init__(self) -> None:
        self.reader = InMemoryMetricReader()
        meter = MeterProvider([self.reader], shutdown_on_exit=False).get_meter("app")
        self.requests = make(meter, names.HTTP_SERVER_REQUEST_DURATION)
        self.memory = make(meter, names.PROCESS_MEMORY_USAGE)
        self.controllers = make(meter, names.CONTROLLER_ACTIVE)
        self.states = make(meter, names.CONTROLLER_COUNT)
        self.preloads = make(meter, names.PRELOAD_EVENTS)
        self.durations = make(meter, names.PRELOAD_DURATION)
        self.sampler = Sampler(lambda: None, 30.0, History(1000, WATCHED))
        self.now = 0.0

    def sample(self) -> None:
        self.now += 1
        self.sampler.history.take(self.reader.get_metrics_data(), self.now)


def test_without_telemetry_all_but_the_memory_is_empty() -> None:
    found = take(None)
    assert found.memory == pytest.approx(psutil.Process().memory_info().rss, rel=0.2)
    assert (found.samples, found.interval) == (0, None)
    assert found.controllers == Controllers(0, 0, 0, 0)
    assert found.preloads == Preloads(0, None, None)
    assert (found.memory_trend.direction, found.performance_trend.direction) == ("unknown", "unknown")
    json.dumps(found.as_dict())


def test_a_system_that_does_not_tell_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused() -> int:
        raise psutil.AccessDenied

    monkeypatch.setattr(room, "resident_bytes", refused)
    assert take(None).memory is None


def test_controllers_and_preloads() -> None:
    process = Process()
    process.controllers.add(7)
    for state, count in (("ready", 4), ("loading", 2), ("failed", 1)):
        process.states.add(count, {names.CONTROLLER_STATE: state})
    for outcome, count in (("success", 6), ("failure", 1), ("timeout", 1)):
        process.preloads.add(count, {names.PRELOAD_OUTCOME: outcome})
    for seconds in (1.0, 2.0, 6.0):
        process.durations.record(seconds)
    process.sample()
    found = take(process.sampler)
    assert found.controllers == Controllers(total=7, ready=4, loading=2, failed=1)
    assert found.preloads == Preloads(total=8, success_rate=0.75, mean_time=3.0)
    assert (found.samples, found.interval) == (1, 30.0)
    assert found.as_dict()["controllers"] == {"total": 7, "ready": 4, "loading": 2, "failed": 1}


def test_only_failures_are_a_rate_of_zero() -> None:
    process = Process()
    process.preloads.add(3, {names.PRELOAD_OUTCOME: "failure"})
    process.sample()
    assert take(process.sampler).preloads == Preloads(total=3, success_rate=0.0, mean_time=None)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([100, 100, 100, 100, 100], Trend("process.memory.usage")),  # too few
        ([100, 100, 100, 120, 120, 120], Trend("process.memory.usage", "rising", pytest.approx(0.2))),
        ([100, 100, 100, 80, 80, 80], Trend("process.memory.usage", "falling", pytest.approx(-0.2))),
        ([100, 100, 100, 104, 104, 104], Trend("process.memory.usage", "stable", pytest.approx(0.04))),
        # One spike is no trend, nor is what was an hour ago.
        ([100, 100, 100, 100, 900, 100, 100, 100], Trend("process.memory.usage", "stable", 0.0)),
        ([10] * 100 + [100] * 120, Trend("process.memory.usage", "stable", 0.0)),
        ([0, 0, 0, 5, 5, 5], Trend("process.memory.usage")),
    ],
)
def test_the_memory_s_trend(values: list[int], expected: Trend) -> None:
    process, last = Process(), 0
    for value in values:
        process.memory.add(value - last)
        last = value
        process.sample()
    assert take(process.sampler).memory_trend == expected


def durations(process: Process, instrument: Any, seconds: list[float], times: int = 10) -> None:
    for each in seconds:
        for _ in range(times):
            instrument.record(each)
        process.sample()


@pytest.mark.parametrize(
    ("seconds", "direction", "change"),
    [
        ([0.1] * 4 + [0.15] * 4, "rising", 0.5),
        ([0.2] * 4 + [0.1] * 4, "falling", -0.5),
        ([0.1] * 8, "stable", 0.0),
        ([0.1] * 4, "unknown", None),
    ],
)
def test_the_performance_s_trend_is_of_requests(
    seconds: list[float], direction: str, change: float | None
) -> None:
    process = Process()
    process.sample()
    durations(process, process.requests, seconds)
    found = take(process.sampler).performance_trend
    assert (found.metric, found.direction) == (names.HTTP_SERVER_REQUEST_DURATION.name, direction)
    assert found.change == (None if change is None else pytest.approx(change, abs=0.01))


def test_without_requests_it_is_of_preloads_and_few_say_nothing() -> None:
    process = Process()
    process.sample()
    durations(process, process.requests, [0.1] * 8, times=1)
    assert take(process.sampler).performance_trend.direction == "unknown"
    durations(process, process.durations, [1.0] * 8)
    durations(process, process.durations, [3.0] * 16)
    found = take(process.sampler).performance_trend
    assert (found.metric, found.direction) == (names.PRELOAD_DURATION.name, "rising")


def test_the_public_call_without_a_launch() -> None:
    assert statistics().interval is None


def test_the_public_face_stays_light() -> None:
    program = (
        "import sys, spanwise; light = not any(m.startswith('opentelemetry') or m == 'dataclasses' "
        "for m in sys.modules); assert spanwise.statistics().memory; assert light; "
        "assert 'spanwise.distro' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("exporter", ["otlp", "none", "console"])
@pytest.mark.parametrize("temporality", ["cumulative", "delta"])
def test_it_works_whatever_is_exported(exporter: str, temporality: str) -> None:
    program = """
import json, os, spanwise
spanwise.configure(service_name="shop")
from opentelemetry import metrics
counter = metrics.get_meter("app").create_counter("preload.events")
counter.add(3, {"outcome": "success"})
first = spanwise.statistics()
counter.add(1, {"outcome": "timeout"})
print(json.dumps([first.as_dict(), spanwise.statistics().as_dict()]))
child = os.fork()
if child == 0:
    counter.add(2, {"outcome": "failure"})
    print("child", spanwise.statistics().preloads.total, flush=True)
    os._exit(0)
os.waitpid(child, 0)
"""
    environment = {
        "OTEL_METRICS_EXPORTER": exporter,
        "OTEL_TRACES_EXPORTER": "none",
        "OTEL_LOGS_EXPORTER": "none",
        "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE": temporality,
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9",
        "SPANWISE_EXIT_TIMEOUT": "0",
        "SPANWISE_ENABLED_INSTRUMENTATIONS": "logging",
        "SPANWISE_PROFILE": "testing",
    }
    done = subprocess.run(
        [sys.executable, "-u", "-c", program],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, **environment},
    )
    lines = [line for line in done.stdout.splitlines() if line.startswith(('[{"memory', "child"))]
    assert len(lines) == 2, done.stdout + done.stderr
    first, second = json.loads(lines[0])
    assert first["preloads"] == {"total": 3, "success_rate": 1.0, "mean_time": None}
    assert second["preloads"] == {"total": 4, "success_rate": 0.75, "mean_time": None}
    assert (first["interval"], first["samples"]) == (5.0, 0)
    assert lines[1] == "child 2"


def test_it_tells_what_the_small_api_was_told() -> None:
    program = """
import spanwise
spanwise.configure(service_name="player")

class Player:
    def __init__(self, track):
        spanwise.controllers.track(self, id=track)

    @spanwise.controllers.loading()
    def load(self, works):
        if not works:
            raise ValueError("damaged")

players = [Player(track) for track in range(3)]
players[0].load(True)
try:
    players[1].load(False)
except ValueError:
    pass
for success in (True, True, True, False):
    spanwise.preload("track").record(success=success, duration=2.0)
print(spanwise.statistics().as_dict())
"""
    environment = {f"OTEL_{signal}_EXPORTER": "none" for signal in ("TRACES", "METRICS", "LOGS")}
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, **environment, "SPANWISE_ENABLED_INSTRUMENTATIONS": "logging"},
    )
    found = ast.literal_eval(done.stdout)
    assert found["preloads"] == {"total": 4, "success_rate": 0.75, "mean_time": 2.0}
    assert found["controllers"]["total"] == 3
    assert (found["controllers"]["ready"], found["controllers"]["failed"]) == (1, 1)


def test_statistics_need_no_psutil() -> None:
    """It takes 80 ms to import; where the process's meters are made, that is on a thread of ours."""
    code = "import sys, spanwise; assert spanwise.statistics().memory; print('psutil' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("False\n", "")
