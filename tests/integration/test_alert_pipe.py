"""An alert's whole way: a metric, the real Prometheus, the real Alertmanager, a webhook."""

from __future__ import annotations

import subprocess
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml
from alertmanagers import Told, running
from collectors import until
from parts import need
from servers import free_port

from spanwise.artefacts.alertmanager import alertmanager
from spanwise.artefacts.prometheus import rules_file
from spanwise.thresholds.load import read

pytestmark = pytest.mark.real
TEXT = """
version: 1
metrics:
  memory: {{for: 1s}}
  disposal_errors: {{over: 1h}}
alerts:
  throttle: 1s
  handlers: {{ops: {{webhook: '{base}/ops'}}}}
"""


class Shown:
    """What a Collector's exporter would show: a page of metrics that the test turns."""

    def __init__(self) -> None:
        self.text = ""
        shown = self

        class Answer(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.send_header("Content-Type", "text/plain; version=0.0.4")
                self.end_headers()
                self.wfile.write(shown.text.encode())

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Answer)
        self.address = f"127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()


@contextmanager
def prometheus(folder: Path, rules: str, target: str, alerts_to: str) -> Iterator[str]:
    (folder / "rules.yaml").write_text(rules, encoding="utf-8")
    config = {
        "global": {"scrape_interval": "250ms", "scrape_timeout": "250ms", "evaluation_interval": "250ms"},
        "rule_files": ["rules.yaml"],
        "scrape_configs": [
            {"job_name": "spanwise", "honor_labels": True, "static_configs": [{"targets": [target]}]}
        ],
        "alerting": {
            "alertmanagers": [{"static_configs": [{"targets": [alerts_to.removeprefix("http://")]}]}]
        },
    }
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config), encoding="utf-8")
    address = f"127.0.0.1:{free_port()}"
    with (folder / "prometheus.log").open("wb") as log:
        process = subprocess.Popen(
            [
                need("prometheus", "apt-get install prometheus"),
                f"--config.file={folder / 'prometheus.yml'}",
                f"--storage.tsdb.path={folder / 'tsdb'}",
                f"--web.listen-address={address}",
                "--rules.alert.resend-delay=1s",
            ],
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        ready = f"http://{address}/-/ready"
        until("Prometheus", lambda: urllib.request.urlopen(ready, timeout=2).status == 200)
        yield f"http://{address}"
    finally:
        process.terminate()
        process.wait(15)


def test_a_limit_passed_reaches_the_webhook_and_so_does_its_end(tmp_path: Path) -> None:
    told, shown = Told(), Shown()
    rules = read(TEXT.format(base=told.base)).rules
    series = 'process_memory_usage_bytes{{service_name="shop"}} {}\n'
    try:
        with (
            running(tmp_path, alertmanager(rules)) as manager,
            prometheus(tmp_path, rules_file(rules), shown.address, manager),
        ):

            def statuses(severity: str) -> list[str]:
                return [each["status"] for each in told.of("/ops") if each["receiver"] == severity]

            shown.text = series.format(600_000_000)
            until("the warning", lambda: statuses("warning"), 60)
            assert statuses("critical") == []
            shown.text = series.format(900_000_000)
            until("the critical alert", lambda: statuses("critical"), 60)
            (alert,) = told.of("/ops")[-1]["alerts"]
            assert alert["labels"]["service_name"] == "shop"
            assert alert["annotations"]["summary"] == "memory is above 800000000 in shop"
            assert alert["annotations"]["accuracy"]
            shown.text = series.format(1)
            until("its end", lambda: "resolved" in statuses("critical"), 60)
    finally:
        for each in (told, shown):
            each.server.shutdown()
            each.server.server_close()
