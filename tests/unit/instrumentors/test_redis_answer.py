"""Which address a host's name stands for, as the open connections tell."""

from __future__ import annotations

import _weakrefset
import gc
import socket
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any

import pytest
import redis
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import NoOpTracer

from spanwise import names
from spanwise.instrumentors._calls import Calls
from spanwise.instrumentors._database import Conventions
from spanwise.instrumentors._redis import Target
from spanwise.instrumentors._redis_answer import Targets
from spanwise.instrumentors._redis_shape import place_of
from spanwise.instrumentors.redis import RedisInstrumentor


class Socket:
    def __init__(self, *peer: Any) -> None:
        self._peer = peer

    def getpeername(self) -> Any:
        return self._peer


class Connection:
    """As redis-py's, connected."""

    def __init__(self, host: str, peer: str) -> None:
        self.host, self.port = host, 6379
        self._sock = Socket(peer, 6379)


def connect(targets: Targets, host: str, peer: str) -> Connection:
    made = Connection(host, peer)
    assert targets.connected(lambda connection: connection)(made) is made
    return made


@pytest.fixture
def targets() -> Targets:
    return Targets(Calls("redis", NoOpTracer()))


def target(host: str = "redis.internal") -> Target:
    return Target(object(), Conventions(stable=True, old=False), host, 6379)


def test_the_address_of_all_connections(targets: Targets) -> None:
    one, other = target(), target("elsewhere")
    for each in (one, other):
        targets.add(each)
    before = one.command(["GET", "key"])
    kept = [connect(targets, "redis.internal", "10.0.0.1") for _ in range(2)]
    assert (one.peer, other.peer) == ("10.0.0.1", "")
    assert names.NETWORK_PEER_ADDRESS not in before.attributes
    after = one.command(["GET", "key"]).attributes
    assert (after[names.NETWORK_PEER_ADDRESS], after[names.NETWORK_PEER_PORT]) == ("10.0.0.1", 6379)
    assert after[names.SERVER_ADDRESS] == "redis.internal"
    late = target()
    targets.add(late)
    assert late.peer == "10.0.0.1"
    assert len(kept) == 2


def test_where_they_differ_none_is_told(targets: Targets) -> None:
    one = target()
    targets.add(one)
    first = connect(targets, "redis.internal", "10.0.0.1")
    second = connect(targets, "redis.internal", "10.0.0.2")
    assert one.peer == ""
    del first
    gc.collect()
    third = connect(targets, "redis.internal", "10.0.0.2")
    assert one.peer == "10.0.0.2"
    assert second is not third


class Replies:
    """Answers OK to whatever Redis is asked."""

    def __init__(self) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            threading.Thread(target=self._talk, args=(connection,), daemon=True).start()

    def _talk(self, connection: socket.socket) -> None:
        with closing(connection):
            while chunk := connection.recv(65536):
                connection.sendall(b"+OK\r\n" * (chunk.startswith(b"*") + chunk.count(b"\r\n*")))


def test_calls_that_began_before_the_first_connection() -> None:
    """All of them say where the server is, not only one."""
    exporter, provider = InMemorySpanExporter(), TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    all_began = threading.Barrier(8)

    class Late(redis.Connection):
        def connect(self) -> None:
            if self._sock is None:
                all_began.wait(60)
            super().connect()

    RedisInstrumentor().instrument(info=False, tracer_provider=provider)
    try:
        with closing(Replies()) as server:
            pool = redis.ConnectionPool(
                connection_class=Late, host="localhost", port=server.port, protocol=2, max_connections=8
            )
            client = redis.Redis(connection_pool=pool)
            threads = [threading.Thread(target=client.get, args=("key",)) for _ in range(8)]
            for each in threads:
                each.start()
            for each in threads:
                each.join(60)
            first = exporter.get_finished_spans()
            client.get("key")
            client.get("key")
            pool.disconnect()
    finally:
        RedisInstrumentor().uninstrument()
    assert [span.attributes.get(names.NETWORK_PEER_ADDRESS) for span in first] == ["127.0.0.1"] * 8
    spans = exporter.get_finished_spans()
    assert [span.attributes.get(names.NETWORK_PEER_ADDRESS) for span in spans] == ["127.0.0.1"] * 10


@contextmanager
def meanwhile(act: Callable[[], None]) -> Iterator[None]:
    """Before each line of the weak collections' Python code, where another thread may run, ``act`` does."""

    def trace(frame: Any, event: str, _: Any) -> Any:
        if frame.f_code.co_filename not in (weakref.__file__, _weakrefset.__file__):
            return None
        if event == "line":
            act()
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        yield
    finally:
        sys.settrace(before)


def test_threads_that_connect_at_once(targets: Targets, caplog: pytest.LogCaptureFixture) -> None:
    one, kept = target(), [connect(targets, "redis.internal", "10.0.0.1") for _ in range(3)]
    servers = [target("elsewhere") for _ in range(3)]
    for each in servers:
        targets.add(each)

    def another() -> None:
        if len(kept) < 50:
            kept.append(connect(targets, "elsewhere", "10.0.0.2"))
            servers.append(target("elsewhere"))
            targets.add(servers[-1])

    with meanwhile(another):
        targets.add(one)
        kept.append(connect(targets, "redis.internal", "10.0.0.1"))
        targets.forget()
    assert len(kept) == 51
    assert one.peer == "10.0.0.1"
    assert {each.peer for each in servers} == {"10.0.0.2"}
    assert caplog.records == []


def test_connections_without_an_address(targets: Targets) -> None:
    class Broken(Connection):
        def __init__(self) -> None:
            self.host, self.port = "redis.internal", 6379

            class Closed:
                def getpeername(self) -> Any:
                    raise OSError("not connected")

            self._sock = Closed()  # type: ignore[assignment]

    assert place_of(object()) is None
    assert place_of(Connection("redis.internal", "10.0.0.1")) == ("redis.internal", 6379, "10.0.0.1")
    one = target()
    targets.add(one)
    made = Broken()
    assert targets.connected(lambda connection: connection)(made) is made
    assert one.peer == ""
