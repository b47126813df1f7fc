"""Log records: the official decoder sees what the stock encoder sends, and hostile ones are survived."""

from __future__ import annotations

import logging
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.exporter.otlp.proto.common._log_encoder import encode_logs as stock_encode_logs
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord as LogMessage
from opentelemetry.sdk._logs import LogRecordLimits, ReadableLogRecord, ReadWriteLogRecord
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, set_span_in_context

from spanwise.encode import request as request_module
from spanwise.encode.logs import encode_log, encode_logs
from spanwise.log import Log

RESOURCES = [
    Resource({"service.name": "a"}),
    Resource({"service.name": "a"}),
    Resource({"n": 1}, "https://e.org/s"),
]
SCOPES = [None, InstrumentationScope("lib"), InstrumentationScope("lib", "1", "https://e.org/s", {"k": True})]
U64 = st.integers(0, (1 << 64) - 1)
SCALARS = (
    st.sampled_from(["x", 0, 1, True, 1.0, -0.0, None, math.nan])
    | st.text(max_size=20)
    | st.integers(-(1 << 63), (1 << 63) - 1)
    | st.floats()
    | st.binary(max_size=20)
)
BODIES = SCALARS | st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
ATTRIBUTES = st.none() | st.dictionaries(
    st.sampled_from(["a", "b"]) | st.text(min_size=1, max_size=9),
    SCALARS | st.lists(SCALARS, max_size=3),
    max_size=5,
)


@st.composite
def records(draw: st.DrawFn) -> Any:
    context = SpanContext(
        draw(st.integers(0, (1 << 128) - 1)), draw(U64), False, TraceFlags(draw(st.integers(0, 3)))
    )
    log = LogRecord(
        timestamp=draw(st.none() | U64),
        observed_timestamp=draw(st.none() | U64),
        context=set_span_in_context(NonRecordingSpan(context)),
        severity_text=draw(st.none() | st.text(max_size=9)),
        severity_number=draw(st.none() | st.sampled_from(list(SeverityNumber))),
        body=draw(BODIES),
        attributes=draw(ATTRIBUTES),
        event_name=draw(st.none() | st.text(max_size=9)),
    )
    resource, scope = draw(st.sampled_from(RESOURCES)), draw(st.sampled_from(SCOPES))
    if draw(st.booleans()):
        return ReadableLogRecord(log, resource, scope)
    limits = LogRecordLimits(max_log_record_attributes=draw(st.integers(1, 128)))
    return ReadWriteLogRecord(log, resource, scope, limits)


def canonical(request: bytes) -> bytes:
    return ExportLogsServiceRequest.FromString(request).SerializeToString(deterministic=True)


def record(**changes: Any) -> ReadableLogRecord:
    return ReadableLogRecord(LogRecord(**{"timestamp": 1, "observed_timestamp": 2, **changes}), RESOURCES[0])


def decoded(made: ReadableLogRecord) -> LogMessage:
    return LogMessage.FromString(encode_log(made))


@pytest.mark.filterwarnings("ignore:Log record attributes were dropped")
@given(st.lists(records(), max_size=5))
def test_decodes_to_what_stock_sends(batch: list[Any]) -> None:
    expected = stock_encode_logs(batch).SerializeToString(deterministic=True)
    for _ in range(3):
        assert canonical(encode_logs(batch)) == expected


@pytest.mark.parametrize("field", ["body", "severity_text", "event_name"])
def test_a_lone_surrogate_is_replaced_and_the_batch_survives(field: str) -> None:
    batch = [record(body="before"), record(**{field: "a\ud800b"}), record(body="after")]
    with pytest.raises(UnicodeEncodeError):
        stock_encode_logs(batch)
    (group,) = ExportLogsServiceRequest.FromString(encode_logs(batch)).resource_logs
    before, middle, after = group.scope_logs[0].log_records
    assert (before.body.string_value, after.body.string_value) == ("before", "after")
    found = getattr(middle, field)
    assert (found.string_value if field == "body" else found) == "a\ufffdb"


def test_a_body_of_any_type_is_sent_as_text() -> None:
    error = ValueError("wrong")
    with pytest.raises(Exception, match="Invalid type"):
        stock_encode_logs([record(body=error)])
    assert decoded(record(body=error)).body.string_value == "wrong"


def test_an_empty_body_is_there() -> None:
    assert decoded(record(body=None)).HasField("body")


def test_identifiers_of_none_are_absent() -> None:
    made = record()
    made.log_record.trace_id = made.log_record.span_id = None  # type: ignore[assignment]
    assert (decoded(made).trace_id, decoded(made).span_id) == (b"", b"")


def test_numbers_out_of_range_harm_only_themselves() -> None:
    found = decoded(record(timestamp=-5, observed_timestamp=1 << 70, body="kept"))
    assert (found.time_unix_nano, found.observed_time_unix_nano) == (0, (1 << 64) - 1)
    assert found.body.string_value == "kept"


def test_records_that_are_none_are_left_out_and_reported(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(request_module, "_logger", Log("spanwise.encode"))
    reported: list[Any] = []
    request = encode_logs([record(body="x"), "no record"], lambda each, _: reported.append(each))  # type: ignore[list-item]
    assert len(ExportLogsServiceRequest.FromString(request).resource_logs[0].scope_logs[0].log_records) == 1
    assert reported == ["no record"]
    with caplog.at_level(logging.WARNING):
        assert encode_logs(["no record"]) == b""  # type: ignore[list-item]
    assert "Left a str out" in caplog.text
