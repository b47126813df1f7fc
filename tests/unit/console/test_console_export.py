"""All stored spans, page by page, each with its resource."""

from __future__ import annotations

from pathlib import Path

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from spanwise.console import export
from spanwise.console.decode import decode_traces
from spanwise.console.store import Store
from spanwise.errors import ConfigurationError


def request(service: str, count: int) -> ExportTraceServiceRequest:
    found = ExportTraceServiceRequest()
    group = found.resource_spans.add()
    group.resource.attributes.add(key="service.name").value.string_value = service
    scope = group.scope_spans.add()
    for number in range(1, count + 1):
        name = f"{service} {number}"
        span = scope.spans.add(name=name, kind=3, trace_id=name.encode().ljust(16, b"."), span_id=b"12345678")
        span.start_time_unix_nano, span.end_time_unix_nano = number, 2 * number
        span.attributes.add(key="n").value.int_value = number
        span.events.add(name="e" * number)
    return found


def test_every_span_comes_once_with_its_resource(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export, "_PAGE", 4)
    path = tmp_path / "console.duckdb"
    store = Store(path)
    for service, count in (("a", 7), ("b", 6), ("empty", 0)):
        store.submit(decode_traces(request(service, count)), 1).result(20)
    store.close()
    total, pages = export.spans_of(path)
    found = [(resource, row) for resource, rows in pages for row in rows]
    assert total == len(found) == 13
    assert sorted((resource["service.name"], row[1]) for resource, row in found) == sorted(
        (service, f"{service} {number}")
        for service, count in (("a", 7), ("b", 6))
        for number in range(1, count + 1)
    )
    (third,) = (row for _, row in found if row[1] == "a 3")
    assert third[:7] == (b"a 3".ljust(16, b".").hex(), "a 3", "client", 3, 6, "unset", '{"n":3}')
    sizes = {row[1]: row[7] for _, row in found}
    assert sizes["a 5"] - sizes["a 3"] == 2, "its events count"


def test_a_file_that_is_no_database_is_told(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_text("nothing of the sort")
    with pytest.raises(ConfigurationError, match=r"cannot be opened .*Name the console's database"):
        export.spans_of(path)
    with pytest.raises(ConfigurationError, match="cannot be opened"):
        export.spans_of(tmp_path / "none")
