from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from spanwise.console.rows import Batch, PointRow, ResourceRow, SpanRow
from spanwise.console.server import RunningConsole, start
from spanwise.console.store import Store

TOKEN = "unit-test-token-0123456789"


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


class Client:
    """One request a call, so that a refused one leaves nothing behind."""

    def __init__(self, console: RunningConsole) -> None:
        self.port = int(console.otlp_endpoint.rpartition(":")[2])

    def ask(
        self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None
    ) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request(method, path, body, headers or {})
            answer = connection.getresponse()
            return Answer(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())
        finally:
            connection.close()

    def get(self, path: str, **headers: str) -> Answer:
        return self.ask("GET", path, headers={"authorization": f"Bearer {TOKEN}"} | headers)

    def send(
        self,
        body: bytes,
        content_type: str = "application/x-protobuf",
        path: str = "/v1/traces",
        **headers: str,
    ) -> Answer:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.ask("POST", path, body, {"content-type": content_type} | named)


class Make:
    """Builds messages and rows with everything a test does not care about filled in."""

    @staticmethod
    def request(*spans: Span, service: str = "store", instance: str = "i-1") -> ExportTraceServiceRequest:
        request = ExportTraceServiceRequest()
        group = request.resource_spans.add()
        for key, value in (("service.name", service), ("service.instance.id", instance)):
            group.resource.attributes.append(KeyValue(key=key, value=AnyValue(string_value=value)))
        group.scope_spans.add().spans.extend(spans)
        return request

    @staticmethod
    def span(span_id: int = 1, trace_id: int = 1, name: str = "GET /", **fields: Any) -> Span:
        fields.setdefault("status", Status())
        fields.setdefault("start_time_unix_nano", 1_000_000)
        fields.setdefault("end_time_unix_nano", 3_000_000)
        return Span(
            trace_id=trace_id.to_bytes(16, "big"), span_id=span_id.to_bytes(8, "big"), name=name, **fields
        )

    @staticmethod
    def row(span_id: str = "a", trace_id: str = "t", parent: str = "", **fields: Any) -> SpanRow:
        base = SpanRow(
            trace_id, span_id, parent, f"span {span_id}", "internal", 1_000_000, 2_000_000, "unset", "", "",
            "store", "i-1", "r", "scope", "{}", "[]", "[]", 0,
        )  # fmt: skip
        return base._replace(**fields)

    @staticmethod
    def point(value: float | None, **fields: Any) -> PointRow:
        base = PointRow(
            "otel.sdk.processor.span.processed", "{span}", "sum", "cumulative", True, 1, 2, value, None, None,
            "store", "i-1", "r", "scope", "{}", "{}",
        )  # fmt: skip
        return base._replace(**fields)

    @staticmethod
    def batch(*spans: SpanRow, points: list[PointRow] | None = None) -> Batch:
        return Batch(
            resources=[ResourceRow("r", "store", "i-1", '{"service.name":"store"}')],
            spans=list(spans),
            points=points or [],
        )


@pytest.fixture
def make() -> type[Make]:
    return Make


@pytest.fixture
def console(tmp_path: Path) -> Iterator[RunningConsole]:
    with start(tmp_path / "console.duckdb", token=TOKEN) as running:
        yield running


@pytest.fixture
def client(console: RunningConsole) -> Client:
    return Client(console)


@pytest.fixture(scope="session")
def shared_client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """One console for the tests that only ask; starting one for each would take most of a minute."""
    with start(tmp_path_factory.mktemp("shared") / "console.duckdb", token=TOKEN) as running:
        yield Client(running)


@pytest.fixture
def store() -> Iterator[Store]:
    opened = Store(Path(":memory:"))
    yield opened
    opened.close()
