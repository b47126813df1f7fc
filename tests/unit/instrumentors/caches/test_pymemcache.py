"""pymemcache observed over a socket that answers from a script; tests/integration has the real server."""

from __future__ import annotations

import socket
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from opentelemetry.trace import SpanKind
from pymemcache.client.base import Client, PooledClient
from pymemcache.client.hash import HashClient
from pymemcache.client.retrying import RetryingClient
from pymemcache.exceptions import MemcacheIllegalInputError, MemcacheServerError

from spanwise import names
from spanwise.context import suppressed
from spanwise.instrumentors import pymemcache as ours
from spanwise.instrumentors.pymemcache import PymemcacheInstrumentor

SERVER = ("cache.example", 11211)
NAME = "cache.example:11211"
HIT, MISS, STORED = ("get", "hit"), ("get", "miss"), ("set", "stored")


class Socket:
    """Answers each request with the next answer; an exception is raised."""

    def __init__(self, answers: list[Any]) -> None:
        self.answers = answers
        self.sent: list[bytes] = []

    def sendall(self, data: bytes) -> None:
        self.sent.append(data)

    def recv(self, _: int) -> bytes:
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def __getattr__(self, _: str) -> Any:
        return lambda *_args, **_named: None


def client(*answers: Any, kind: Any = Client, server: Any = SERVER, **options: Any) -> Any:
    """A client whose server gives these answers, on one connection after the other."""
    left = list(answers)
    module = SimpleNamespace(
        **{name: getattr(socket, name) for name in ("AF_UNIX", "AF_UNSPEC", "SOCK_STREAM", "IPPROTO_TCP")},
        getaddrinfo=lambda *_: [(socket.AF_INET, socket.SOCK_STREAM, 0, "", SERVER)],
        socket=lambda *_: Socket(left),
    )
    servers = [server] if kind is HashClient else server
    return kind(servers, socket_module=module, default_noreply=False, **options)


@pytest.fixture
def instrument(observe: Callable[..., None]) -> Callable[..., None]:
    return lambda **options: observe(PymemcacheInstrumentor(), **options)


VALUE = b"VALUE %s 0 1\r\n1\r\n"
ONE = VALUE % b"a" + b"END\r\n"
CAS = b"VALUE a 0 1 7\r\n1\r\nEND\r\n"
BOTH = VALUE % b"a" + VALUE % b"b" + b"END\r\n"

CASES: list[tuple[str, tuple[Any, ...], bytes, Any, str, dict[tuple[str, str], int]]] = [
    ("get", ("a",), ONE, b"1", "get", {HIT: 1}),
    ("get", ("a", "default"), b"END\r\n", "default", "get", {MISS: 1}),
    ("gets", ("a",), CAS, (b"1", b"7"), "gets", {HIT: 1}),
    ("gets", ("a",), b"END\r\n", (None, None), "gets", {MISS: 1}),
    ("get_many", (["a", "b", "c"],), BOTH, {"a": b"1", "b": b"1"}, "get_many", {HIT: 2, MISS: 1}),
    ("get_multi", (["a"],), ONE, {"a": b"1"}, "get_many", {HIT: 1}),
    ("gets_many", (["a", "b"],), CAS, {"a": (b"1", b"7")}, "gets_many", {HIT: 1, MISS: 1}),
    ("set", ("a", 1), b"STORED\r\n", True, "set", {STORED: 1}),
    ("add", ("a", 1), b"NOT_STORED\r\n", False, "add", {("set", "refused"): 1}),
    ("replace", ("a", 1), b"STORED\r\n", True, "replace", {STORED: 1}),
    ("append", ("a", "1"), b"STORED\r\n", True, "append", {STORED: 1}),
    ("prepend", ("a", "1"), b"STORED\r\n", True, "prepend", {STORED: 1}),
    ("cas", ("a", 1, 7), b"NOT_FOUND\r\n", None, "cas", {("set", "refused"): 1}),
    (
        "set_many",
        ({"a": 1, "b": 2},),
        b"STORED\r\nNOT_STORED\r\n",
        ["b"],
        "set_many",
        {STORED: 1, ("set", "refused"): 1},
    ),
    ("set_multi", ({"a": 1},), b"STORED\r\n", [], "set_many", {STORED: 1}),
    ("delete", ("a",), b"DELETED\r\n", True, "delete", {("delete", "deleted"): 1}),
    ("delete", ("a",), b"NOT_FOUND\r\n", False, "delete", {("delete", "absent"): 1}),
    (
        "delete_many",
        (["a", "b"],),
        b"DELETED\r\nDELETED\r\n",
        True,
        "delete_many",
        {("delete", "deleted"): 2},
    ),
    ("delete_multi", (["a"],), b"DELETED\r\n", True, "delete_many", {("delete", "deleted"): 1}),
    ("incr", ("a", 1), b"2\r\n", 2, "incr", {}),
    ("decr", ("a", 1), b"NOT_FOUND\r\n", None, "decr", {}),
    ("touch", ("a",), b"TOUCHED\r\n", True, "touch", {}),
    ("version", (), b"VERSION 1.6\r\n", b"1.6", "version", {}),
    ("flush_all", (), b"OK\r\n", True, "flush_all", {}),
    ("stats", (), b"STAT pid 1\r\nEND\r\n", {b"pid": 1}, "stats", {}),
]


def has(kind: Any, command: str) -> bool:
    """Whether a client has a command, and does not do it as several others."""
    return kind is not HashClient or command not in ("stats", "version", "flush_all", "delete_many")


@pytest.mark.parametrize(
    ("kind", "method", "arguments", "answer", "result", "command", "counts"),
    [(kind, *case) for kind in (Client, PooledClient, HashClient) for case in CASES if has(kind, case[4])],
)
def test_each_command(
    told: Any,
    instrument: Callable[..., None],
    kind: Any,
    method: str,
    arguments: tuple[Any, ...],
    answer: bytes,
    result: Any,
    command: str,
    counts: dict[tuple[str, str], int],
) -> None:
    instrument()
    assert getattr(client(answer, kind=kind), method)(*arguments) == result
    (span,) = told.spans()
    assert (span.name, span.kind, span.status.is_ok) == (command, SpanKind.CLIENT, True)
    expected = {
        names.DB_SYSTEM_NAME: "memcached",
        names.DB_OPERATION_NAME: command,
        names.SERVER_ADDRESS: "cache.example",
        names.SERVER_PORT: 11211,
    }
    (point,) = told.points(names.DB_CLIENT_OPERATION_DURATION)
    assert point.attributes == expected
    keys = len(arguments[0]) if command.endswith("_many") else 1
    if keys > 1:
        expected[names.DB_OPERATION_BATCH_SIZE] = keys
    if counts:
        expected[names.CACHE_OUTCOME] = next(iter(counts))[1]
    assert span.attributes == expected
    assert told.counts(NAME) == counts
    assert sum(told.timed().values()) == (1 if counts else 0)


def test_subscripts_are_commands(told: Any, instrument: Callable[..., None]) -> None:
    instrument()
    one = client(ONE)
    assert one["a"] == b"1"
    assert [span.name for span in told.spans()] == ["get"]


def test_a_socket_s_path_is_the_address(told: Any, instrument: Callable[..., None]) -> None:
    instrument()
    assert client(b"END\r\n", server="/run/memcached.sock").get("a") is None
    (span,) = told.spans()
    assert span.attributes[names.SERVER_ADDRESS] == "/run/memcached.sock"
    assert names.SERVER_PORT not in span.attributes
    assert told.counts("/run/memcached.sock") == {MISS: 1}


def test_failures_are_raised_and_told_without_the_key(told: Any, instrument: Callable[..., None]) -> None:
    instrument()
    with pytest.raises(MemcacheServerError):
        client(b"SERVER_ERROR out of memory\r\n").set("secret", 1)
    with pytest.raises(MemcacheIllegalInputError, match="secret key"):
        client().get("secret key")
    refused, illegal = told.spans()
    assert refused.attributes[names.ERROR_TYPE] == "pymemcache.exceptions.MemcacheServerError"
    assert illegal.attributes[names.ERROR_TYPE] == "pymemcache.exceptions.MemcacheIllegalInputError"
    assert "secret" not in refused.to_json() + illegal.to_json()
    assert told.counts(NAME) == {("set", "error"): 1, ("get", "error"): 1}
    assert told.by_name(names.CACHE_HIT_RATIO) == {}


def test_a_failure_kept_from_the_application_is_none_of_its_misses(
    told: Any, instrument: Callable[..., None]
) -> None:
    instrument()
    gone = client(OSError("reset"), OSError("reset"), OSError("reset"), ignore_exc=True)
    assert (gone.get("a"), gone.get_many(["a", "b"]), gone.gets("a")) == (None, {}, (None, None))
    assert [span.status.is_ok for span in told.spans()] == [False] * 3
    assert told.counts(NAME) == {("get", "error"): 4}
    alive = client(b"END\r\n", ignore_exc=True)
    assert alive.get("a") is None
    assert told.counts(NAME) == {("get", "error"): 4, MISS: 1}


def test_each_try_is_a_call(told: Any, instrument: Callable[..., None]) -> None:
    instrument()
    retrying = RetryingClient(client(OSError("reset"), ONE), attempts=3)
    assert retrying.get("a") == b"1"
    assert [(span.name, span.status.is_ok) for span in told.spans()] == [("get", False), ("get", True)]
    assert told.counts(NAME) == {("get", "error"): 1, HIT: 1}


def test_arguments_that_make_no_sense_fail_as_they_do_without(
    told: Any, instrument: Callable[..., None], warnings: Callable[[], list[str]]
) -> None:
    with pytest.raises(AttributeError) as plain:
        client().set_many(5)
    instrument()
    with pytest.raises(AttributeError) as observed:
        client().set_many(5)
    assert str(observed.value) == str(plain.value)
    assert client(b"END\r\n").get_many(key for key in ["a"]) == {}  # as pymemcache does
    assert [span.name for span in told.spans()] == ["set_many", "get_many"]
    assert warnings() == []


def test_suppressed_calls_are_not_observed(told: Any, instrument: Callable[..., None]) -> None:
    instrument()
    with suppressed():
        assert client(ONE).get("a") == b"1"
    assert (told.spans(), told.counts()) == ([], {})


def test_switched_off_the_class_is_as_it_was(told: Any) -> None:
    before = dict(vars(Client))
    PymemcacheInstrumentor().instrument(**told.providers)
    assert vars(Client)["get"] is not before["get"]
    PymemcacheInstrumentor().uninstrument()
    assert dict(vars(Client)) == before
    assert client(ONE).get("a") == b"1"
    assert told.spans() == []


def test_a_failure_of_ours_costs_one_warning_and_no_result(
    told: Any,
    instrument: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
    warnings: Callable[[], list[str]],
) -> None:
    def broken(*_: Any, **__: Any) -> Any:
        raise RuntimeError("planted")

    instrument()
    monkeypatch.setattr("spanwise.meters.cache.Caches.note", broken)
    one = client(ONE, ONE)
    assert [one.get("a"), one.get("a")] == [b"1", b"1"]
    (warning,) = warnings()
    assert "could not tell what became of an operation (RuntimeError: planted)" in warning
    assert len(told.spans()) == 2


def test_so_many_servers_are_remembered(
    told: Any, instrument: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ours, "MOST_NAMES", 2)
    instrument()
    described: list[Any] = []
    describe = ours._Observing._describe
    monkeypatch.setattr(
        ours._Observing, "_describe", lambda self, server: described.append(server) or describe(self, server)
    )
    for _ in range(2):
        for number in range(3):
            client(ONE, server=(f"cache{number}.example", 11211)).get("a")
    assert [server for server, _ in described] == [f"cache{number}.example" for number in (0, 1, 2, 2)]
    assert told.counts("cache2.example:11211") == {HIT: 2}
