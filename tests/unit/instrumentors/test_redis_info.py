"""Asking Redis servers for INFO: once a server, never in anybody's way, no longer than a client lives."""

from __future__ import annotations

import gc
import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from typing import Any

import pytest
import redis
import redis.asyncio
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from spanwise import names
from spanwise.instrumentors import _redis_info
from spanwise.instrumentors._redis_info import servers_of
from spanwise.instrumentors.redis import RedisInstrumentor

INFO = b"used_memory:1000\r\nkeyspace_hits:3\r\nkeyspace_misses:1\r\nmaxmemory:\r\nrole:master\r\n"
OPTIONS = {"protocol": 2}


class Server:
    """Speaks as much of Redis as INFO needs.

    Attributes:
        port: where.
        connections: how many there were.
        asked: set when INFO was asked for.
        may_answer: it waits for this before it answers.
        answer: what it says.
    """

    def __init__(self, answer: bytes = b"$%d\r\n%s\r\n" % (len(INFO), INFO)) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        self.connections = 0
        self.asked, self.may_answer = threading.Event(), threading.Event()
        self.may_answer.set()
        self.answer = answer
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        self.may_answer.set()
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._talk, args=(connection,), daemon=True).start()

    def _talk(self, connection: socket.socket) -> None:
        with closing(connection):
            while chunk := connection.recv(65536):
                said = chunk.upper()
                others = said.count(b"SETINFO")
                connection.sendall(b"+OK\r\n" * others)
                if b"\r\nINFO\r\n" in said:
                    self.asked.set()
                    self.may_answer.wait(60)
                    connection.sendall(self.answer)


@pytest.fixture
def server() -> Iterator[Callable[..., Server]]:
    with ExitStack() as stack:

        def start(*args: Any) -> Server:
            return stack.enter_context(closing(Server(*args)))

        yield start


class Owner:
    """A client or a pool."""


class Collected:
    """Servers, and a reader of their figures."""

    def __init__(self) -> None:
        self.reader = InMemoryMetricReader()
        self.meter = MeterProvider([self.reader], shutdown_on_exit=False).get_meter("test")
        self.servers = servers_of(self.meter)
        self.servers.begin()

    def __call__(self) -> dict[str, list[tuple[Any, dict[str, Any]]]]:
        data: Any = self.reader.get_metrics_data()
        if data is None:
            return {}
        metrics = [m for r in data.resource_metrics for s in r.scope_metrics for m in s.metrics]
        return {
            metric.name: [(point.value, dict(point.attributes)) for point in metric.data.data_points]
            for metric in metrics
        }

    def until(self, enough: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
        """Collects until the figures are as wanted."""
        deadline = time.monotonic() + 60
        while not enough(found := self()):
            assert time.monotonic() < deadline, found
            time.sleep(0.01)
        return found


@pytest.fixture
def collected(monkeypatch: pytest.MonkeyPatch) -> Collected:
    monkeypatch.setattr(_redis_info, "_FRESH", 0.0)  # each collection asks
    return Collected()


def test_the_figures(server: Callable[..., Server], collected: Collected) -> None:
    one, owner = server(), Owner()
    collected.servers.add(owner, OPTIONS, redis.Connection, "127.0.0.1", one.port)
    place = {names.SERVER_ADDRESS: "127.0.0.1", names.SERVER_PORT: one.port}
    assert collected.until(bool) == {
        names.REDIS_MEMORY_USED.name: [(1000, place)],
        names.CACHE_MEMORY_USAGE.name: [(1000, place)],
        names.REDIS_KEYSPACE_HITS.name: [(3, place)],
        names.REDIS_KEYSPACE_MISSES.name: [(1, place)],
        names.REDIS_KEYSPACE_HIT_RATIO.name: [(0.75, place)],
    }


def test_off_and_on_again(server: Callable[..., Server], monkeypatch: pytest.MonkeyPatch) -> None:
    """A meter ignores the callbacks of a second instrument by the same name."""
    monkeypatch.setattr(_redis_info, "_FRESH", 0.0)
    one, collected = server(), Collected()
    made = []
    for _ in range(2):
        servers = servers_of(collected.meter)
        servers.begin()
        made.append(servers)
        owner = Owner()
        servers.add(owner, OPTIONS, redis.Connection, "127.0.0.1", one.port)
        assert names.REDIS_MEMORY_USED.name in collected.until(bool)
        servers.close()
        assert collected() == {}
    assert made[0] is made[1]


def test_the_instrumentor_off_and_on_again(
    server: Callable[..., Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_redis_info, "_FRESH", 0.0)
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader], shutdown_on_exit=False)
    one = server()
    for _ in range(2):
        RedisInstrumentor().instrument(meter_provider=provider)
        client = redis.Redis(host="127.0.0.1", port=one.port, protocol=2)
        try:
            client.info()
            deadline = time.monotonic() + 60
            found: set[str] = set()
            while names.REDIS_MEMORY_USED.name not in found:
                assert time.monotonic() < deadline, found
                data = reader.get_metrics_data()
                metrics = [
                    m
                    for r in (data.resource_metrics if data else ())
                    for s in r.scope_metrics
                    for m in s.metrics
                ]
                found = {metric.name for metric in metrics}
            client.close()
        finally:
            RedisInstrumentor().uninstrument()


def test_a_collection_asks_once_however_many_clients_and_instruments(server: Callable[..., Server]) -> None:
    collected = Collected()
    one, owners = server(), [Owner() for _ in range(5)]
    for owner in owners:
        collected.servers.add(owner, OPTIONS, redis.Connection, "127.0.0.1", one.port)
    collected()
    assert one.asked.wait(60)
    assert collected.until(bool)
    assert one.connections == 1


def test_a_server_that_hangs_delays_no_collection(
    server: Callable[..., Server], collected: Collected, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_redis_info, "_TIMEOUT", 60.0)
    monkeypatch.setattr(_redis_info, "_PATIENCE", 0.01)
    hanging, well, owner = server(), server(), Owner()
    hanging.may_answer.clear()
    collected.servers.add(owner, OPTIONS, redis.Connection, "127.0.0.1", hanging.port)
    assert collected() == {}  # comes back although the server has not answered
    assert hanging.asked.wait(60)
    assert collected() == collected() == {}
    assert hanging.connections == 1  # and is not asked again meanwhile
    hanging.may_answer.set()
    collected.servers.add(owner, OPTIONS, redis.Connection, "127.0.0.1", well.port)
    used = names.REDIS_MEMORY_USED.name
    collected.until(lambda found: len(found.get(used, ())) == 2)


def test_one_that_hangs_does_not_hide_the_others(
    server: Callable[..., Server], collected: Collected, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_redis_info, "_TIMEOUT", 0.05)
    hanging, well, owner = server(), server(), Owner()
    hanging.may_answer.clear()
    for each in (hanging, well):
        collected.servers.add(owner, OPTIONS, redis.Connection, "127.0.0.1", each.port)
    found = collected.until(bool)
    (told,) = found[names.REDIS_MEMORY_USED.name]
    assert told[1][names.SERVER_PORT] == well.port


def test_a_server_that_is_gone_tells_nothing_any_more(collected: Collected) -> None:
    one, owner = Server(), Owner()
    collected.servers.add(owner, OPTIONS, redis.Connection, "127.0.0.1", one.port)
    collected.until(bool)
    one.close()
    collected.until(lambda found: not found)


def test_clients_are_not_kept_alive(server: Callable[..., Server], collected: Collected) -> None:
    one, first, second = server(), Owner(), Owner()
    for owner in (first, second):
        collected.servers.add(owner, OPTIONS, redis.Connection, "127.0.0.1", one.port)
    collected.until(bool)
    del first, owner
    gc.collect()
    assert collected.until(bool)  # the other one's is left
    del second
    gc.collect()
    collected.until(lambda found: not found)
    before = one.connections
    assert collected() == {}
    assert one.connections == before


def test_a_server_that_nobody_uses_makes_room_for_another(
    server: Callable[..., Server], collected: Collected, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_redis_info, "_MOST", 1)
    first, second, owner, other = server(), server(), Owner(), Owner()
    collected.servers.add(owner, OPTIONS, redis.Connection, "127.0.0.1", first.port)
    collected.servers.add(other, OPTIONS, redis.Connection, "127.0.0.1", second.port)
    (told,) = collected.until(bool)[names.REDIS_MEMORY_USED.name]
    assert told[1][names.SERVER_PORT] == first.port
    del owner
    gc.collect()
    collected.until(lambda found: not found)
    collected.servers.add(other, OPTIONS, redis.Connection, "127.0.0.1", second.port)
    (told,) = collected.until(bool)[names.REDIS_MEMORY_USED.name]
    assert told[1][names.SERVER_PORT] == second.port


def test_a_refusal_is_told_once_and_not_asked_for_again(
    server: Callable[..., Server], collected: Collected, caplog: pytest.LogCaptureFixture
) -> None:
    one, owner = server(b"-NOPERM User has no permissions to run the 'info' command\r\n"), Owner()
    collected.servers.add(owner, OPTIONS, redis.Connection, "127.0.0.1", one.port)
    assert collected() == {}
    assert one.asked.wait(60)
    deadline = time.monotonic() + 60
    while not caplog.records:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    asked = one.connections
    collected.servers.add(Owner(), OPTIONS, redis.Connection, "127.0.0.1", one.port)
    assert collected() == collected() == {}
    assert one.connections == asked
    (record,) = [each for each in caplog.records if each.levelno >= logging.WARNING]
    assert f"127.0.0.1:{one.port} does not tell its INFO (NoPermissionError)" in record.getMessage()
    assert "SPANWISE_REDIS_INFO=0" in record.getMessage()


def test_what_may_be_no_connection_is_not_asked(server: Callable[..., Server], collected: Collected) -> None:
    class InMemory(redis.Connection):
        pass

    one, owner = server(), Owner()
    collected.servers.add(owner, OPTIONS, InMemory, "127.0.0.1", one.port)
    assert collected() == {}
    assert not one.asked.wait(0.05)


def test_a_client_s_own_options_go_along_and_its_own_time_outs_do_not(
    collected: Collected, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[tuple[type, dict[str, Any]]] = []

    class Pool(redis.ConnectionPool):
        def __init__(self, connection_class: Any, **options: Any) -> None:
            made.append((connection_class, options))
            raise ConnectionError("not to be connected to")

    monkeypatch.setattr(redis, "ConnectionPool", Pool)
    options: dict[str, Any] = {"username": "me", "password": "secret", "credential_provider": None}
    options.update(ssl_ca_certs="/ca", host="other", db=3, decode_responses=True)
    options.update(socket_timeout=77, retry=object())
    owner = Owner()
    collected.servers.add(owner, options, redis.asyncio.SSLConnection, "tls", 6380)
    collected.servers.add(owner, options, redis.asyncio.UnixDomainSocketConnection, "/run/redis", 0)
    collected()
    deadline = time.monotonic() + 60
    while len(made) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    common = {"username": "me", "password": "secret", "socket_timeout": 1.0, "max_connections": 1}
    tcp = {"host": "tls", "port": 6380, "socket_connect_timeout": 1.0, "ssl_ca_certs": "/ca"}
    assert made[:2] == [
        (redis.SSLConnection, {**common, **tcp}),
        (redis.UnixDomainSocketConnection, {**common, "path": "/run/redis"}),
    ]


def test_after_closing_nothing_is_asked(server: Callable[..., Server], collected: Collected) -> None:
    one, owner = server(), Owner()
    collected.servers.add(owner, OPTIONS, redis.Connection, "127.0.0.1", one.port)
    collected.servers.close()
    assert collected() == {}
    assert not one.asked.wait(0.05)
