"""Requests are taken apart and put together without decoding a record, against the official classes."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from spanwise.encode.fields import fields
from spanwise.encode.parts import records, request

# What a request holds: of each resource its scopes, of each scope the names of its records.
SHAPES = st.lists(st.lists(st.lists(st.text(max_size=200), max_size=6), max_size=3), max_size=3)
SIGNALS: list[tuple[Any, str, str, str, str]] = [
    (ExportTraceServiceRequest, "resource_spans", "scope_spans", "spans", "name"),
    (ExportLogsServiceRequest, "resource_logs", "scope_logs", "log_records", "severity_text"),
    (ExportMetricsServiceRequest, "resource_metrics", "scope_metrics", "metrics", "name"),
]


def message(signal: int, shape: list[list[list[str]]]) -> Any:
    """A request of that shape, whose resources and scopes can be told apart."""
    kind, resources, scopes, items, name = SIGNALS[signal]
    made = kind()
    for first, of_resource in enumerate(shape):
        resource = getattr(made, resources).add(schema_url=f"resource schema {first}")
        resource.resource.attributes.add(key="number").value.int_value = first
        for second, of_scope in enumerate(of_resource):
            scope = getattr(resource, scopes).add(schema_url=f"scope schema {second}")
            scope.scope.name = f"scope {second}"
            for text in of_scope:
                setattr(getattr(scope, items).add(), name, text)
    return made


def told(signal: int, body: bytes) -> list[tuple[str, int, str, str, str]]:
    """Every record of a request with all that it belongs to."""
    kind, resources, scopes, items, name = SIGNALS[signal]
    return [
        (
            resource.schema_url,
            resource.resource.attributes[0].value.int_value,
            scope.schema_url,
            scope.scope.name,
            getattr(item, name),
        )
        for resource in getattr(kind.FromString(body), resources)
        for scope in getattr(resource, scopes)
        for item in getattr(scope, items)
    ]


@pytest.mark.parametrize("signal", [0, 1, 2])
@given(shape=SHAPES, data=st.data())
def test_each_part_holds_its_records_with_resource_and_scope(signal: int, shape: Any, data: Any) -> None:
    body = message(signal, shape).SerializeToString()
    all_of_it = told(signal, body)
    found = records(body)
    assert len(found) == len(all_of_it)
    assert told(signal, request(found)) == all_of_it
    begin = data.draw(st.integers(0, len(found)))
    end = data.draw(st.integers(begin, len(found)))
    assert told(signal, request(found[begin:end])) == all_of_it[begin:end]


@given(st.binary(max_size=200))
def test_bytes_that_are_no_request_are_told(body: bytes) -> None:
    try:
        found = records(body)
    except ValueError:
        return
    assert records(request(found)) == found


@given(shape=SHAPES, cut=st.integers(1, 30))
def test_a_request_that_is_cut_off_is_none(shape: Any, cut: int) -> None:
    body = message(0, shape).SerializeToString()
    whole = len(body)
    ends = {0, *(field.end for field in fields(body))}
    if max(0, whole - cut) not in ends:
        with pytest.raises(ValueError, match=r"cut off|no end"):
            records(body[: max(0, whole - cut)])


@pytest.mark.parametrize("body", [b"\x12\x00", b"\x08\x01", b"\x0b", b"\x0a\x05", b"\x0a", b"\xff" * 11])
def test_what_no_request_is(body: bytes) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        records(body)
