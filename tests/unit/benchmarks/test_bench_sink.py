"""What the benchmark's sink counts, protocol by protocol, and the server in front of it."""

from __future__ import annotations

import gzip
import http.client
import json
import struct
import threading
import zlib
from collections.abc import Iterator
from http.server import ThreadingHTTPServer
from typing import Any

import pytest
from benchmarks.sink import datadog, elastic, otlp, sentry, server
from benchmarks.sink.model import Point, Span
from benchmarks.sink.msgpack import unpack
from benchmarks.sink.received import summary
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


def pack(value: Any) -> bytes:
    """MessagePack of a value, in each length class the shortest form, by the specification."""
    if value is None or isinstance(value, bool):
        return {None: b"\xc0", False: b"\xc2", True: b"\xc3"}[value]
    if isinstance(value, int):
        if 0 <= value < 0x80 or -0x20 <= value < 0:
            return struct.pack(">b" if value < 0 else ">B", value)
        signed = (("b", 0xD0), ("h", 0xD1), ("i", 0xD2), ("q", 0xD3))
        unsigned = (("B", 0xCC), ("H", 0xCD), ("I", 0xCE), ("Q", 0xCF))
        for layout, kind in signed if value < 0 else unsigned:
            try:
                return bytes([kind]) + struct.pack(f">{layout}", value)
            except struct.error:
                continue
    if isinstance(value, float):
        return b"\xcb" + struct.pack(">d", value)
    if isinstance(value, str):
        raw = value.encode()
        return _head(len(raw), 0xA0, 0x1F, (0xD9, 0xDA, 0xDB)) + raw
    if isinstance(value, bytes):
        return _head(len(value), 0, -1, (0xC4, 0xC5, 0xC6)) + value
    if isinstance(value, list):
        return _head(len(value), 0x90, 0x0F, (0, 0xDC, 0xDD)) + b"".join(map(pack, value))
    pairs = b"".join(pack(key) + pack(each) for key, each in value.items())
    return _head(len(value), 0x80, 0x0F, (0, 0xDE, 0xDF)) + pairs


def _head(length: int, short: int, most: int, kinds: tuple[int, int, int]) -> bytes:
    if length <= most:
        return bytes([short | length])
    if length < 0x100 and kinds[0]:
        return bytes([kinds[0], length])
    if length < 0x10000:
        return bytes([kinds[1]]) + struct.pack(">H", length)
    return bytes([kinds[2]]) + struct.pack(">I", length)


SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary()
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=20
)


@given(VALUES)
def test_msgpack_gives_back_what_was_packed(value: Any) -> None:
    assert unpack(pack(value)) == value


@pytest.mark.parametrize("bits", [0, 5, 7, 8, 15, 16, 31, 32, 63])
def test_msgpack_integers_at_the_edges_of_each_form(bits: int) -> None:
    for value in (2**bits - 1, 2**bits, -(2**bits), -(2**bits) + 1):
        assert unpack(pack(value)) == value


@pytest.mark.parametrize("size", [31, 32, 255, 256, 65535, 65536])
def test_msgpack_lengths(size: int) -> None:
    for value in ("x" * size, b"x" * size, list(range(size)), dict.fromkeys(range(size))):
        assert unpack(pack(value)) == value


@pytest.mark.parametrize(
    ("data", "words"), [(b"\xa5ab", "cut off"), (b"\x01\x02", "after the value"), (b"\xd4\x01\x01", "0xd4")]
)
def test_msgpack_says_what_is_wrong(data: bytes, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        unpack(data)


def test_datadog_v04_and_v05_count_alike() -> None:
    span = {"name": "work", "meta": {"a": "1", "b": "2"}, "metrics": {"c": 3.0}, "service": "s"}
    bare = {"name": "rest", "meta": None, "metrics": None}
    rows = [[0, 1, 0, 1, 2, 0, 5, 5, 0, {2: 0, 3: 0}, {4: 3.0}, 0], [0, 5, 0, 1, 3, 2, 5, 5, 0, {}, {}, 0]]
    texts = ["", "work", "a", "b", "c", "rest"]
    expected = [Span("work", 3), Span("rest", 0)]
    assert list(datadog.decode("/v0.4/traces", pack([[span], [bare]]))) == expected
    assert list(datadog.decode("/v0.5/traces", pack([texts, [rows]]))) == expected
    assert list(datadog.decode("/v0.6/stats", b"whatever")) == []


def test_sentry_counts_a_transaction_and_its_spans() -> None:
    transaction = json.dumps(
        {
            "transaction": "root",
            "contexts": {"trace": {"data": {"a": 1, "b": 2}}},
            "spans": [{"description": "child", "data": {"c": 3}}, {"op": "db", "description": None}],
        }
    ).encode()
    items = b"".join(
        [
            b'{"event_id":"1"}\n',
            b'{"type":"session"}\n{"sid":"1"}\n',  # no length: it ends with its line
            b'{"type":"attachment","length":9}\nwith\nline\n',
            b'{"type":"transaction","length":%d}\n%s\n' % (len(transaction), transaction),
            b'{"type":"span"}\n{"items":[{"name":"streamed","attributes":{"d":{"value":1}}}]}',
        ]
    )
    assert list(sentry.decode("/api/1/envelope/", items)) == [
        Span("root", 2),
        Span("child", 1),
        Span("db", 0),
        Span("streamed", 1),
    ]


def test_elastic_counts_transactions_and_spans() -> None:
    events: list[dict[str, Any]] = [
        {"metadata": {"service": {"name": "s"}}},
        {"transaction": {"name": "root", "context": {"tags": {"a": 1}}}},
        {"span": {"name": "child"}},
        {"metricset": {"samples": {}}},
    ]
    body = "\n".join(json.dumps(event) for event in events).encode() + b"\n\n"
    assert list(elastic.decode("/intake/v2/events", body)) == [Span("root", 1), Span("child", 0)]


def test_otlp_counts_spans() -> None:
    request = ExportTraceServiceRequest()
    for scope in ("one", "two"):
        spans = request.resource_spans.add().scope_spans.add().spans
        span = spans.add(name=scope)
        span.attributes.add(key="a").value.int_value = 1
    found = list(otlp.decode("/v1/traces", request.SerializeToString()))
    assert found == [Span("one", 1), Span("two", 1)]
    assert list(otlp.decode("/v1/logs", b"whatever")) == []


def test_otlp_reads_sums_and_both_histograms() -> None:
    request = ExportMetricsServiceRequest()
    metrics = request.resource_metrics.add().scope_metrics.add().metrics
    total = metrics.add(name="total").sum
    total.aggregation_temporality = 2
    total.data_points.add(as_int=5, time_unix_nano=7).attributes.add(key="k").value.string_value = "v"
    explicit = metrics.add(name="explicit").histogram
    explicit.aggregation_temporality = 1
    explicit.data_points.add(count=3, sum=1.5)
    metrics.add(name="exponential").exponential_histogram.data_points.add(count=4)
    metrics.add(name="level").gauge.data_points.add(as_double=1.0)
    found = list(otlp.decode("/v1/metrics", request.SerializeToString()))
    assert all(isinstance(each, Point) for each in found)
    told = [
        (each.metric, each.cumulative, each.count, each.time_ns) for each in found if isinstance(each, Point)
    ]
    assert told == [("total", True, 5, 7), ("explicit", False, 3, 0), ("exponential", False, 4, 0)]


def test_the_summary_adds_deltas_and_takes_the_latest_of_cumulative_series() -> None:
    found = summary(
        [
            Span("work", 8),
            Span("work", 6),
            Point("sum", "a", True, 10, 2),
            Point("sum", "a", True, 4, 1),  # came late, and is older
            Point("sum", "b", True, 1, 1),
            Point("delta", "a", False, 3, 1),
            Point("delta", "a", False, 4, 2),
        ]
    )
    assert found == {"spans": {"work": 2}, "attributes": {"work": 14}, "metrics": {"sum": 11, "delta": 7}}


@pytest.fixture
def listening(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    monkeypatch.setattr(server.Handler, "requests", [])
    made = ThreadingHTTPServer(("127.0.0.1", 0), server.Handler)
    made.daemon_threads = True
    serving = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.01})
    serving.start()
    yield made.server_address[1]
    made.shutdown()
    made.server_close()
    serving.join(60)


def test_the_server_takes_every_protocol_and_encoding(listening: int) -> None:
    elastic_body = b'{"span":{"name":"lines"}}\n'
    trace = pack([[{"name": "packed", "meta": {}, "metrics": {}}]])
    connection = http.client.HTTPConnection("127.0.0.1", listening, timeout=60)

    def ask(method: str, path: str, body: Any = None, **headers: str) -> tuple[int, bytes]:
        connection.request(method, path, body, headers, encode_chunked=isinstance(body, list))
        answer = connection.getresponse()
        return answer.status, answer.read()

    compressed = zlib.compress(elastic_body)
    chunks = [compressed[:5], compressed[5:]]
    assert ask("GET", "/info")[0] == 200
    assert ask("PUT", "/v0.4/traces", trace) == (200, b'{"rate_by_service":{}}')
    chunked = {"Content-Encoding": "deflate", "Transfer-Encoding": "chunked"}
    assert ask("POST", "/intake/v2/events", chunks, **chunked)[0] == 202
    assert (
        ask("POST", "/intake/v2/events", gzip.compress(elastic_body), **{"Content-Encoding": "gzip"})[0]
        == 202
    )
    assert ask("POST", "/elsewhere", b"x")[0] == 404
    found = json.loads(ask("GET", "/bench/received")[1])
    assert found["spans"] == {"packed": 1, "lines": 2}
    assert found["requests"] == 3
    ask("POST", "/bench/reset")
    assert json.loads(ask("GET", "/bench/received")[1])["spans"] == {}
    connection.close()
