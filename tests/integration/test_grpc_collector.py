"""OTLP/gRPC to the real Collector: while it is away, what is too large for it, and a killed process."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from collectors import until
from parts import need
from servers import free_port

CONFIG = """
receivers:
  otlp: {{protocols: {{grpc: {{endpoint: "127.0.0.1:{port}", max_recv_msg_size_mib: 1}}}}}}
exporters:
  file: {{path: "{out}", append: true, flush_interval: 200ms}}
service:
  telemetry: {{metrics: {{level: none}}}}
  pipelines:
    traces: {{receivers: [otlp], exporters: [file]}}
    metrics: {{receivers: [otlp], exporters: [file]}}
    logs: {{receivers: [otlp], exporters: [file]}}
"""

RECORD = """
import logging, os, sys
from opentelemetry import metrics, trace
tracer = trace.get_tracer("case")
print("ready", flush=True)
for line in sys.stdin:
    name, count, size, last = line.split()
    for number in range(int(count)):
        text = os.urandom(int(size)).hex()
        tracer.start_span(f"{name}-{number}-", attributes={"text": text}).end()
    metrics.get_meter("case").create_counter(name + "-counted").add(1)
    logging.getLogger("case").warning(name + "-said")
    if last == "kill":
        os.kill(os.getpid(), 9)
    print("recorded", flush=True)
"""


@contextmanager
def collector(folder: Path, port: int) -> Iterator[None]:
    config = folder / "collector.yaml"
    config.write_text(CONFIG.format(port=port, out=folder / "out.jsonl"), "utf-8")
    with (folder / "log").open("ab") as output:
        process = subprocess.Popen(
            [need("otelcol", "scripts/build-collector"), "--config", str(config)],
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:

        def listens() -> bool:
            if process.poll() is not None:
                pytest.fail((folder / "log").read_text(errors="replace")[-4000:], pytrace=False)
            with socket.create_connection(("127.0.0.1", port), 1):
                return True

        until("the Collector", listens)
        yield
    finally:
        process.terminate()
        process.wait(30)


@contextmanager
def application(folder: Path, port: int) -> Iterator[subprocess.Popen[str]]:
    plain = {name: value for name, value in os.environ.items() if not name.startswith(("OTEL_", "SPANWISE_"))}
    process = subprocess.Popen(
        [sys.executable, "-m", "spanwise", "run", sys.executable, "-c", RECORD],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=folder,
        env={
            **plain,
            "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc",
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"127.0.0.1:{port}",
            "OTEL_EXPORTER_OTLP_INSECURE": "true",
            "OTEL_EXPORTER_OTLP_COMPRESSION": "gzip",
            "OTEL_BSP_SCHEDULE_DELAY": "200",
            "OTEL_METRIC_EXPORT_INTERVAL": "500",
            "SPANWISE_SPOOL_DIR": str(folder / "spool"),
        },
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    try:
        yield process
    finally:
        if process.poll() is None:
            process.communicate(timeout=60)


def say(process: subprocess.Popen[str], line: str) -> str:
    assert process.stdin is not None
    assert process.stdout is not None
    print(line, file=process.stdin, flush=True)
    return process.stdout.readline()


def test_what_is_recorded_arrives_whatever_happens_to_the_collector_and_to_the_process(
    tmp_path: Path,
) -> None:
    port = free_port()

    def arrived(name: str, count: int) -> bool:
        text = (tmp_path / "out.jsonl").read_text()
        spans = sum(text.count(f'"{name}-{number}-"') for number in range(count))
        assert spans <= count
        return spans == count and f'"{name}-counted"' in text and f'"{name}-said"' in text

    with application(tmp_path, port) as process:
        with collector(tmp_path, port):
            say(process, "first 50 10 go")
            until("the first", lambda: arrived("first", 50))
            # 3 MB of random bytes, as text: more than the Collector takes at once, however they are packed.
            say(process, "large 60 25000 go")
            until("the large", lambda: arrived("large", 60))
        say(process, "waiting 50 10 go")
        with collector(tmp_path, port):
            until("what waited", lambda: arrived("waiting", 50))
    with application(tmp_path, port) as process:
        say(process, "killed 40 10 kill")
        assert process.wait(60) == -signal.SIGKILL
    with collector(tmp_path, port), application(tmp_path, port) as process:
        say(process, "next 1 10 go")
        text = tmp_path / "out.jsonl"
        until("the killed", lambda: all(f'"killed-{number}-"' in text.read_text() for number in range(40)))
