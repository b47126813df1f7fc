"""The answer's refused count, against the official protobuf classes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceResponse
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceResponse
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from spanwise.deliver.partial import rejected

RESPONSES = [
    (ExportTraceServiceResponse, "rejected_spans"),
    (ExportMetricsServiceResponse, "rejected_data_points"),
    (ExportLogsServiceResponse, "rejected_log_records"),
]
COUNTS = st.integers(-(2**63), 2**63 - 1)


@pytest.mark.parametrize(("response", "field"), RESPONSES)
@given(count=COUNTS, words=st.text())
def test_reads_what_protobuf_writes(response: type, field: str, count: int, words: str) -> None:
    answer = response()
    setattr(answer.partial_success, field, count)
    answer.partial_success.error_message = words
    assert rejected(answer.SerializeToString()) == (max(0, count), words)


@given(count=st.integers(1, 2**63 - 1), words=st.text(min_size=1), cut=st.integers(1, 100))
def test_a_truncated_answer_refuses_nothing(count: int, words: str, cut: int) -> None:
    answer = ExportTraceServiceResponse()
    answer.partial_success.rejected_spans = count
    answer.partial_success.error_message = words
    whole = answer.SerializeToString()
    assert rejected(whole[: max(0, len(whole) - cut)]) == (0, "")


@given(st.binary(max_size=300))
def test_any_bytes_are_survived(answer: bytes) -> None:
    count, words = rejected(answer)
    assert count >= 0
    assert isinstance(words, str)


def test_an_empty_answer_refuses_nothing() -> None:
    assert rejected(b"") == (0, "")
    assert rejected(ExportTraceServiceResponse().SerializeToString()) == (0, "")
