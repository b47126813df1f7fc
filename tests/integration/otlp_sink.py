"""A small real OTLP receiver: HTTP (protobuf) and gRPC at free ports, what arrives kept as plain dicts."""

from __future__ import annotations

import contextlib
import gzip
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import grpc
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2 as logs_pb
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2_grpc as logs_grpc
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2 as metrics_pb
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2_grpc as metrics_grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as trace_pb
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc as trace_grpc

Record = dict[str, Any]

_HTTP = {
    "/v1/traces": (trace_pb.ExportTraceServiceRequest, trace_pb.ExportTraceServiceResponse),
    "/v1/metrics": (metrics_pb.ExportMetricsServiceRequest, metrics_pb.ExportMetricsServiceResponse),
    "/v1/logs": (logs_pb.ExportLogsServiceRequest, logs_pb.ExportLogsServiceResponse),
}


class Sink:
    """What has arrived. Each record holds its resource's attributes, scope name, and ``via``."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._records: dict[str, list[Record]] = {"spans": [], "metrics": [], "logs": []}
        self.http_endpoint = ""
        self.grpc_endpoint = ""

    def spans(self) -> list[Record]:
        return self._of("spans")

    def metrics(self) -> list[Record]:
        return self._of("metrics")

    def logs(self) -> list[Record]:
        return self._of("logs")

    def _of(self, kind: str) -> list[Record]:
        with self._lock:
            return list(self._records[kind])

    def wait_for(self, predicate: Callable[[Sink], Any], seconds: float) -> Any:
        """Asks until the answer is true and returns it; fails after ``seconds``, telling what did arrive."""
        end = time.monotonic() + seconds
        while True:
            answer = predicate(self)
            if answer:
                return answer
            if time.monotonic() > end:
                got = {kind: [record["name"] for record in self._of(kind)][:40] for kind in self._records}
                raise AssertionError(f"not within {seconds:g} s; arrived: {got}")
            time.sleep(0.05)

    def take(self, request: Any, via: str) -> None:
        """Keeps the records of one export request."""
        taken: list[tuple[str, Record]] = []
        for groups, scopes, items, kind, read in (
            ("resource_spans", "scope_spans", "spans", "spans", _span),
            ("resource_metrics", "scope_metrics", "metrics", "metrics", _metric),
            ("resource_logs", "scope_logs", "log_records", "logs", _log),
        ):
            for group in getattr(request, groups, ()):
                resource = _attributes(group.resource.attributes)
                for scope in getattr(group, scopes):
                    for item in getattr(scope, items):
                        common = {"resource": resource, "scope": scope.scope.name, "via": via}
                        taken.append((kind, {**common, **read(item)}))
        with self._lock:
            for kind, record in taken:
                self._records[kind].append(record)


@contextlib.contextmanager
def otlp_sink() -> Iterator[Sink]:
    """A receiver until the block ends."""
    sink = Sink()
    http = ThreadingHTTPServer(("127.0.0.1", 0), _handler(sink))
    http.daemon_threads = True
    serving = threading.Thread(target=http.serve_forever, args=(0.01,), daemon=True)
    serving.start()
    server = grpc.server(ThreadPoolExecutor(4))
    trace_grpc.add_TraceServiceServicer_to_server(
        _service(sink, trace_grpc.TraceServiceServicer, trace_pb.ExportTraceServiceResponse), server
    )
    metrics_grpc.add_MetricsServiceServicer_to_server(
        _service(sink, metrics_grpc.MetricsServiceServicer, metrics_pb.ExportMetricsServiceResponse), server
    )
    logs_grpc.add_LogsServiceServicer_to_server(
        _service(sink, logs_grpc.LogsServiceServicer, logs_pb.ExportLogsServiceResponse), server
    )
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    sink.http_endpoint = f"http://127.0.0.1:{http.server_address[1]}"
    sink.grpc_endpoint = f"http://127.0.0.1:{port}"
    try:
        yield sink
    finally:
        http.shutdown()
        http.server_close()
        serving.join(5)
        server.stop(0).wait(5)


def _handler(sink: Sink) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            if self.path not in _HTTP:
                self._answer(404, b"")
                return
            request, response = _HTTP[self.path]
            sink.take(request.FromString(body), "http")
            self._answer(200, response().SerializeToString())

        def _answer(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", "application/x-protobuf")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Quiet."""

    return Handler


def _service(sink: Sink, base: type, response: type) -> Any:
    class Service(base):  # type: ignore[misc]
        def Export(self, request: Any, context: Any) -> Any:
            sink.take(request, "grpc")
            return response()

    return Service()


def _value(value: Any) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [_value(each) for each in value.array_value.values]
    if kind == "kvlist_value":
        return _attributes(value.kvlist_value.values)
    return getattr(value, kind) if kind else None


def _attributes(pairs: Any) -> Record:
    return {pair.key: _value(pair.value) for pair in pairs}


def _span(span: Any) -> Record:
    return {
        "name": span.name,
        "kind": span.kind,
        "trace_id": span.trace_id.hex(),
        "span_id": span.span_id.hex(),
        "parent_span_id": span.parent_span_id.hex(),
        "attributes": _attributes(span.attributes),
        "status": span.status.code,
        "events": [event.name for event in span.events],
        "duration_ns": span.end_time_unix_nano - span.start_time_unix_nano,
    }


def _metric(metric: Any) -> Record:
    kind = metric.WhichOneof("data")
    points = []
    for point in getattr(metric, kind).data_points if kind else ():
        value = getattr(point, "count", None)
        if value is None:
            value = getattr(point, point.WhichOneof("value"))
        points.append({"attributes": _attributes(point.attributes), "value": value})
    return {"name": metric.name, "unit": metric.unit, "kind": kind, "points": points}


def _log(record: Any) -> Record:
    return {
        "name": str(_value(record.body)),
        "body": _value(record.body),
        "severity": record.severity_text,
        "trace_id": record.trace_id.hex(),
        "span_id": record.span_id.hex(),
        "attributes": _attributes(record.attributes),
    }
