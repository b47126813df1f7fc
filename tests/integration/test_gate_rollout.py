"""`spanwise gate` and the rollout example against a real Prometheus that scrapes a version going bad."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml
from parts import need
from servers import ROOT, free_port, running, wait_for

pytestmark = pytest.mark.real

# The shipped limits, with times that a test can wait for.
THRESHOLDS = """
version: 1
metrics:
  http_errors: {over: 3s, for: 1s, minimum: 5}
  controllers: {critical: 20}
gate:
  memory: {limit: 1GB, for: 2s}
  http_errors: {for: 1s}
"""
GATE = f"{sys.executable} -m spanwise gate"


class Service:
    """What two versions of a service show: memory, and requests that go on with time."""

    def __init__(self) -> None:
        self.memory = {"1": 300e6, "2": 300e6}
        self.failing = {"1": 0.0, "2": 0.0}  # the share of requests
        self.silent: set[str] = set()
        self._began = time.monotonic()
        self._counts = {version: [0.0, 0.0] for version in self.memory}
        self._last = self._began
        service = self

        class Answer(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.send_header("Content-Type", "text/plain; version=0.0.4")
                self.end_headers()
                self.wfile.write(service.text().encode())

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Answer)
        self.address = f"127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    def text(self) -> str:
        now = time.monotonic()
        passed, self._last = now - self._last, now
        lines = []
        for version, memory in self.memory.items():
            if version in self.silent:
                continue
            served, failed = self._counts[version]
            bad = 50 * passed * self.failing[version]
            self._counts[version] = [served + 50 * passed - bad, failed + bad]
            labels = f'service_name="shop",service_version="{version}"'
            lines.append(f"process_memory_usage_bytes{{{labels}}} {memory}")
            for status, count in zip(("UNSET", "ERROR"), self._counts[version], strict=True):
                if count:  # as the Collector: no series before the first of its kind
                    own = f'{labels},span_kind="SPAN_KIND_SERVER",status_code="STATUS_CODE_{status}"'
                    lines.append(f"traces_span_metrics_calls_total{{{own}}} {count}")
        return "\n".join(lines) + "\n"


@contextmanager
def prometheus(folder: Path, target: str) -> Iterator[str]:
    config = {
        "global": {"scrape_interval": "250ms", "scrape_timeout": "250ms"},
        "scrape_configs": [
            {"job_name": "spanwise", "honor_labels": True, "static_configs": [{"targets": [target]}]}
        ],
    }
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config), encoding="utf-8")
    address = f"127.0.0.1:{free_port()}"
    command = [
        need("prometheus", "apt-get install prometheus"),
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'tsdb'}",
        f"--web.listen-address={address}",
    ]
    port = int(address.rpartition(":")[2])
    with running(command, folder / "prometheus.log", lambda: _ready(port)):
        yield f"http://{address}"


def _ready(port: int) -> bool:
    import urllib.request

    with urllib.request.urlopen(f"http://127.0.0.1:{port}/-/ready", timeout=2) as answer:
        return bool(answer.status == 200)


@pytest.fixture
def service() -> Iterator[Service]:
    made = Service()
    yield made
    made.server.shutdown()
    made.server.server_close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "thresholds.yaml").write_text(THRESHOLDS, encoding="utf-8")
    return tmp_path


def gate(folder: Path, address: str, *options: str) -> tuple[int, dict[str, Any]]:
    done = subprocess.run(
        [*GATE.split(), "--prometheus", address, "--service", "shop", "--json", *options],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, json.loads(done.stdout)


def rows(verdict: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {each["name"]: each for each in verdict["rules"] if each["severity"] == "critical"}


def test_a_good_version_is_good_and_each_breach_is_told(folder: Path, service: Service) -> None:
    with prometheus(folder, service.address) as address:
        new = ("--version", "2", "--window", "6s")
        wait_for(lambda: gate(folder, address, *new)[0] == 0, 60, "a good verdict")
        status, verdict = gate(folder, address, *new)
        found = rows(verdict)
        assert (status, verdict["verdict"]) == (0, "good")
        assert found["memory"]["verdict"] == "good"
        assert found["memory"]["figure"] == 300e6
        # No request failed, so there is no such series: that is none, not unknown.
        assert (found["http_errors"]["verdict"], found["http_errors"]["figure"]) == ("good", 0)
        assert found["controllers"]["verdict"] == "unmeasured"

        service.memory["1"], service.failing["1"] = 2e9, 1.0  # the old version is not what is asked about
        service.memory["2"] = 1.5e9
        wait_for(lambda: gate(folder, address, *new)[0] == 1, 60, "a breach")
        found = rows(gate(folder, address, *new)[1])
        assert (found["memory"]["verdict"], found["memory"]["figure"]) == ("breached", 1.5e9)
        assert found["memory"]["above_seconds"] >= found["memory"]["for_seconds"] == 2
        assert found["memory"]["labels"]["service_version"] == "2"
        assert found["http_errors"]["verdict"] == "good"

        service.memory["2"], service.failing["2"] = 300e6, 0.5

        def only_errors() -> dict[str, Any] | None:
            found = rows(gate(folder, address, *new)[1])
            one, other = found["http_errors"], found["memory"]
            return one if (one["verdict"], other["verdict"]) == ("breached", "good") else None

        errors = wait_for(only_errors, 60, "the next breach")
        assert errors is not None
        assert 0.2 < errors["figure"] <= 1


def test_what_cannot_be_told_is_never_good(folder: Path, service: Service) -> None:
    with prometheus(folder, service.address) as address:
        wait_for(
            lambda: gate(folder, address, "--version", "2", "--window", "6s")[0] == 0, 60, "a good verdict"
        )

        status, verdict = gate(folder, address, "--version", "3")
        assert status == 2
        assert "of the service's versions it has: 1, 2" in verdict["reason"]

        status, verdict = gate(folder, address, "--match", "pod=none")
        assert (status, verdict["rules"]) == (2, [])

        status, verdict = gate(folder, address, "--version", "2", "--window", "1s")
        assert (status, verdict["verdict"]) == (2, "unknown")
        assert "--window 2s" in rows(verdict)["memory"]["reason"]

        service.silent.add("2")
        verdict = wait_for(
            lambda: (
                (found := gate(folder, address, "--version", "2", "--window", "30s"))[0] == 2 and found[1]
            ),
            60,
            "what no longer sends",
        )
        assert verdict["verdict"] == "unknown"

        (folder / "thresholds.yaml").write_text(
            THRESHOLDS + "  controllers: {}\n", encoding="utf-8"
        )  # a trigger must be measured
        status, verdict = gate(folder, address, "--version", "1", "--window", "6s")
        assert status == 2
        assert "gate: {controllers: off}" in rows(verdict)["controllers"]["reason"]


def rollout(folder: Path, address: str, version: str = "2") -> subprocess.CompletedProcess[str]:
    share = folder / "set-share"
    share.write_text(f'#!/bin/sh\necho "$1 $2" >> {folder}/shares\n', encoding="utf-8")
    share.chmod(0o755)
    return subprocess.run(
        [str(ROOT / "examples" / "rollout" / "rollout"), version, str(share)],
        cwd=folder,
        env={
            **os.environ,
            "PROMETHEUS": address,
            "SERVICE": "shop",
            "BAKE": "4s",
            "EVERY": "1s",
            "GATE": GATE,
        },
        capture_output=True,
        text=True,
        timeout=180,
    )


def shares(folder: Path) -> list[str]:
    return (folder / "shares").read_text(encoding="utf-8").splitlines()


def test_the_rollout_goes_on_rolls_back_and_stops(folder: Path, service: Service) -> None:
    with prometheus(folder, service.address) as address:
        wait_for(
            lambda: gate(folder, address, "--version", "2", "--window", "6s")[0] == 0, 60, "a good verdict"
        )
        done = rollout(folder, address)
        assert done.returncode == 0, done.stdout + done.stderr
        assert shares(folder) == ["10 2", "25 2", "50 2", "100 2"]

        (folder / "shares").unlink()
        stop = threading.Event()

        def spoil() -> None:
            """The version is bad from a quarter of the traffic on."""
            path = folder / "shares"
            while not stop.wait(0.05):
                if path.exists() and "25 2" in path.read_text(encoding="utf-8"):
                    service.failing["2"] = 0.9
                    return

        watching = threading.Thread(target=spoil)
        watching.start()
        try:
            done = rollout(folder, address)
        finally:
            stop.set()
            watching.join()
        assert done.returncode == 1, done.stdout + done.stderr
        assert shares(folder) == ["10 2", "25 2", "0 2"]
        assert "http_errors" in done.stdout
        assert "rolled back" in done.stderr

        (folder / "shares").unlink()
    done = rollout(folder, address)  # nobody answers any more
    assert done.returncode == 2, done.stdout + done.stderr
    assert shares(folder) == ["10 2"]
    assert "cannot be told" in done.stderr
