"""Asking a Prometheus: what it says, and each way in which it does not."""

from __future__ import annotations

import importlib.util
import json
import math
import socket
import threading
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from spanwise.errors import SpanwiseError
from spanwise.gate.server import Line, Server, check_headers

_spec = importlib.util.spec_from_file_location("gate_stub", Path(__file__).with_name("conftest.py"))
assert _spec is not None
assert _spec.loader is not None
_module = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_module)
send, success = _module.send, _module.success
SECRET = "s3cr3t"


def answering(stub: Any, status: int, text: str, **headers: str) -> Server:
    stub.answer = lambda handler, form: send(handler, status, text, **headers)
    return Server(stub.address, timeout=60)


def test_a_matrix_a_vector_and_the_time(stub: Any) -> None:
    matrix = [{"metric": {"pod": "a"}, "values": [[1.5, "2"], [2.5, "NaN"], [3.5, "+Inf"]]}]
    (line,) = answering(stub, 200, success("matrix", matrix)).over("up", 1, 4, 1)
    assert line.labels == {"pod": "a"}
    assert line.points[0] == (1.5, 2)
    assert math.isnan(line.points[1][1])
    assert line.points[2] == (3.5, math.inf)
    assert stub.asked[-1] == {
        "path": "/api/v1/query_range",
        "query": "up",
        "start": "1.000",
        "end": "4.000",
        "step": "1.000",
    }
    vector = [{"metric": {}, "value": [7, "1"]}]
    assert answering(stub, 200, success("vector", vector)).at("up", 7) == [Line({}, [(7, 1)])]
    assert answering(stub, 200, success("scalar", [7.25, "7.25"])).now() == 7.25


@pytest.mark.parametrize(
    ("status", "text", "said"),
    [
        (401, "no", "lets nobody ask without leave: it answered 401"),
        (403, '{"status":"error","error":"no"}', "answered 403"),
        (404, "<html>", "no Prometheus: it answered 404"),
        (200, "<html>", "not in Prometheus's form"),
        (200, '["status"]', "not in Prometheus's form"),
        (200, '{"status":"success"}', "not in Prometheus's form"),
        (200, '{"status":"success","data":{"resultType":"vector","result":[]}}', "no matrix of numbers"),
        (200, '{"status":"success","data":{"resultType":"matrix"}}', "no matrix of numbers"),
        (200, '{"status":"success","data":{"resultType":"matrix","result":[{}]}}', "no matrix of numbers"),
        (200, '{"status":"success","data":{"resultType":"matrix","result":[3]}}', "no matrix of numbers"),
        (
            200,
            success("matrix", [{"metric": {}, "values": [[1, "x"]]}]),
            "no matrix of numbers",
        ),
        (
            400,
            '{"status":"error","errorType":"bad_data","error":"parse\\u001b[31m"}',
            r"answer \(400\): parse",
        ),
        (503, '{"status":"error","errorType":"timeout","error":"query timed out"}', "query timed out"),
        (500, "oops", "it answered 500"),
    ],
)
def test_other_answers_are_errors(stub: Any, status: int, text: str, said: str) -> None:
    with pytest.raises(SpanwiseError, match=said) as caught:
        answering(stub, status, text).over("up", 1, 2, 1)
    assert stub.address in str(caught.value)
    assert "\x1b" not in str(caught.value)


def test_a_redirect_is_not_followed(stub: Any) -> None:
    server = answering(stub, 302, "", Location=f"{stub.address}/elsewhere")
    with pytest.raises(SpanwiseError, match="leads elsewhere"):
        server.now()
    assert len(stub.asked) == 1


def test_nobody_there_and_an_answer_that_never_ends(stub: Any) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        with pytest.raises(SpanwiseError, match="no Prometheus answers"):
            Server(f"http://127.0.0.1:{probe.getsockname()[1]}", timeout=1).now()
    ended = threading.Event()

    def drip(handler: BaseHTTPRequestHandler, _form: dict[str, str]) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", "1000000")
        handler.end_headers()
        while not ended.wait(0.05):
            try:
                handler.wfile.write(b" ")
            except OSError:
                return

    stub.answer = drip
    try:
        with pytest.raises(SpanwiseError, match="no Prometheus answers"):
            Server(stub.address, timeout=0.3).now()
    finally:
        ended.set()


def test_headers_that_drip_are_not_waited_for_either(stub: Any) -> None:
    ended, gave_up = threading.Event(), threading.Event()

    def drip(handler: BaseHTTPRequestHandler, _form: dict[str, str]) -> None:
        handler.wfile.write(b"HTTP/1.0 200 OK\r\n")
        while not ended.wait(0.05):
            try:
                handler.wfile.write(b"x: y\r\n")
            except OSError:
                return

    def ask() -> None:
        with pytest.raises(SpanwiseError, match=r"no whole answer within 0\.3 s"):
            Server(stub.address, timeout=0.3).now()
        gave_up.set()

    stub.answer = drip
    threading.Thread(target=ask, daemon=True).start()
    # Five seconds of drops are as many headers as http.client takes: it must be the time-out that ended it.
    try:
        assert gave_up.wait(60)
    finally:
        ended.set()


def test_headers_are_sent_and_never_shown(stub: Any) -> None:
    stub.answer = lambda handler, form: send(handler, 401, "")
    with pytest.raises(SpanwiseError) as caught:
        Server(stub.address, (("authorization", f"Bearer {SECRET}"),)).now()
    assert stub.headers["authorization"] == f"Bearer {SECRET}"
    assert SECRET not in str(caught.value)
    for bad in (f"{SECRET}\r\nx: y", f"{SECRET}é"):
        with pytest.raises(SpanwiseError, match="'authorization' cannot be sent") as caught:
            check_headers((("authorization", bad),), "here")
        assert SECRET not in str(caught.value)
    with pytest.raises(SpanwiseError, match="cannot be sent"):
        check_headers((("a b", "c"),), "here")


def test_a_path_prefix_stays(stub: Any) -> None:
    stub.answer = lambda handler, form: send(handler, 200, success("scalar", [1, "1"]))
    Server(f"{stub.address}/prometheus/").now()
    assert stub.asked[-1]["path"] == "/prometheus/api/v1/query"


@pytest.mark.parametrize(
    "address",
    ["", "prometheus:9090", "file:///etc/passwd", "http://", "http://h:x", "http://h:0", "http://a b"],
)
def test_what_is_no_address(address: str) -> None:
    with pytest.raises(SpanwiseError, match="no address of a Prometheus"):
        Server(address)


@pytest.mark.parametrize("address", [f"http://me:{SECRET}@host:9090", f"http://me:{SECRET}@ho st"])
def test_a_password_in_an_address_is_refused_and_not_shown(address: str) -> None:
    with pytest.raises(SpanwiseError) as caught:
        Server(address)
    assert SECRET not in str(caught.value)


def test_warnings_are_kept_once(stub: Any) -> None:
    server = answering(stub, 200, success("matrix", [], warnings=["partial\n", "partial\n"]))
    server.over("up", 1, 2, 1)
    server.over("up", 1, 2, 1)
    assert server.warnings == ["partial "]


def test_json_of_the_stub_is_json() -> None:
    assert json.loads(success("vector", []))["data"]["result"] == []
