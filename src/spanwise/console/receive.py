"""The OTLP/HTTP receiver: ``POST /v1/traces``, ``/v1/metrics`` and ``/v1/logs``.

The answer is 200 only when the data is committed to the file. Status codes follow
https://opentelemetry.io/docs/specs/otlp/#otlphttp-response: 400 is for data that never fits, so the sender
drops and counts it; 503 with Retry-After is for data to send again, so nothing is lost silently.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

from google.protobuf.message import Message  # type: ignore[import-untyped, unused-ignore]
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped, unused-ignore]
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import (
    ExportLogsServiceRequest,
    ExportLogsServiceResponse,
)
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from spanwise.console.body import BodyError, read_body
from spanwise.console.decode import decode_logs, decode_metrics, decode_traces
from spanwise.console.otlp import JSON, PROTOBUF, MalformedBody, dump, parse
from spanwise.console.rows import Batch
from spanwise.console.store import Store, StoreBusy
from spanwise.log import Log

__all__ = ["OTLP_PATHS", "otlp_routes"]

# Long enough for the writer to work off a full queue, short enough that a sender's own queue holds.
_RETRY_AFTER_SECONDS: Final = "1"
_INVALID_ARGUMENT: Final = 3  # google.rpc.Code
_UNAVAILABLE: Final = 14

_log = Log(__name__)


@dataclass(frozen=True, slots=True)
class _Signal:
    request: type[Message]
    response: type[Message]
    decode: Callable[[Any], Batch]
    rejected_field: str


_SIGNALS: Final = {
    "/v1/traces": _Signal(
        ExportTraceServiceRequest, ExportTraceServiceResponse, decode_traces, "rejected_spans"
    ),
    "/v1/metrics": _Signal(
        ExportMetricsServiceRequest, ExportMetricsServiceResponse, decode_metrics, "rejected_data_points"
    ),
    "/v1/logs": _Signal(
        ExportLogsServiceRequest, ExportLogsServiceResponse, decode_logs, "rejected_log_records"
    ),
}
#: Where telemetry is taken.
OTLP_PATHS: Final = tuple(_SIGNALS)


def otlp_routes(store: Store) -> list[Route]:
    """The receiver's routes, writing to ``store``."""
    return [Route(path, _endpoint(signal, store), methods=["POST"]) for path, signal in _SIGNALS.items()]


def _endpoint(signal: _Signal, store: Store) -> Callable[[Request], Awaitable[Response]]:
    async def receive(request: Request) -> Response:
        content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if content_type not in (PROTOBUF, JSON):
            # In JSON, as the sender's own encoding is unknown here.
            return _failure(415, JSON, f"content-type must be {PROTOBUF} or {JSON}")
        try:
            body = await read_body(request)
            # In a thread: decoding the largest body takes most of a second, and others are waiting.
            batch = await run_in_threadpool(_decode, signal, body, content_type)
        except (BodyError, MalformedBody) as error:
            return _failure(getattr(error, "status", 400), content_type, str(error))
        if len(batch):
            try:
                await asyncio.wrap_future(store.submit(batch, len(body)))
            except StoreBusy as error:
                return _busy(content_type, str(error))
            except Exception as error:
                _log.seldom("The console could not store what it received: %r", error)
                return _busy(content_type, "the data could not be written to the console's file")
        return Response(dump(_answer(signal, batch.rejected), content_type), media_type=content_type)

    return receive


def _decode(signal: _Signal, body: bytes, content_type: str) -> Batch:
    return signal.decode(parse(body, content_type, signal.request()))


def _answer(signal: _Signal, rejected: int) -> Message:
    answer: Any = signal.response()
    if rejected:
        setattr(answer.partial_success, signal.rejected_field, rejected)
        answer.partial_success.error_message = (
            "ids of the wrong length: a trace id has 16 bytes, a span id 8, and neither is all zeros"
        )
    return answer


def _busy(content_type: str, message: str) -> Response:
    answer = _failure(503, content_type, message, _UNAVAILABLE)
    answer.headers["retry-after"] = _RETRY_AFTER_SECONDS
    return answer


def _failure(status: int, content_type: str, message: str, code: int = _INVALID_ARGUMENT) -> Response:
    return Response(dump(Status(code=code, message=message), content_type), status, media_type=content_type)
