"""Runs the real Collector with a generated configuration, and stands in the place of what it sends to."""

from __future__ import annotations

import os
import subprocess
import time
import urllib.request
from collections.abc import Callable, Container, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2 as metrics_service
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2_grpc as metrics_grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as trace_service
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc as trace_grpc
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from parts import need
from servers import free_port

FEATURES = "--feature-gates=processor.tailsamplingprocessor.recordpolicy"


def until(what: str, condition: Callable[[], Any], seconds: float = 40) -> Any:
    """Asks until the answer is true; refusals of connections count as no."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            if value := condition():
                return value
        except OSError:
            pass
        time.sleep(0.1)
    return pytest.fail(f"{what}: not within {seconds} s", pytrace=False)


class Sink(trace_grpc.TraceServiceServicer, metrics_grpc.MetricsServiceServicer):  # type: ignore[misc]
    """An OTLP receiver that keeps the spans and the names of the metrics it is sent."""

    def __init__(self) -> None:
        self.spans: list[Any] = []
        self.metrics: list[str] = []
        self.server = grpc.server(ThreadPoolExecutor(2))
        trace_grpc.add_TraceServiceServicer_to_server(self, self.server)
        # Both services call their method Export.
        metrics_grpc.add_MetricsServiceServicer_to_server(_Metrics(self), self.server)
        self.port = self.server.add_insecure_port("127.0.0.1:0")
        self.server.start()

    def Export(self, request: Any, context: Any) -> Any:
        del context
        for resource in request.resource_spans:
            for scope in resource.scope_spans:
                self.spans.extend(scope.spans)
        return trace_service.ExportTraceServiceResponse()

    def attributes(self, wanted: Container[int]) -> dict[int, dict[str, Any]]:
        """Attributes by span id of the wanted spans that came."""
        return {
            span_id: {
                each.key: getattr(each.value, each.value.WhichOneof("value")) for each in span.attributes
            }
            for span in list(self.spans)
            if (span_id := int.from_bytes(span.span_id, "big")) in wanted
        }


class _Metrics(metrics_grpc.MetricsServiceServicer):  # type: ignore[misc]
    def __init__(self, sink: Sink) -> None:
        self.sink = sink

    def Export(self, request: Any, context: Any) -> Any:
        del context
        for resource in request.resource_metrics:
            for scope in resource.scope_metrics:
                self.sink.metrics.extend(each.name for each in scope.metrics)
        return metrics_service.ExportMetricsServiceResponse()


class Running:
    """A Collector that runs.

    Attributes:
        http: its OTLP/HTTP address.
        prometheus: where its prometheus exporter, if it has one, is scraped.
        sink: what it sends spans to.
    """

    def __init__(self, http: str, prometheus: str, sink: Sink) -> None:
        self.http, self.prometheus, self.sink = http, prometheus, sink

    def scraped(self, accept: str = "text/plain") -> str:
        """What its prometheus exporter shows."""
        request = urllib.request.Request(self.prometheus, headers={"Accept": accept})
        with urllib.request.urlopen(request, timeout=5) as answer:
            return str(answer.read().decode())

    def sender(self, service_name: str) -> TracerProvider:
        """A tracer provider that sends to it."""
        provider = TracerProvider(resource=Resource({"service.name": service_name}), shutdown_on_exit=False)
        provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=f"{self.http}/v1/traces")))
        return provider

    def kept(self, wanted: Any) -> dict[int, dict[str, Any]]:
        """Attributes by span id of the wanted spans, once they have all come."""
        until("all spans kept", lambda: len(self.sink.attributes(wanted)) == len(wanted))
        return self.sink.attributes(wanted)


@contextmanager
def running(folder: Path, configuration: str) -> Iterator[Running]:
    """The Collector with this configuration, its ports moved, sending to a sink."""
    program = need("otelcol", "scripts/build-collector")
    config = folder / "collector.yaml"
    config.write_text(configuration, encoding="utf-8")
    sink = Sink()
    http, metrics, health = free_port(), free_port(), free_port()
    environment = os.environ | {
        "SPANWISE_OTLP_GRPC": f"127.0.0.1:{free_port()}",
        "SPANWISE_OTLP_HTTP": f"127.0.0.1:{http}",
        "SPANWISE_JAEGER_ENDPOINT": f"127.0.0.1:{sink.port}",
        "SPANWISE_GATEWAYS_HOST": "127.0.0.1",
        "SPANWISE_GATEWAYS_PORT": str(sink.port),
        "SPANWISE_PROMETHEUS_LISTEN": f"127.0.0.1:{metrics}",
        "SPANWISE_HEALTH_LISTEN": f"127.0.0.1:{health}",
        "SPANWISE_STORAGE_DIR": str(folder / "storage"),
        "SPANWISE_TELEMETRY_PORT": str(free_port()),
        "SPANWISE_METRICS_FLUSH": "500ms",
    }
    log = folder / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [program, "--config", str(config), FEATURES],
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:

        def healthy() -> bool:
            if process.poll() is not None:
                pytest.fail(log.read_text(errors="replace")[-4000:], pytrace=False)
            with urllib.request.urlopen(f"http://127.0.0.1:{health}/", timeout=2) as answer:
                return bool(answer.status == 200)

        until("the Collector's health", healthy)
        yield Running(f"http://127.0.0.1:{http}", f"http://127.0.0.1:{metrics}/metrics", sink)
    finally:
        process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(5)
        sink.server.stop(None).wait(5)
