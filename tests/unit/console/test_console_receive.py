"""Rows 15 to 18 of the bad input that the receiver must survive, and what it does with good input."""

from __future__ import annotations

import base64
import gzip
import json
import socket
import threading
from concurrent.futures import Future
from typing import Any

import pytest
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from spanwise.console.body import MAX_BODY_BYTES
from spanwise.console.store import Store, StoreBusy

JSON = "application/json"


def stored(client: Any) -> int:
    return client.get("/api/summary").json()["spans"]


def varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def test_protobuf_is_stored_and_answered_in_protobuf(client: Any, make: Any) -> None:
    answer = client.send(make.request(make.span()).SerializeToString())
    assert (answer.status, answer.headers["content-type"]) == (200, "application/x-protobuf")
    assert ExportTraceServiceResponse.FromString(answer.body) == ExportTraceServiceResponse()
    assert stored(client) == 1


def test_json_has_hexadecimal_ids_and_is_answered_in_json(client: Any) -> None:
    trace_id = "5b8efff798038103d269b633813fc60c"
    span = {
        "traceId": trace_id.upper(),
        "spanId": "eee19b7ec3c1b174",
        "name": "I'm a server span",
        "startTimeUnixNano": "1544712660000000000",
        "endTimeUnixNano": "1544712661000000000",
        "kind": 2,
        "attributes": [{"key": "spanId", "value": {"doubleValue": "NaN"}}],
        "unknownField": {"deep": [1]},
    }
    body = json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]}).encode()
    answer = client.send(body, f"{JSON}; charset=utf-8")
    assert (answer.status, answer.headers["content-type"], answer.json()) == (200, JSON, {})
    shown = client.get(f"/api/traces/{trace_id}").json()
    assert shown["spans"][0]["span_id"] == "eee19b7ec3c1b174"
    assert shown["spans"][0]["attributes"] == {"spanId": "NaN"}
    assert shown["duration_ms"] == 1000.0


def test_gzip_of_several_members_is_unpacked(client: Any, make: Any) -> None:
    body = make.request(make.span()).SerializeToString()
    packed = gzip.compress(body[:10]) + gzip.compress(body[10:])
    assert client.send(packed, content_encoding="gzip").status == 200
    assert stored(client) == 1


def test_metrics_and_logs_are_stored(client: Any) -> None:
    metrics = ExportMetricsServiceRequest()
    metrics.resource_metrics.add().scope_metrics.add().metrics.add(name="g").gauge.data_points.add(as_int=1)
    logs = ExportLogsServiceRequest()
    logs.resource_logs.add().scope_logs.add().log_records.add().body.string_value = "hello"
    assert client.send(metrics.SerializeToString(), path="/v1/metrics").status == 200
    assert client.send(logs.SerializeToString(), path="/v1/logs").status == 200
    summary = client.get("/api/summary").json()
    assert (summary["points"], summary["logs"]) == (1, 1)


def test_an_empty_export_is_fine(client: Any) -> None:
    assert client.send(b"").status == 200
    assert client.send(b"{}", JSON).status == 200


@pytest.mark.parametrize("packed_zeros", [MAX_BODY_BYTES + 1, 400 * 1024 * 1024])
def test_a_gzip_bomb_is_refused_at_the_cap(client: Any, make: Any, packed_zeros: int) -> None:
    bomb = gzip.compress(bytes(packed_zeros), 1)
    answer = client.send(bomb, content_encoding="gzip")
    assert answer.status == 413
    assert "smaller batches" in Status.FromString(answer.body).message
    assert client.send(make.request(make.span()).SerializeToString()).status == 200


def test_a_body_past_the_cap_is_refused_before_it_is_read(client: Any) -> None:
    with socket.create_connection(("127.0.0.1", client.port), timeout=60) as sock:
        head = (
            "POST /v1/traces HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/x-protobuf\r\n"
            f"content-length: {MAX_BODY_BYTES + 1}\r\n\r\n"
        )
        sock.sendall(head.encode())
        assert sock.recv(64).startswith(b"HTTP/1.1 413")


@pytest.mark.parametrize("encoding", ["gzip", "identity"])
def test_a_body_cut_off_is_refused(client: Any, make: Any, encoding: str) -> None:
    body = make.request(make.span()).SerializeToString()
    cut = gzip.compress(body)[:-6] if encoding == "gzip" else body[:-3]
    assert client.send(cut, content_encoding=encoding).status == 400
    assert stored(client) == 0


@pytest.mark.parametrize("announced", ["5", "100000", "-1", "many"])
def test_a_lying_content_length_does_no_harm(client: Any, make: Any, announced: str) -> None:
    body = make.request(make.span()).SerializeToString()
    with socket.create_connection(("127.0.0.1", client.port), timeout=60) as sock:
        head = (
            "POST /v1/traces HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/x-protobuf\r\n"
            f"content-length: {announced}\r\n\r\n"
        )
        sock.sendall(head.encode() + body)
        if announced == "100000":
            sock.shutdown(socket.SHUT_WR)  # the rest will never come
        answer = sock.recv(64)
    # Who closes before the end of the body may get no answer.
    assert answer.startswith(b"HTTP/1.1 400") or (announced == "100000" and answer == b"")
    assert stored(client) == 0


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"[]",
        b"7",
        b"\xff\xfe{}",
        b'{"resourceSpans": 3}',
        b'{"resourceSpans": [{"scopeSpans": [{"spans": [{"traceId": 5}]}]}]}',
        b'{"resourceSpans": [{"scopeSpans": [{"spans": [{"name": "\\ud800"}]}]}]}',
        b'{"resourceSpans": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    ],
    ids=[
        "open",
        "list",
        "number",
        "not-utf8",
        "wrong-type",
        "id-number",
        "surrogate",
        "deep-list",
        "deep-dict",
    ],
)
def test_bad_json_is_refused_and_the_console_lives(client: Any, body: bytes) -> None:
    answer = client.send(body, JSON)
    assert answer.status == 400
    assert answer.json()["message"]
    assert client.get("/healthz").json() == {"status": "ok"}


def test_values_nested_10000_deep_are_refused_and_the_console_lives(client: Any, make: Any) -> None:
    inner = b""
    for _ in range(10_000):  # AnyValue { array_value { values: AnyValue … } }
        array = b"\x0a" + varint(len(inner)) + inner
        inner = b"\x2a" + varint(len(array)) + array
    attribute = b"\x0a\x01k\x12" + varint(len(inner)) + inner
    raw = make.span().SerializeToString() + b"\x4a" + varint(len(attribute)) + attribute
    scoped = b"\x12" + varint(len(raw)) + raw
    group = b"\x12" + varint(len(scoped)) + scoped
    assert client.send(b"\x0a" + varint(len(group)) + group).status == 400
    deep = '{"arrayValue":{"values":[' * 150 + '{"stringValue":"x"}' + "]}}" * 150
    span = (
        '{"traceId":"' + "1" * 32 + '","spanId":"' + "1" * 16 + '","attributes":[{"key":"k","value":' + deep
    )
    body = '{"resourceSpans":[{"scopeSpans":[{"spans":[' + span + "}]}]}]}]}"
    json.loads(body)  # good JSON, only too deep
    assert client.send(body.encode(), JSON).status == 400
    assert client.get("/healthz").status == 200
    assert stored(client) == 0


def test_ids_of_the_wrong_length_are_told_and_the_rest_is_kept(client: Any, make: Any) -> None:
    bad = [make.span() for _ in range(4)]
    bad[0].trace_id, bad[1].span_id, bad[2].parent_span_id, bad[3].span_id = b"1", b"", b"123", bytes(8)
    answer = client.send(make.request(make.span(), *bad).SerializeToString())
    partial = ExportTraceServiceResponse.FromString(answer.body).partial_success
    assert (answer.status, partial.rejected_spans) == (200, 4)
    assert "16 bytes" in partial.error_message
    assert stored(client) == 1


@pytest.mark.parametrize("trace_id", ["xyz", "12", base64.b64encode(b"1" * 16).decode()])
def test_json_ids_that_are_not_hexadecimal_are_told(client: Any, trace_id: str) -> None:
    span = {"traceId": trace_id, "spanId": "1" * 16}
    body = json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]}).encode()
    answer = client.send(body, JSON)
    assert (answer.status, answer.json()["partialSuccess"]["rejectedSpans"]) == (200, "1")


def test_unknown_content_types_and_encodings_are_refused(client: Any) -> None:
    assert client.send(b"", "text/plain").status == 415
    assert client.send(b"", "").status == 415
    assert client.send(b"", content_encoding="br").status == 415
    assert client.ask("GET", "/v1/traces").status == 405


def test_a_full_queue_asks_the_sender_to_come_back(
    client: Any, make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> Future[None]:
        raise StoreBusy("too much waits to be written")

    body = make.request(make.span()).SerializeToString()
    with monkeypatch.context() as patch:
        patch.setattr(Store, "submit", full)
        answer = client.send(body)
    assert (answer.status, answer.headers["retry-after"]) == (503, "1")
    assert client.send(body).status == 200


def test_the_answer_waits_for_the_commit(client: Any, make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    committed: Future[None] = Future()
    submitted = threading.Event()

    def held(*_: object) -> Future[None]:
        submitted.set()
        return committed

    monkeypatch.setattr(Store, "submit", held)
    answers: list[Any] = []
    body = make.request(make.span()).SerializeToString()
    sender = threading.Thread(target=lambda: answers.append(client.send(body)))
    sender.start()
    assert submitted.wait(60)
    assert client.get("/healthz").status == 200
    assert not answers
    committed.set_exception(OSError("disk full"))
    sender.join(60)
    assert answers[0].status == 503
