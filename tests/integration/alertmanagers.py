"""Runs the real Alertmanager with a configuration, and stands in the place of whom it tells."""

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

from collectors import until
from parts import need
from servers import free_port

INSTALL = "apt-get install prometheus-alertmanager"


def amtool(*arguments: str) -> str:
    done = subprocess.run(
        [need("amtool", INSTALL), *arguments], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.strip()


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
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    def of(self, path: str) -> list[Any]:
        return [body for where, body in list(self.bodies) if where == path]


@contextmanager
def running(tmp_path: Path, configuration: str) -> Iterator[str]:
    config = tmp_path / "alertmanager.yaml"
    config.write_text(configuration, encoding="utf-8")
    address = f"127.0.0.1:{free_port()}"
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
