"""`spanwise gate`: 1 only for a breach, 2 for whatever goes wrong, and no secret in what it prints."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
import threading
import urllib.parse
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from spanwise.gate.gate import Verdict

SECRET = "s3cr3t"


class Prometheus:
    """Answers with one series of memory, whose bytes a test sets, and of nothing else."""

    def __init__(self) -> None:
        self.memory: list[float] = [1e6]
        self.status = 200
        self.looks = 0
        self.authorization: str | None = None
        told = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                form = dict(
                    urllib.parse.parse_qsl(self.rfile.read(int(self.headers["Content-Length"])).decode())
                )
                told.authorization = self.headers.get("Authorization")
                text = json.dumps({"status": "success", "data": told.data(form)}).encode()
                self.send_response(told.status)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.address = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    def data(self, form: dict[str, str]) -> dict[str, Any]:
        if form["query"] == "time()":
            self.looks += 1
            return {"resultType": "scalar", "result": [1000.0, "1000"]}
        if "start" not in form:
            known = form["query"].startswith("count({")
            return {"resultType": "vector", "result": [{"metric": {}, "value": [1000, "5"]}] if known else []}
        if not form["query"].startswith("process_memory_usage_bytes{"):
            return {"resultType": "matrix", "result": []}
        start, end, step = (float(form[key]) for key in ("start", "end", "step"))
        memory = self.memory[min(self.looks, len(self.memory)) - 1]
        moments = [start + step * number for number in range(int((end - start) / step) + 1)]
        series = {"metric": {"service_name": "[bold]shop"}, "values": [[at, str(memory)] for at in moments]}
        return {"resultType": "matrix", "result": [series]}


@pytest.fixture
def prometheus() -> Iterator[Prometheus]:
    made = Prometheus()
    yield made
    made.server.shutdown()
    made.server.server_close()


def gate(
    folder: Path, *options: str, thresholds: str = "gate: {http_errors: off}", **env: str
) -> subprocess.CompletedProcess[str]:
    (folder / "thresholds.yaml").write_text(f"version: 1\n{thresholds}\n", encoding="utf-8")
    return subprocess.run(
        [sys.executable, "-m", "spanwise", "gate", *options],
        cwd=folder,
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_good_breached_and_unknown(tmp_path: Path, prometheus: Prometheus) -> None:
    options = ("--prometheus", prometheus.address, "--service", "shop")
    done = gate(tmp_path, *options)
    assert (done.returncode, done.stderr) == (0, "")
    assert "good: no limit was passed (service_name=shop)" in done.stdout
    assert "not measured, so not judged: " in done.stdout

    prometheus.memory = [2e9]
    done = gate(tmp_path, *options)
    assert done.returncode == 1
    assert "breached: roll back" in done.stdout
    (row,) = (line for line in done.stdout.splitlines() if "memory (trigger)" in line)
    for said in ("breached", "2000 MB", "1000 MB", "600 s of 300 s", "service_name=[bold]shop"):
        assert said in row

    done = gate(tmp_path, *options, thresholds="gate: {}")  # http_errors must be measured
    assert done.returncode == 1, "a breach is one, whatever else cannot be told"
    prometheus.memory = [1e6]
    done = gate(tmp_path, *options, thresholds="gate: {}")
    assert done.returncode == 2
    assert "gate: {http_errors: off}" in done.stdout.replace("\n", " ")


def test_json(tmp_path: Path, prometheus: Prometheus) -> None:
    prometheus.memory = [2e9]
    done = gate(tmp_path, "--prometheus", prometheus.address, "--version", "2", "--json")
    found = json.loads(done.stdout)
    assert (done.returncode, found["exit"], found["verdict"]) == (1, 1, "breached")
    assert found["scope"] == {"service_version": "2"}
    assert found["window_seconds"] == 600
    assert found["rules"][0]["name"] == "memory"
    assert found["rules"][0]["figure"] == 2e9


@pytest.mark.parametrize("status", [401, 404, 500])
def test_what_goes_wrong_is_2_and_no_secret_is_shown(
    tmp_path: Path, prometheus: Prometheus, status: int
) -> None:
    prometheus.status = status
    file = tmp_path / "headers"
    file.write_text(f"Authorization: Bearer {SECRET}\n\n", encoding="utf-8")
    done = gate(tmp_path, "--prometheus", prometheus.address, "--headers", str(file), "--json")
    assert done.returncode == 2
    assert prometheus.authorization == f"Bearer {SECRET}"
    assert json.loads(done.stdout)["verdict"] == "unknown"
    assert "cannot tell" in done.stderr
    assert SECRET not in done.stdout + done.stderr


def test_headers_from_the_environment(tmp_path: Path, prometheus: Prometheus) -> None:
    done = gate(
        tmp_path,
        "--prometheus",
        prometheus.address,
        "--service",
        "shop",
        SPANWISE_PROMETHEUS_HEADERS=f"authorization=Bearer%20{SECRET}",
    )
    assert (done.returncode, prometheus.authorization) == (0, f"Bearer {SECRET}")
    for bad in (SECRET, f"a={SECRET}%0a"):
        done = gate(tmp_path, "--prometheus", prometheus.address, SPANWISE_PROMETHEUS_HEADERS=bad)
        assert done.returncode == 2
        assert "SPANWISE_PROMETHEUS_HEADERS" in done.stderr
        assert SECRET not in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--window", "10"), "no duration"),
        (("--window", "10 parsecs"), "no duration"),
        (("--match", "pod"), "no label=value"),
        (("--match", "a-b=c"), "no label=value"),
        (("--ignore", "memry"), "Did you mean 'memory'"),
        (("--severity", "info"), "info"),
        (("--thresholds", "nowhere.yaml"), "nowhere.yaml"),
        (("--profile", "nowhere"), "there is no profile 'nowhere'"),
        (("--headers", "nowhere"), "nowhere"),
    ],
)
def test_wrong_options_are_2(tmp_path: Path, options: tuple[str, ...], said: str) -> None:
    done = gate(tmp_path, "--prometheus", "http://127.0.0.1:9", *options)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_a_mistake_in_the_thresholds_is_2(tmp_path: Path) -> None:
    done = gate(tmp_path, "--prometheus", "http://127.0.0.1:9", thresholds="gate: {memry: {}}")
    assert done.returncode == 2
    assert "thresholds.yaml:2:" in done.stderr


def test_ignored_rules_do_not_count(tmp_path: Path, prometheus: Prometheus) -> None:
    prometheus.memory = [2e9]
    done = gate(
        tmp_path, "--prometheus", prometheus.address, "--service", "shop", "--ignore", "memory", "--json"
    )
    found = json.loads(done.stdout)
    assert "memory" not in {each["name"] for each in found["rules"]}
    assert (done.returncode, found["reason"]) == (2, "nothing that has a limit is measured")


def test_waiting_ends_with_a_breach(tmp_path: Path, prometheus: Prometheus) -> None:
    prometheus.memory = [1e6, 1e6, 2e9, 1e6]
    done = gate(
        tmp_path, "--prometheus", prometheus.address, "--service", "shop", "--wait", "50s", "--every", "50ms"
    )
    assert (done.returncode, prometheus.looks) == (1, 3)
    assert done.stderr.count("good; looking on") == 2


def test_waiting_ends_with_the_last_look(tmp_path: Path, prometheus: Prometheus) -> None:
    done = gate(
        tmp_path,
        "--prometheus",
        prometheus.address,
        "--service",
        "shop",
        "--wait",
        "400ms",
        "--every",
        "100ms",
    )
    assert done.returncode == 0
    assert prometheus.looks > 2


def test_a_fault_of_ours_is_2_and_an_interrupt_130() -> None:
    program = """
import sys
from spanwise.commands import gate
def broken(*a, **k): raise {error}
gate._run = broken
sys.argv = ["spanwise", "gate", "--prometheus", "http://127.0.0.1:9"]
from spanwise.commands.main import main
main()
"""
    for error, status in (("ZeroDivisionError('x')", 2), ("MemoryError", 2), ("KeyboardInterrupt", 130)):
        done = subprocess.run(
            [sys.executable, "-c", program.format(error=error)], capture_output=True, text=True, timeout=60
        )
        assert done.returncode == status, done.stderr


def test_nobody_who_reads_changes_nothing(tmp_path: Path, prometheus: Prometheus) -> None:
    (tmp_path / "thresholds.yaml").write_text("version: 1\ngate: {http_errors: off}\n", encoding="utf-8")
    for options in ((), ("--json",)):
        reading, writing = os.pipe()
        os.close(reading)
        command = [sys.executable, "-m", "spanwise", "gate", "--prometheus", prometheus.address]
        try:
            done = subprocess.run(
                [*command, "--service", "shop", *options],
                cwd=tmp_path,
                stdout=writing,
                stderr=writing,
                timeout=60,
            )
        finally:
            os.close(writing)
        assert done.returncode == 0


@pytest.mark.parametrize(
    ("wait", "every", "looks"),
    [
        (0.0, 30.0, [0.0]),
        (0.9, 1.0, [0.0, 0.9]),
        (1.4, 1.0, [0.0, 1.0, 1.4]),
        (2.0, 1.0, [0.0, 1.0, 2.0]),
    ],
)
def test_the_last_look_is_at_the_end_of_the_wait(
    monkeypatch: pytest.MonkeyPatch, wait: float, every: float, looks: list[float]
) -> None:
    command = importlib.import_module("spanwise.commands.gate")
    now, seen = [0.0], []

    class Clock:
        @staticmethod
        def monotonic() -> float:
            return now[0]

        @staticmethod
        def sleep(seconds: float) -> None:
            now[0] += seconds

    def look() -> Verdict:
        seen.append(now[0])
        return Verdict("good", now[0])

    monkeypatch.setattr(command, "time", Clock)
    assert command._watch(look, wait, every).at == wait
    assert seen == pytest.approx(looks)
