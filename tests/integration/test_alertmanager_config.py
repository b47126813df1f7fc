"""The generated Alertmanager configuration under the real amtool, and the real Alertmanager telling by it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from alertmanagers import Told, amtool, running
from collectors import until

from spanwise.artefacts.alertmanager import alertmanager
from spanwise.thresholds.load import load, read

pytestmark = pytest.mark.real
ROOT = Path(__file__).resolve().parents[2]
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

# Those that the unit test of thresholds.handlers accepts.
ADDRESSES = (
    "http://x",
    "https://x.example/",
    "https://x.example:9093/a%20b/%C3%A4?token=%2F&x=1/2?",
    "http://127.0.0.1:8",
    "http://x.example:/a",
    "http://[::1]:9093/a",
    "http://a_b.example./a",
    "http://x?y",
)


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


def test_it_accepts_every_address_that_we_do(tmp_path: Path) -> None:
    named = ", ".join(f"h{number}: {{webhook: '{url}'}}" for number, url in enumerate(ADDRESSES))
    path = tmp_path / "alertmanager.yaml"
    path.write_text(
        alertmanager(read(f"version: 1\nalerts: {{handlers: {{{named}}}}}").rules), encoding="utf-8"
    )
    assert "SUCCESS" in amtool("check-config", str(path))


@pytest.mark.parametrize(
    ("labels", "receiver"),
    [
        (["severity=critical", "alertname=memory"], "critical"),
        (["severity=warning"], "warning"),
        (["severity=info"], "info"),
        (["severity=page"], "other"),
        (["alertname=critical"], "other"),
    ],
)
def test_routes_by_severity(every_handler: Path, labels: list[str], receiver: str) -> None:
    assert amtool("config", "routes", "test", f"--config.file={every_handler}", *labels) == receiver


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
