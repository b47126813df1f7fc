"""An OTLP/HTTP receiver that answers as a test says, and programs under `spanwise run` that send to it."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

READ: dict[str, Callable[[bytes], list[str]]] = {
    "traces": lambda body: [
        span.name
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ],
    "logs": lambda body: [
        record.body.string_value
        for resource in ExportLogsServiceRequest.FromString(body).resource_logs
        for scope in resource.scope_logs
        for record in scope.log_records
    ],
    "metrics": lambda body: [
        metric.name
        for resource in ExportMetricsServiceRequest.FromString(body).resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
    ],
}
Reaction = Callable[[BaseHTTPRequestHandler, str, bytes], "int | None"]
"""What a request (signal, body) is answered with: a status, or None where the handler has answered it."""


class Receiver:
    """What arrived, and how each request was answered.

    Attributes:
        react: decides; replaced at any time.
        names: of what was taken, by signal, in the order of arrival.
        answers: the signal and the status of each request, 0 where it had another answer.
    """

    def __init__(self, server: ThreadingHTTPServer) -> None:
        self.url = f"http://127.0.0.1:{server.server_address[1]}"
        self.react: Reaction = lambda handler, signal, body: 200
        self.names: dict[str, list[str]] = {signal: [] for signal in READ}
        self.answers: list[tuple[str, int]] = []

    def serve(self, handler: BaseHTTPRequestHandler) -> None:
        signal = handler.path.rpartition("/")[2]
        body = handler.rfile.read(int(handler.headers["content-length"]))
        status = self.react(handler, signal, body)
        self.answers.append((signal, status or 0))
        if status is None:
            return
        if status == 200:
            self.names[signal] += READ[signal](body)
        handler.send_response(status)
        handler.send_header("content-length", "0")
        handler.end_headers()


@contextlib.contextmanager
def receiver() -> Iterator[Receiver]:
    """A receiver until the block ends."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            with contextlib.suppress(OSError):
                made.serve(self)

        def log_message(self, *_: object) -> None:
            """Quiet."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: object) -> None:
            """A client that left is no error."""

    server = Server(("127.0.0.1", 0), Handler)
    made = Receiver(server)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield made
    server.shutdown()
    server.server_close()
    thread.join(20)


def launch(program: str, to: Receiver, spool: Path, **settings: Any) -> subprocess.Popen[str]:
    """Starts a program under `spanwise run`; a line on its standard input tells it to go on."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("OTEL_", "SPANWISE_"))}
    environment = {
        **kept,
        "PYTHONUNBUFFERED": "1",
        "SPANWISE_SPOOL_DIR": str(spool),
        "OTEL_EXPORTER_OTLP_ENDPOINT": to.url,
        "OTEL_BSP_SCHEDULE_DELAY": "100",
        "OTEL_BLRP_SCHEDULE_DELAY": "100",
        "OTEL_METRIC_EXPORT_INTERVAL": "200",
        **{name: str(value) for name, value in settings.items()},
    }
    command = [str(Path(sys.executable).with_name("spanwise")), "run", sys.executable, "-c", program]
    return subprocess.Popen(
        command,
        env=environment,
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def ended(process: subprocess.Popen[str]) -> str:
    """Waits for its end and returns what it wrote to standard error."""
    try:
        _, errors = process.communicate(timeout=120)
    except subprocess.TimeoutExpired:
        process.kill()
        raise
    assert process.returncode == 0, errors
    return errors
