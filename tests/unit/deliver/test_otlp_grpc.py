"""OTLP/gRPC against a real gRPC server: what arrives, each status, time-outs, TLS and forks."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spanwise import names
from spanwise.deliver import otlp_grpc
from spanwise.deliver.answer import Answer, Fate
from spanwise.deliver.destinations import Destination, destination
from spanwise.deliver.otlp_grpc import GrpcClient, fate_of_code
from spanwise.errors import ConfigurationError
from spanwise.settings import Exporter

Call = Callable[[bytes, grpc.ServicerContext], bytes]
LONG = 60.0


class _Handler(grpc.GenericRpcHandler):  # type: ignore[misc]
    def __init__(self, call: Call) -> None:
        self.call = call
        self.seen: list[tuple[str, dict[str, Any], bytes]] = []

    def service(self, details: Any) -> Any:
        def answer(request: bytes, context: grpc.ServicerContext) -> bytes:
            self.seen.append((details.method, dict(details.invocation_metadata), request))
            return self.call(request, context)

        return grpc.unary_unary_rpc_method_handler(answer)


@contextmanager
def server(call: Call, credentials: Any = None, port: int = 0) -> Iterator[tuple[str, _Handler]]:
    handler = _Handler(call)
    made = grpc.server(ThreadPoolExecutor(4), options=[("grpc.so_reuseport", 0)])
    made.add_generic_rpc_handlers((handler,))
    address = f"127.0.0.1:{port}"
    bound = (
        made.add_insecure_port(address) if credentials is None else made.add_secure_port(address, credentials)
    )
    made.start()
    try:
        yield f"127.0.0.1:{bound}", handler
    finally:
        made.stop(0).wait(LONG)


def yes(_request: bytes, _context: Any) -> bytes:
    return b""


def send(url: str, body: bytes = b"x", signal: str = "traces", **more: Any) -> Answer:
    client = GrpcClient(Destination(url=url, **{"timeout": LONG, **more}), signal)
    try:
        return client.send([body])
    finally:
        client.close()


@pytest.mark.parametrize(
    ("signal", "service"),
    [
        ("traces", "trace.v1.TraceService"),
        ("metrics", "metrics.v1.MetricsService"),
        ("logs", "logs.v1.LogsService"),
    ],
)
def test_the_same_bytes_arrive_at_the_signal_s_own_service(signal: str, service: str) -> None:
    headers = (("x-key", "a b"), ("x-raw-bin", "AAECAw=="))
    with server(lambda *_: b"\x0a\x02\x08\x05") as (address, handler):
        client = GrpcClient(Destination(url=f"http://{address}", headers=headers, timeout=LONG), signal)
        answer = client.send([b"ab", memoryview(b"cd")])
        again = client.send([b"ef"])
        client.close()
    assert (answer.fate, answer.body) == (Fate.DELIVERED, b"\x0a\x02\x08\x05")
    assert again.delivered
    (method, metadata, request), (*_, second) = handler.seen
    assert method == f"/opentelemetry.proto.collector.{service}/Export"
    assert (request, second) == (b"abcd", b"ef")
    assert metadata["x-key"] == "a b"
    assert metadata["x-raw-bin"] == b"\0\1\2\3"
    assert metadata["user-agent"].startswith(names.USER_AGENT)


def _message(*fields: tuple[int, bytes | int]) -> bytes:
    def varint(number: int) -> bytes:
        found = b""
        while number > 127:
            found += bytes([number & 127 | 128])
            number >>= 7
        return found + bytes([number])

    return b"".join(
        varint(number << 3) + varint(value)
        if isinstance(value, int)
        else varint(number << 3 | 2) + varint(len(value)) + value
        for number, value in fields
    )


def retry_info(seconds: int, nanos: int = 0) -> bytes:
    duration = _message((1, seconds), (2, nanos))
    detail = _message((1, b"type.googleapis.com/google.rpc.RetryInfo"), (2, _message((1, duration))))
    other = _message((1, b"type.googleapis.com/google.rpc.Help"), (2, b"\x0a\x01x"))
    return _message((1, 8), (2, b"too much"), (3, other), (3, detail))


CODES = {
    **dict.fromkeys(
        ("CANCELLED", "DEADLINE_EXCEEDED", "ABORTED", "OUT_OF_RANGE", "UNAVAILABLE", "DATA_LOSS"), Fate.RETRY
    ),
    "INVALID_ARGUMENT": Fate.MALFORMED,
    **dict.fromkeys(
        (
            *("UNKNOWN", "NOT_FOUND", "ALREADY_EXISTS", "PERMISSION_DENIED", "UNAUTHENTICATED"),
            *("RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "UNIMPLEMENTED", "INTERNAL"),
        ),
        Fate.REFUSED,
    ),
}


def test_every_code_has_the_fate_that_the_specification_gives_it() -> None:
    assert {code.name for code in grpc.StatusCode} == {*CODES, "OK"}
    for code, fate in CODES.items():

        def fail(_request: bytes, context: Any, code: str = code) -> bytes:
            context.abort(grpc.StatusCode[code], "no")
            raise AssertionError

        with server(fail) as (address, _):
            assert send(f"http://{address}") == Answer(fate, reason=code), code


def test_a_server_that_says_when_to_come_again_is_heard() -> None:
    def fail(request: bytes, context: Any) -> bytes:
        code = grpc.StatusCode.RESOURCE_EXHAUSTED if request == b"much" else grpc.StatusCode.UNAVAILABLE
        context.set_trailing_metadata((("grpc-status-details-bin", retry_info(7, 500_000_000)),))
        context.abort(code, "later")
        raise AssertionError

    with server(fail) as (address, _):
        assert send(f"http://{address}", b"much") == Answer(Fate.RETRY, "RESOURCE_EXHAUSTED", 7.5)
        assert send(f"http://{address}", b"down") == Answer(Fate.RETRY, "UNAVAILABLE", 7.5)


def test_a_request_that_is_too_large_can_be_halved() -> None:
    with server(yes) as (address, handler):
        assert send(f"http://{address}", b"x" * 5_000_000).fate is Fate.TOO_LARGE
        assert send(f"http://{address}", b"x" * 2_000_000).delivered
    assert len(handler.seen) == 1
    assert fate_of_code("RESOURCE_EXHAUSTED", "quota") is Fate.REFUSED


@given(st.binary(max_size=200), st.integers(0, 3))
def test_no_details_of_a_status_harm(noise: bytes, cut: int) -> None:
    otlp_grpc._retry_delay(noise)
    good = retry_info(3)
    assert otlp_grpc._retry_delay(good + _message((9, noise))) == 3.0
    assert otlp_grpc._retry_delay(good[: len(good) - 1 - cut]) in (None, 0.0)


def test_what_never_answers_is_left_when_its_time_is_over() -> None:
    never = threading.Event()

    def wait(_request: bytes, _context: Any) -> bytes:
        never.wait(LONG)
        return b""

    with server(wait) as (address, _):
        assert send(f"http://{address}", timeout=0.3) == Answer(Fate.RETRY, "DEADLINE_EXCEEDED")
        client = GrpcClient(Destination(url=f"http://{address}", timeout=LONG), "traces")
        assert client.send([b"x"], 0.3) == Answer(Fate.RETRY, "DEADLINE_EXCEEDED")
        client.close()
        never.set()


def test_the_next_attempt_connects_again_whatever_grpc_s_own_patience_is() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    client = GrpcClient(Destination(url=f"http://127.0.0.1:{port}", timeout=LONG), "traces")
    for _ in range(5):
        assert client.send([b"x"]) == Answer(Fate.RETRY, "UNAVAILABLE")
    with server(yes, port=port):
        assert client.send([b"x"]).delivered
    assert client.send([b"x"]).fate is Fate.RETRY
    client.close()


def test_a_compressed_request_is_smaller_on_the_wire() -> None:
    def size(url: str, address: str, gzip: bool) -> int:
        """What goes through, counted on the way."""
        counted = [0]
        with socket.create_server(("127.0.0.1", 0)) as relay:

            def pump(source: socket.socket, target: socket.socket, count: bool) -> None:
                with suppress(ConnectionError):
                    while data := source.recv(65536):
                        counted[0] += len(data) * count
                        target.sendall(data)

            def serve() -> None:
                near, _ = relay.accept()
                host, _, port = address.partition(":")
                far = socket.create_connection((host, int(port)))
                back = threading.Thread(target=pump, args=(far, near, False), daemon=True)
                back.start()
                pump(near, far, True)
                with suppress(OSError):
                    far.shutdown(socket.SHUT_RDWR)
                back.join(LONG)
                near.close()
                far.close()

            thread = threading.Thread(target=serve, daemon=True)
            thread.start()
            assert send(f"{url}:{relay.getsockname()[1]}", b"y" * 100_000, gzip=gzip).delivered
            thread.join(LONG)
        return counted[0]

    with server(yes) as (address, handler):
        assert size("http://127.0.0.1", address, False) > 100_000
        assert size("http://127.0.0.1", address, True) < 10_000
    assert {request for *_, request in handler.seen} == {b"y" * 100_000}


def test_headers_that_grpc_cannot_send_are_left_out_and_told(caplog: pytest.LogCaptureFixture) -> None:
    headers = (
        ("x!y", "s3cret"),
        ("grpc-timeout", "s3cret"),
        ("x-é", "s3cret"),
        ("a", "s3cret\xe9"),
        ("b", "1"),
    )
    with server(yes) as (address, handler):
        assert send(f"http://{address}", headers=headers).delivered
    metadata = handler.seen[0][1]
    assert metadata["b"] == "1"
    assert not {"x!y", "a", "x-é"} & metadata.keys()
    for name in ("x!y", "grpc-timeout", "'a'"):
        assert name in caplog.text
    assert "s3cret" not in caplog.text


def test_tls_with_a_certificate_of_ours(pair: tuple[str, str], tmp_path: Path) -> None:
    certificate, key = map(Path, pair)
    keys = [(key.read_bytes(), certificate.read_bytes())]
    ours = {"client_certificate": str(certificate), "client_key": str(key)}
    with server(yes, grpc.ssl_server_credentials(keys, certificate.read_bytes(), True)) as (address, _):
        assert send(f"https://{address}", certificate=str(certificate), **ours).delivered
        assert send(f"https://{address}", certificate=str(certificate), timeout=5).fate is Fate.RETRY
        assert send(f"https://{address}", timeout=5, **ours).fate is Fate.RETRY
    with pytest.raises(ConfigurationError, match="OTEL_EXPORTER_OTLP_CERTIFICATE"):
        GrpcClient(Destination(url="https://x", certificate=str(tmp_path / "gone")), "logs")


@pytest.mark.parametrize(
    ("exporter", "url"),
    [
        (Exporter(), "http://localhost:4317"),
        (Exporter(endpoint="http://there:1"), "http://there:1"),
        (Exporter(endpoint="https://there:1/path"), "https://there:1/path"),
        (Exporter(endpoint="there:1"), "https://there:1"),
        (Exporter(endpoint="there:1", insecure=True), "http://there:1"),
        (Exporter(endpoint="https://there:1", insecure=True), "https://there:1"),
        (Exporter(endpoint="[::1]:1", insecure=True, endpoint_is_whole=True), "http://[::1]:1"),
    ],
)
def test_endpoints_are_read_as_the_specification_has_it(exporter: Exporter, url: str) -> None:
    from dataclasses import replace

    assert destination(replace(exporter, protocol="grpc"), "traces").url == url


FORKS = '''
import os, sys, threading
from spanwise.deliver.destinations import Destination
from spanwise.deliver.otlp_grpc import GrpcClient, _under_way
from spanwise.deliver.answer import Fate
quick, slow = sys.argv[1:]
def child(client):
    """What becomes of a request in a forked child."""
    reading, writing = os.pipe()
    if os.fork() == 0:
        client.close()  # as at each fork
        answer = client.send([b"child"])
        client.close()
        os.write(writing, (answer.fate.name + " " + answer.reason).encode())
        if answer.delivered:
            sys.exit(0)  # with all that ends at an interpreter's end
        os._exit(0)
    os.close(writing)
    os.waitpid(-1, 0)
    return os.read(reading, 100).decode()
client = GrpcClient(Destination(url=quick, timeout=60.0), "traces")
assert client.send([b"parent"]).delivered
print(child(client))
assert client.send([b"parent"]).delivered
busy = GrpcClient(Destination(url=slow, timeout=60.0), "logs")
thread = threading.Thread(target=busy.send, args=([b"slow"],), daemon=True)
thread.start()
sys.stdin.readline()  # the server has the request
print(child(client))
assert client.send([b"parent"]).delivered
sys.stdout.flush()
os._exit(0)
'''


def test_a_child_forked_during_a_call_leaves_grpc_alone_and_others_use_it() -> None:
    arrived, never = threading.Event(), threading.Event()

    def wait(_request: bytes, _context: Any) -> bytes:
        arrived.set()
        never.wait(LONG)
        return b""

    with server(yes) as (quick, handler), server(wait) as (slow, _):
        with subprocess.Popen(
            [sys.executable, "-c", FORKS, f"http://{quick}", f"http://{slow}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            assert process.stdin is not None
            assert arrived.wait(LONG)
            out, err = process.communicate("go\n", timeout=LONG)
        never.set()
    assert out.splitlines() == ["DELIVERED ", "RETRY GrpcAfterFork"], err
    assert "http/protobuf" in err
    assert [request for *_, request in handler.seen] == [b"parent", b"child", b"parent", b"parent"]
