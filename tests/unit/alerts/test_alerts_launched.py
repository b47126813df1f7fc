"""Alerts and slow operations in launched processes."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

QUIET = {f"OTEL_{signal}_EXPORTER": "none" for signal in ("TRACES", "METRICS", "LOGS")}
THRESHOLDS = """
version: 1
spans: {work: {match: {span.name: work}, good: 1ns, acceptable: 2ns, poor: 3ns}}
metrics:
  resident: {level: process.memory.usage, warning: 1MB, critical: 2MB}
history: {interval: 1s}
alerts:
  throttle: 5m
  handlers:
    log:
    event:
    lines: {file: alerts.jsonl}
    hangs: {webhook: 'HANGS'}
    ops: {webhook: {file: address}}
    chat: {slack: 'OPS/slack', severities: [warning]}
"""
APPLICATION = """
import json, os, sys, threading, time
import spanwise
told = threading.Event()

@spanwise.on_alert
def tell(alert):
    print(json.dumps(alert.as_dict()), flush=True)
    told.set()

@spanwise.on_alert
def broken(alert):
    raise RuntimeError("mine")

spanwise.configure()
from opentelemetry import trace
with trace.get_tracer("app").start_as_current_span("work"):
    pass
print(json.dumps([each.as_dict() for each in spanwise.slow_operations()]), flush=True)
assert told.wait(60)
deadline = time.monotonic() + 60
while not os.path.exists("told"):
    assert time.monotonic() < deadline
    time.sleep(0.01)
if len(sys.argv) > 1:
    told.clear()
    child = os.fork()
    if child == 0:
        assert spanwise.slow_operations() == []
        os._exit(0 if told.wait(60) else 1)
    assert os.waitpid(child, 0)[1] == 0
"""


class Receivers:
    """One that answers, and one that takes connections and says nothing."""

    def __init__(self, told: Path) -> None:
        self.bodies: list[tuple[str, Any]] = []
        mine = self

        class Answer(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                mine.bodies.append((self.path, body))
                self.send_response(200)
                self.end_headers()
                told.touch()

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()
        self.silent = socket.create_server(("127.0.0.1", 0))
        self.silence = f"http://127.0.0.1:{self.silent.getsockname()[1]}/"


@pytest.fixture
def receivers(tmp_path: Path) -> Iterator[Receivers]:
    made = Receivers(tmp_path / "told")
    yield made
    made.server.shutdown()
    made.server.server_close()
    made.silent.close()


def run(folder: Path, receivers: Receivers, *arguments: str) -> subprocess.CompletedProcess[str]:
    thresholds = THRESHOLDS.replace("HANGS", receivers.silence).replace("OPS", receivers.url)
    (folder / "thresholds.yaml").write_text(thresholds)
    (folder / "address").write_text(f"{receivers.url}/ops\n")
    done = subprocess.run(
        [sys.executable, "-c", APPLICATION, *arguments],
        capture_output=True,
        text=True,
        timeout=90,
        cwd=folder,
        env={**os.environ, **QUIET, "OTEL_SERVICE_NAME": "shop"},
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    return done


def test_a_receiver_that_hangs_and_a_function_that_raises_delay_nobody(
    tmp_path: Path, receivers: Receivers
) -> None:
    done = run(tmp_path, receivers)
    slow, alert = (json.loads(line) for line in done.stdout.splitlines())
    assert [(each["name"], each["rating"], each["rule"]) for each in slow] == [("work", "critical", "work")]
    assert (alert["name"], alert["severity"], alert["status"]) == ("resident", "critical", "firing")
    assert (alert["service"], alert["metric"], alert["limit"]) == ("shop", "process.memory.usage", 2e6)
    # Of the warning nobody is told while it is worse: chat, which is told of warnings only, of nothing.
    ((path, body),) = receivers.bodies
    assert (path, body) == ("/ops", {"version": 1, **alert})
    assert json.loads((tmp_path / "alerts.jsonl").read_text("utf-8")) == alert
    errors = done.stderr.splitlines()
    assert sum("spanwise: slow operation: work took" in line for line in errors) == 1
    assert sum(f"spanwise: critical alert: {alert['summary']}" in line for line in errors) == 1
    assert sum("broken could not tell that resident is firing" in line for line in errors) == 1
    assert len(errors) == 3


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system cannot fork")
def test_a_forked_child_tells_for_itself(tmp_path: Path, receivers: Receivers) -> None:
    done = run(tmp_path, receivers, "fork")
    alerts = [json.loads(line) for line in done.stdout.splitlines()[1:]]
    assert [alert["name"] for alert in alerts] == ["resident", "resident"]
    assert len({alert["pid"] for alert in alerts}) == 2


def test_without_a_history_nothing_is_started(tmp_path: Path) -> None:
    (tmp_path / "thresholds.yaml").write_text("version: 1\nhistory: {samples: 0}\n")
    code = (
        "import spanwise, sys; spanwise.on_alert(print); spanwise.configure();"
        "from spanwise.log import own_threads; print(sorted(own_threads.values()));"
        "print([each for each in sys.modules if each.startswith('spanwise.alerts.')])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=tmp_path,
        env={**os.environ, **QUIET},
    )
    threads, modules = done.stdout.splitlines()
    assert "spanwise-history" not in threads
    assert "spanwise.alerts.engine" not in modules
    assert "spanwise.alerts.listeners" in modules


def test_the_import_of_spanwise_stays_bare() -> None:
    code = "import sys; before = set(sys.modules); import spanwise; print(sorted(set(sys.modules) - before))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert "spanwise.alerts.listeners" in done.stdout
    for other in ("spanwise.alerts.slow", "spanwise.alerts.notification", "spanwise.rules", "dataclasses"):
        assert f"'{other}'" not in done.stdout
