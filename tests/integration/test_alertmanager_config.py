"""The generated Alertmanager configuration under the real amtool, and the real Alertmanager telling by it."""

from __future__ import annotations

import json
import subprocess
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from collectors import port, until
from parts import need

from spanwise.artefacts.alertmanager import alertmanager
from spanwise.thresholds.load import load, read

pytestmark = pytest.mark.real
ROOT = Path(__file__).resolve().parents[2]
INSTALL = "apt-get install prometheus-alertmanager"
HANDLERS = """
version: 1
alerts:
  throttle: 1s
  repeat: 1h
  handlers:
    ops: {{webhook: '{base}/ops'}}
    chat: {{slack: '{base}/chat', severities: [warning]}}
    secret: {{slack: {{file: /run/secrets/slack}}, severities: []}}
    duty: {{pagerduty: abc123, severities: [critical]}}
    duty2: {{pagerduty: {{file: /run/secrets/pd 2}}, severities: [critical]}}
    log:
"""


def amtool(*arguments: str) -> str:
    done = subprocess.run(
        [need("amtool", INSTALL), *arguments], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.strip()


@pytest.fixture(scope="module")
def every_handler(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("amtool") / "alertmanager.yaml"
    text = HANDLERS.replace("severities: []", "severities: [critical, warning]").format(
        base="https://x.example:8/a"
    )
    path.write_text(alertmanager(read(text).rules), encoding="utf-8")
    return path


def test_amtool_accepts_it(every_handler: Path, tmp_path: Path) -> None:
    shipped = tmp_path / "alertmanager.yaml"
    shipped.write_text(alertmanager(load().rules), encoding="utf-8")
    for path in (every_handler, shipped, ROOT / "collector" / "alertmanager.yaml"):
        assert "SUCCESS" in amtool("check-config", str(path))


@pytest.mark.parametrize(
    ("labels", "receiver"),
    [
        (["severity=critical", "alertname=memory"], "critical"),
        (["severity=warning"], "warning"),
        (["severity=page"], "other"),
        (["alertname=critical"], "other"),
    ],
)
def test_routes_by_severity(every_handler: Path, labels: list[str], receiver: str) -> None:
    assert amtool("config", "routes", "test", f"--config.file={every_handler}", *labels) == receiver


class Told:
    """A web server that keeps what it is told."""

    def __init__(self) -> None:
        self.bodies: list[tuple[str, Any]] = []
        told = self

        class Answer(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                told.bodies.append((self.path, json.loads(body)))
                self.send_response(200)
                self.end_headers()
                self.wfile.write(b"ok")

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Answer)
        self.base = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def of(self, path: str) -> list[Any]:
        return [body for where, body in list(self.bodies) if where == path]


@contextmanager
def running(tmp_path: Path, configuration: str) -> Iterator[str]:
    config = tmp_path / "alertmanager.yaml"
    config.write_text(configuration, encoding="utf-8")
    address = f"127.0.0.1:{port()}"
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            [
                need("prometheus-alertmanager", INSTALL),
                f"--config.file={config}",
                f"--storage.path={tmp_path / 'data'}",
                f"--web.listen-address={address}",
                "--cluster.listen-address=",
            ],
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        until(
            "Alertmanager",
            lambda: urllib.request.urlopen(f"http://{address}/-/ready", timeout=2).status == 200,
        )
        yield f"http://{address}"
    finally:
        process.terminate()
        process.wait(10)


def test_handlers_are_told_of_their_severities_and_that_it_is_over(tmp_path: Path) -> None:
    told = Told()
    text = HANDLERS.replace("    secret: {{slack: {{file: /run/secrets/slack}}, severities: []}}\n", "")
    text = "\n".join(line for line in text.splitlines() if "duty" not in line).format(base=told.base)
    hostile = 'memory <!channel> & "{{ .Values }}" ${env:HOME}'
    try:
        with running(tmp_path, alertmanager(read(text).rules)) as address:

            def alert(severity: str, *more: str, service: str = "shop") -> None:
                labels = [
                    f"severity={severity}",
                    f"service_name={service}",
                    "alertname=" + json.dumps(hostile),
                ]
                notes = ["--annotation=summary=" + json.dumps(hostile), "--annotation=description=It is 5"]
                amtool("alert", "add", f"--alertmanager.url={address}", *labels, *notes, *more)

            alert("critical")
            until("the webhook", lambda: told.of("/ops"))
            first = told.of("/ops")[0]
            assert first["commonLabels"] == {
                "severity": "critical",
                "service_name": "shop",
                "alertname": hostile,
            }
            assert first["status"] == "firing"
            # Critical holds the warning of the same name and service back; another service's is told.
            alert("warning")
            alert("warning", service="other")
            until("the chat", lambda: told.of("/chat"), 60)
            (attachment,) = told.of("/chat")[0]["attachments"]
            assert "&lt;!channel&gt; &amp;" in attachment["title"]
            assert "<!channel>" not in json.dumps(told.of("/chat"))
            services = {
                each["commonLabels"]["service_name"]
                for each in told.of("/ops")
                if each["receiver"] == "warning"
            }
            assert services == {"other"}
            alert("critical", "--end=2001-01-01T00:00:00Z", "--start=2000-01-01T00:00:00Z")
            until(
                "that it is over",
                lambda: [each for each in told.of("/ops") if each["status"] == "resolved"],
                60,
            )
    finally:
        told.server.shutdown()
        told.server.server_close()
