"""The Redis instrumentor on the installed redis-py, without a server: what is told, and nothing harmed."""

from __future__ import annotations

import asyncio
import gc
import inspect
import itertools
import logging
import subprocess
import sys
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import flask
import pytest
import redis
import redis.asyncio
from flask.sessions import SecureCookieSession, SessionInterface
from opentelemetry.instrumentation.utils import suppress_instrumentation
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import SpanKind, StatusCode
from redis.backoff import NoBackoff
from redis.retry import Retry

sys.path.insert(0, str(Path(__file__).parent))

from redis_stub import AsyncStub, Stub, client, client_async

from spanwise import distro, names
from spanwise.instrumentors import load
from spanwise.instrumentors._redis import _MEMO
from spanwise.instrumentors._redis_answer import answering
from spanwise.instrumentors.flask import FlaskInstrumentor
from spanwise.instrumentors.redis import RedisInstrumentor
from spanwise.launched import Launch
from spanwise.settings import Settings

PLACE = {names.SERVER_ADDRESS: "10.0.0.1", names.SERVER_PORT: 6379}
LABELS = {names.DB_SYSTEM_NAME: "redis", names.DB_NAMESPACE: "0", **PLACE}
PEER = {names.NETWORK_PEER_ADDRESS: "10.0.0.1", names.NETWORK_PEER_PORT: 6379}


class Telemetry:
    """What was told."""

    def __init__(self, sampler: Any = None) -> None:
        self.exporter, self.reader = InMemorySpanExporter(), InMemoryMetricReader()
        self.provider = TracerProvider(sampler=sampler, shutdown_on_exit=False)
        self.provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.meters = MeterProvider([self.reader], shutdown_on_exit=False)
        self.tracer = self.provider.get_tracer("test")

    def instrument(self, **options: Any) -> None:
        RedisInstrumentor().uninstrument()
        given = {"info": False, "tracer_provider": self.provider, "meter_provider": self.meters, **options}
        RedisInstrumentor().instrument(**given)

    @property
    def spans(self) -> list[Any]:
        return list(self.exporter.get_finished_spans())

    @property
    def span(self) -> Any:
        (span,) = self.spans
        return span

    @property
    def points(self) -> list[dict[str, Any]]:
        data: Any = self.reader.get_metrics_data()
        if data is None:
            return []
        metrics = [m for r in data.resource_metrics for s in r.scope_metrics for m in s.metrics]
        assert {metric.name for metric in metrics} == {names.DB_CLIENT_OPERATION_DURATION.name}
        return [dict(point.attributes) for metric in metrics for point in metric.data.data_points]


@pytest.fixture
def telemetry(monkeypatch: pytest.MonkeyPatch) -> Iterator[Telemetry]:
    monkeypatch.delenv("OTEL_SEMCONV_STABILITY_OPT_IN", raising=False)
    Stub.answers.clear()
    made = Telemetry()
    made.instrument()
    yield made
    RedisInstrumentor().uninstrument()
    Stub.answers.clear()


# -- what a command's span says ---------------------------------------------------------------


def test_a_command(telemetry: Telemetry) -> None:
    with telemetry.tracer.start_as_current_span("request") as request:
        assert client().get("key") == b"OK"
    span, _ = telemetry.spans
    assert (span.name, span.kind, span.status.status_code) == ("GET", SpanKind.CLIENT, StatusCode.UNSET)
    assert span.parent.span_id == request.get_span_context().span_id
    labels = {**LABELS, names.DB_OPERATION_NAME: "GET"}
    assert dict(span.attributes) == {**labels, **PEER, names.DB_QUERY_TEXT: "GET ?"}
    assert telemetry.points == [labels]


def test_the_second_of_a_kind_says_the_same_as_the_first(telemetry: Telemetry) -> None:
    one = client()
    for _ in range(3):
        one.set("key", "value")
    first, second, third = telemetry.spans
    assert (first.name, dict(first.attributes)) == (second.name, dict(second.attributes))
    assert dict(second.attributes) == dict(third.attributes)


@pytest.mark.parametrize(
    ("options", "address", "port", "peer"),
    [
        ({"host": "localhost", "port": 7000}, "localhost", 7000, None),
        ({"host": "::1", "port": "7000"}, "::1", 7000, "::1"),
        ({"host": None}, "localhost", 6379, None),
        ({"host": "redis.internal", "db": "3"}, "redis.internal", 6379, None),
    ],
)
def test_the_server(
    telemetry: Telemetry, options: dict[str, Any], address: str, port: int, peer: str | None
) -> None:
    client(**options).ping()
    told = telemetry.span.attributes
    assert (told[names.SERVER_ADDRESS], told[names.SERVER_PORT]) == (address, port)
    assert told.get(names.NETWORK_PEER_ADDRESS) == peer
    assert told[names.DB_NAMESPACE] == str(options.get("db", 0))


def test_a_socket_has_a_path_and_no_port(telemetry: Telemetry) -> None:
    class Unix(Stub):
        def __init__(self, path: str, **options: Any) -> None:
            super().__init__(**options)

    pool = redis.ConnectionPool(connection_class=Unix, path="/run/redis.sock", db=2)
    redis.Redis(connection_pool=pool).ping()
    told = telemetry.span.attributes
    assert told[names.SERVER_ADDRESS] == told[names.NETWORK_PEER_ADDRESS] == "/run/redis.sock"
    assert not {names.SERVER_PORT, names.NETWORK_PEER_PORT} & set(told)


def test_a_command_that_waits_is_marked(telemetry: Telemetry) -> None:
    one = client()
    Stub.answers.extend([None, None, None])
    one.blpop("queue", timeout=1)
    one.xread({"stream": "$"}, block=10)
    one.xread({"stream": "$"}, count=10)
    waits = [span.attributes.get(names.REDIS_BLOCKING) for span in telemetry.spans]
    assert waits == [True, True, None]
    assert [point.get(names.REDIS_BLOCKING) for point in telemetry.points] == [True, True, None]


def test_a_script_is_named_on_the_span_and_not_on_the_metric(telemetry: Telemetry) -> None:
    one = client()
    for script in ("a" * 40, "b" * 40, "no name: secret"):
        one.evalsha(script, 0)
    told = [span.attributes.get(names.DB_STORED_PROCEDURE_NAME) for span in telemetry.spans]
    assert told == ["a" * 40, "b" * 40, None]
    assert telemetry.points == [{**LABELS, names.DB_OPERATION_NAME: "EVALSHA"}]


def test_a_whole_command_in_one_string_tells_its_name_only(telemetry: Telemetry) -> None:
    client().execute_command("SET key secret")
    client().execute_command("ACL SETUSER secret")
    assert [span.name for span in telemetry.spans] == ["SET", "ACL SETUSER"]
    assert "secret" not in str([span.to_json() for span in telemetry.spans])


def test_what_is_no_command(telemetry: Telemetry, caplog: pytest.LogCaptureFixture) -> None:
    one = client()
    for command in ("'; secret", b"\xff"):
        one.execute_command(command)
    told = [(span.name, names.DB_OPERATION_NAME in span.attributes) for span in telemetry.spans]
    assert told == [("redis", False)] * 2
    with pytest.raises(IndexError):
        one.execute_command()
    with pytest.raises(Exception):  # noqa: B017, PT011 - redis-py's own, of whatever class
        one.execute_command(["no", "command"])
    assert caplog.records == []


def test_many_commands_are_not_all_remembered(telemetry: Telemetry) -> None:
    one = client()
    for number in range(2 * _MEMO):
        one.execute_command("MGET", *["key"] * number)
    target: Any = one.connection_pool._spanwise_target  # type: ignore[attr-defined]
    assert 0 < len(target.known) <= _MEMO
    assert len(telemetry.spans) == 2 * _MEMO


# -- errors -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "code", "kind"),
    [
        (redis.ResponseError("WRONGTYPE Operation against a key"), "WRONGTYPE", "WRONGTYPE"),
        (redis.ResponseError("value is not an integer"), "ERR", "ERR"),
        (redis.exceptions.NoScriptError("No matching script."), "NOSCRIPT", "NOSCRIPT"),
        (redis.exceptions.ReadOnlyError("You can't write"), "READONLY", "READONLY"),
        (redis.exceptions.OutOfMemoryError("command not allowed"), "OOM", "OOM"),
        (redis.ConnectionError("Connection closed by server."), None, "redis.exceptions.ConnectionError"),
        (redis.TimeoutError("Timeout reading from socket"), None, "redis.exceptions.TimeoutError"),
        (KeyboardInterrupt(), None, "KeyboardInterrupt"),
    ],
)
def test_an_error(telemetry: Telemetry, error: BaseException, code: str | None, kind: str) -> None:
    Stub.answers.append(error)
    with pytest.raises(type(error)) as raised:
        client(retry=Retry(NoBackoff(), 0)).get("key")
    assert raised.value is error
    span = telemetry.span
    assert span.status.status_code is StatusCode.ERROR
    assert (span.status.description or "") == str(error)
    assert span.attributes.get(names.DB_RESPONSE_STATUS_CODE) == code
    assert span.attributes[names.ERROR_TYPE] == kind
    (event,) = span.events
    assert event.attributes[names.EXCEPTION_MESSAGE] == str(error)
    (point,) = telemetry.points
    assert (point.get(names.DB_RESPONSE_STATUS_CODE), point[names.ERROR_TYPE]) == (code, kind)


def test_an_error_tells_no_argument(telemetry: Telemetry) -> None:
    one = client()
    Stub.answers.append(redis.ResponseError("unknown command 'X', with args beginning with: 'secret' "))
    with pytest.raises(redis.ResponseError):
        one.execute_command("X", "secret")
    Stub.answers.append(redis.ResponseError("MINE the script's own secret"))
    with pytest.raises(redis.ResponseError):
        one.eval("return", 0)
    Stub.answers.extend([b"OK", b"QUEUED", redis.ResponseError("WRONGTYPE x"), [b"OK"]])
    with pytest.raises(redis.ResponseError, match="secret"):  # redis-py says it to the application
        one.pipeline().set("a", "secret").lpush("a", "secret").execute()
    told = telemetry.spans
    assert [span.status.description for span in told] == [
        "unknown command ?",
        "MINE",
        "Command # 2 of pipeline caused error: WRONGTYPE x",
    ]
    assert "secret" not in str([span.to_json() for span in told])


def test_a_watched_key_that_changed_is_no_failure(telemetry: Telemetry) -> None:
    pipe = client().pipeline()
    pipe.watch("key")
    pipe.multi()
    pipe.set("key", 1)
    Stub.answers.extend([b"OK", b"QUEUED", None])
    with pytest.raises(redis.WatchError):
        pipe.execute()
    assert [span.status.status_code for span in telemetry.spans] == [StatusCode.UNSET] * 2


def test_a_connection_that_is_lost_while_watching_is_one(telemetry: Telemetry) -> None:
    pipe = client(retry=Retry(NoBackoff(), 0)).pipeline()
    pipe.watch("key")
    Stub.answers.append(redis.ConnectionError("gone"))
    with pytest.raises(redis.WatchError):
        pipe.get("key")
    assert telemetry.spans[-1].status.status_code is StatusCode.ERROR
    assert telemetry.spans[-1].attributes[names.ERROR_TYPE] == "redis.exceptions.WatchError"


# -- pipelines --------------------------------------------------------------------------------


def run(pipe: Any, *commands: tuple[str, ...]) -> None:
    for command in commands:
        pipe.execute_command(*command)
    count = len(commands)
    queued = [b"OK", *[b"QUEUED"] * count, [b"OK"] * count]
    Stub.answers.extend(queued if pipe.transaction else [b"OK"] * count)
    pipe.execute()


@pytest.mark.parametrize("transaction", [True, False])
@pytest.mark.parametrize(
    ("commands", "operation", "summary", "text", "size"),
    [
        ([("GET", "a")], "GET", None, "GET ?", None),
        ([("GET", "a"), ("GET", "b")], "{} GET", "{} GET", "GET ?", 2),
        ([("GET", "a"), ("MGET", "a", "b"), ("GET", "c")], "{}", "{} GET MGET", "GET ?\nMGET ? ?\nGET ?", 3),
        ([("'", "a"), ("GET", "b")], "{}", "{} GET", "? ?\nGET ?", 2),
    ],
)
def test_a_pipeline(
    telemetry: Telemetry,
    transaction: bool,
    commands: list[tuple[str, ...]],
    operation: str,
    summary: str | None,
    text: str,
    size: int | None,
) -> None:
    kind = "MULTI" if transaction else "PIPELINE"
    for _ in range(2):
        run(client().pipeline(transaction=transaction), *commands)
    for span in telemetry.spans:
        told = span.attributes
        assert told[names.DB_OPERATION_NAME] == operation.format(kind)
        assert told.get(names.DB_QUERY_SUMMARY) == (summary and summary.format(kind))
        assert span.name == (summary or operation).format(kind)
        assert told[names.DB_QUERY_TEXT] == text
        assert told.get(names.DB_OPERATION_BATCH_SIZE) == size
    (point,) = telemetry.points
    assert names.DB_OPERATION_BATCH_SIZE not in point


def test_a_long_pipeline_has_a_short_name(telemetry: Telemetry) -> None:
    run(client().pipeline(transaction=False), *[(f"C{number % 40}", "key") for number in range(2000)])
    span = telemetry.span
    assert span.name.startswith("PIPELINE C0 C1 C2 ")
    assert span.name.endswith("C15 ...")
    assert span.attributes[names.DB_OPERATION_BATCH_SIZE] == 2000
    assert span.attributes[names.DB_QUERY_TEXT].endswith("\n...")
    assert len(span.attributes[names.DB_QUERY_TEXT]) < 1000


def test_pipelines_in_always_another_order_are_one_time_series(telemetry: Telemetry) -> None:
    one = client()
    one.get("key")
    for order in itertools.islice(itertools.permutations(("GET", "SET", "DEL", "INCR", "TTL", "TYPE")), 300):
        run(one.pipeline(transaction=False), *[(name, "key") for name in order])
    assert telemetry.points == [
        {**LABELS, names.DB_OPERATION_NAME: "GET"},
        {**LABELS, names.DB_OPERATION_NAME: "PIPELINE"},
    ]
    assert ("GET", 2) in one.connection_pool._spanwise_target.known  # nor displace they the commands


def test_uninstrument_leaves_nothing_on_pools(telemetry: Telemetry) -> None:
    one = client()
    one.get("key")
    before = {*vars(one.connection_pool)} - {"_spanwise_target"}
    RedisInstrumentor().uninstrument()
    assert {*vars(one.connection_pool)} == before
    assert one.get("key") == b"OK"
    assert len(telemetry.spans) == 1


def test_an_empty_pipeline_sends_nothing(telemetry: Telemetry) -> None:
    assert client().pipeline().execute() == []
    assert telemetry.spans == []


# -- asyncio ----------------------------------------------------------------------------------


def test_asyncio(telemetry: Telemetry) -> None:
    async def work() -> None:
        one = client_async()
        assert await one.get("key") == b"OK"
        Stub.answers.append(redis.ResponseError("WRONGTYPE x"))
        with pytest.raises(redis.ResponseError):
            await one.get("key")
        Stub.answers.extend([b"OK", b"QUEUED", b"QUEUED", [b"OK", b"OK"]])
        await one.pipeline().get("a").get("b").execute()
        await one.pipeline(transaction=False).get("a").set("b", 1).execute()

    asyncio.run(work())
    told = [(span.name, span.status.status_code.name) for span in telemetry.spans]
    assert told == [("GET", "UNSET"), ("GET", "ERROR"), ("MULTI GET", "UNSET"), ("PIPELINE GET SET", "UNSET")]


def test_tasks_at_once_keep_their_parents(telemetry: Telemetry) -> None:
    async def one_request(number: int, shared: redis.asyncio.Redis) -> None:
        with telemetry.tracer.start_as_current_span(f"request {number}"):
            await asyncio.sleep(0)
            await shared.get("key")

    async def work() -> None:
        shared = client_async()
        await asyncio.gather(*(one_request(number, shared) for number in range(5)))

    asyncio.run(work())
    requests = {span.context.span_id: span.name for span in telemetry.spans if span.name != "GET"}
    parents = [requests[span.parent.span_id] for span in telemetry.spans if span.name == "GET"]
    assert sorted(parents) == [f"request {number}" for number in range(5)]


def test_a_cancelled_command_ends_as_failed(telemetry: Telemetry, monkeypatch: pytest.MonkeyPatch) -> None:
    async def work() -> None:
        reading = asyncio.Event()

        async def wait(*_: Any, **__: Any) -> None:
            reading.set()
            await asyncio.Event().wait()

        monkeypatch.setattr(AsyncStub, "read_response", wait)
        task = asyncio.ensure_future(client_async().blpop("queue"))
        await asyncio.wait_for(reading.wait(), 10)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(work())
    assert telemetry.span.attributes[names.ERROR_TYPE] == "asyncio.exceptions.CancelledError"
    assert telemetry.span.attributes[names.REDIS_BLOCKING] is True


# -- servers that are known only when they have answered --------------------------------------


def found_by_sentinel() -> redis.Redis:
    class Managed(Stub):
        def __init__(self, connection_pool: Any, **options: Any) -> None:
            super().__init__(**options)

    pool = redis.sentinel.SentinelConnectionPool(
        "main", object(), connection_class=Managed, host="10.0.0.7", port=7000
    )
    return redis.Redis(connection_pool=pool)


def test_what_sentinel_found(telemetry: Telemetry) -> None:
    one = found_by_sentinel()
    for _ in range(2):
        one.get("key")
    Stub.answers.append(redis.ResponseError("WRONGTYPE x"))
    with pytest.raises(redis.ResponseError):
        one.get("key")
    run(one.pipeline(), ("GET", "a"), ("GET", "b"))
    pipe = one.pipeline()
    pipe.watch("key")
    pipe.multi()
    run(pipe, ("GET", "a"))
    found = {names.SERVER_ADDRESS: "10.0.0.7", names.SERVER_PORT: 7000}
    peer = {names.NETWORK_PEER_ADDRESS: "10.0.0.7", names.NETWORK_PEER_PORT: 7000}
    assert len(telemetry.spans) == 6
    for span in telemetry.spans:
        assert {**found, **peer}.items() <= dict(span.attributes).items(), span.name
    assert [found.items() <= point.items() for point in telemetry.points] == [True] * 4
    assert answering.get() is None


def test_a_server_that_is_not_found(telemetry: Telemetry, monkeypatch: pytest.MonkeyPatch) -> None:
    def connect(_: Any) -> None:
        raise redis.ConnectionError("No master found")

    one = found_by_sentinel()
    monkeypatch.setattr(Stub, "connect", connect)
    with pytest.raises(redis.ConnectionError):
        one.get("key")
    assert telemetry.span.status.status_code is StatusCode.ERROR
    assert names.SERVER_ADDRESS not in telemetry.span.attributes
    assert answering.get() is None


# -- which names ------------------------------------------------------------------------------


def test_the_old_names(telemetry: Telemetry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_SEMCONV_STABILITY_OPT_IN", "http")
    telemetry.instrument()
    one = client(db=4)
    one.get("key")
    run(one.pipeline(transaction=False), ("GET", "a"), ("GET", "b"))
    get, pipe = (dict(span.attributes) for span in telemetry.spans)
    old = {
        names.OLD_DB_SYSTEM: "redis",
        names.OLD_DB_REDIS_DATABASE_INDEX: 4,
        names.OLD_NET_PEER_NAME: "10.0.0.1",
        names.OLD_NET_PEER_PORT: 6379,
        names.OLD_NET_TRANSPORT: "ip_tcp",
        names.OLD_DB_STATEMENT: "GET ?",
    }
    assert get == {**old, names.OLD_DB_REDIS_ARGS_LENGTH: 2}
    assert pipe == {**old, names.OLD_DB_REDIS_PIPELINE_LENGTH: 2}
    assert telemetry.points == []


def test_both(telemetry: Telemetry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_SEMCONV_STABILITY_OPT_IN", "database/dup")
    telemetry.instrument()
    client().get("key")
    assert {names.DB_SYSTEM_NAME, names.OLD_DB_SYSTEM} <= set(telemetry.span.attributes)
    assert len(telemetry.points) == 1


# -- hooks ------------------------------------------------------------------------------------


def test_hooks(telemetry: Telemetry) -> None:
    calls: list[Any] = []

    def request(span: Any, of: Any, args: Any, options: Any) -> None:
        span.set_attribute("mine", "yes")
        calls.append(("request", of, args, options))

    def response(span: Any, of: Any, answer: Any) -> None:
        span.set_attribute("answer", str(answer))
        calls.append(("response", of, answer))

    telemetry.instrument(request_hook=request, response_hook=response)
    one = client()
    for _ in range(2):
        one.execute_command("SET", "key", "value", get=True)
    assert (
        calls
        == [
            ("request", one, ("SET", "key", "value"), {"get": True}),
            ("response", one, b"OK"),
        ]
        * 2
    )
    assert [span.attributes["mine"] for span in telemetry.spans] == ["yes"] * 2
    assert telemetry.spans[1].attributes["answer"] == "b'OK'"
    pipe = one.pipeline(transaction=False)
    run(pipe, ("GET", "a"), ("GET", "b"))
    assert calls[-1] == ("response", pipe, [b"OK", b"OK"])


def test_a_hook_that_raises_costs_one_warning(telemetry: Telemetry, caplog: pytest.LogCaptureFixture) -> None:
    def bad(*_: Any) -> None:
        raise ValueError("planted")

    telemetry.instrument(request_hook=bad, response_hook=bad)
    assert client().get("key") == client().get("key") == b"OK"
    assert len(telemetry.spans) == 2
    warnings = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert len(warnings) == 1
    assert "planted" in warnings[0]


# -- harmless ---------------------------------------------------------------------------------


def test_suppressed(telemetry: Telemetry) -> None:
    with suppress_instrumentation():
        client().get("key")
        run(client().pipeline(), ("GET", "a"))
    assert telemetry.spans == telemetry.points == []


def test_clients_of_before_are_observed_and_afterwards_not(telemetry: Telemetry) -> None:
    RedisInstrumentor().uninstrument()
    before = {
        (owner, method): inspect.getattr_static(owner, method)
        for owner, method in (
            (redis.Redis, "execute_command"),
            (redis.client.Pipeline, "execute"),
            (redis.client.Pipeline, "immediate_execute_command"),
            (redis.cluster.RedisCluster, "execute_command"),
            (redis.sentinel.SentinelConnectionPool, "get_connection"),
            (redis.asyncio.Redis, "execute_command"),
            (redis.asyncio.cluster.ClusterNode, "acquire_connection"),
        )
    }
    early = client()
    early.get("key")
    telemetry.instrument()
    assert all(inspect.getattr_static(*key) is not original for key, original in before.items())
    early.get("key")
    early.get("key")
    assert len(telemetry.spans) == 2
    RedisInstrumentor().uninstrument()
    assert all(inspect.getattr_static(*key) is original for key, original in before.items())
    assert "get_connection" not in vars(redis.sentinel.SentinelConnectionPool)
    early.get("key")
    assert len(telemetry.spans) == 2
    other = Telemetry()
    other.instrument()
    early.get("key")
    assert (len(telemetry.spans), len(other.spans)) == (2, 1)


def test_somebody_else_s_replacement_stays(telemetry: Telemetry, monkeypatch: pytest.MonkeyPatch) -> None:
    ours = redis.Redis.execute_command

    def theirs(self: Any, *args: Any, **options: Any) -> Any:
        return ours(self, *args, **options)

    # What was there before: monkeypatch would put ours back, beneath all tests that follow.
    monkeypatch.setattr(redis.Redis, "execute_command", inspect.unwrap(ours))
    redis.Redis.execute_command = theirs  # type: ignore[method-assign]
    one = client()
    one.get("key")
    one.get("key")
    RedisInstrumentor().uninstrument()
    assert redis.Redis.execute_command is theirs
    assert one.get("key") == b"OK"
    assert len(telemetry.spans) == 2


def test_a_tracer_that_fails_costs_one_warning(caplog: pytest.LogCaptureFixture) -> None:
    class Broken(SpanProcessor):
        def on_start(self, span: Any, parent_context: Any = None) -> None:
            raise RuntimeError("planted")

    telemetry = Telemetry()
    telemetry.provider.add_span_processor(Broken())
    telemetry.instrument()
    try:
        one = client()
        assert [one.get("key") for _ in range(3)] == [b"OK"] * 3
        run(one.pipeline(), ("GET", "a"))
    finally:
        RedisInstrumentor().uninstrument()
    assert len([record for record in caplog.records if record.levelno >= logging.WARNING]) == 1


def test_pool_options_that_make_no_sense_harm_nobody(
    telemetry: Telemetry, caplog: pytest.LogCaptureFixture
) -> None:
    one = client()
    one.connection_pool.connection_kwargs["db"] = "no number"
    assert one.get("key") == one.get("key") == b"OK"
    assert telemetry.spans == []
    assert len([record for record in caplog.records if record.levelno >= logging.WARNING]) == 1


def test_spans_that_are_not_sampled() -> None:
    telemetry = Telemetry(ALWAYS_OFF)
    telemetry.instrument()
    try:
        client().get("key")
    finally:
        RedisInstrumentor().uninstrument()
    assert telemetry.spans == []
    assert len(telemetry.points) == 1


@pytest.mark.usefixtures("telemetry")
def test_nothing_keeps_a_pool_alive() -> None:
    one = client()
    one.get("key")
    pool = weakref.ref(one.connection_pool)
    del one
    gc.collect()
    assert pool() is None


@pytest.mark.usefixtures("telemetry")
def test_replacements_look_like_what_they_replace() -> None:
    assert inspect.iscoroutinefunction(redis.asyncio.Redis.execute_command)
    assert not inspect.iscoroutinefunction(redis.Redis.execute_command)
    assert redis.Redis.execute_command.__name__ == "execute_command"
    assert inspect.signature(redis.Redis.execute_command) == inspect.signature(
        inspect.unwrap(redis.Redis.execute_command)
    )


def test_one_connection_of_the_client_s_own(telemetry: Telemetry) -> None:
    one = client(single_connection_client=True)
    one.get("key")
    one.get("key")
    assert [span.attributes[names.SERVER_ADDRESS] for span in telemetry.spans] == ["10.0.0.1"] * 2


# -- with others ------------------------------------------------------------------------------


class Sessions(SessionInterface):
    """Sessions in Redis: read before the request is dispatched, written when it is over."""

    def __init__(self, store: redis.Redis) -> None:
        self._store = store

    def open_session(self, app: flask.Flask, request: flask.Request) -> SecureCookieSession:
        return SecureCookieSession({"user": self._store.get("session")})

    def save_session(self, app: flask.Flask, session: Any, response: flask.Response) -> None:
        self._store.set("session", "user")


def test_a_session_s_reads_belong_to_the_request(telemetry: Telemetry) -> None:
    app = flask.Flask(__name__)
    app.session_interface = Sessions(client())
    app.add_url_rule("/", view_func=lambda: "ok")
    FlaskInstrumentor().instrument(tracer_provider=telemetry.provider, meter_provider=telemetry.meters)
    try:
        assert app.test_client().get("/").text == "ok"
    finally:
        FlaskInstrumentor().uninstrument()
    *calls, request = sorted(telemetry.spans, key=lambda span: span.end_time)
    assert (request.name, [span.name for span in calls]) == ("GET /", ["GET", "SET"])
    assert {span.parent.span_id for span in calls} == {request.context.span_id}


PROGRAM = """
import sys
from spanwise.launched import Launch
from spanwise.settings import Settings
from spanwise.instrumentors.load import load
(outcome,) = [each for each in load(Settings(
    startup_report=True, enabled_instrumentations=("redis",), contrib_instrumentations={contrib}
)) if each.state != "skipped"]
assert "redis" not in sys.modules
import redis
print(outcome.detail, "|", type(redis.Redis.__dict__["execute_command"]).__name__)
"""


@pytest.mark.parametrize(
    ("contrib", "by"), [((), "by spanwise | function"), (("redis",), "opentelemetry-instrumentation-redis")]
)
def test_one_setting_goes_back_to_contrib_s(contrib: tuple[str, ...], by: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(contrib=contrib)], capture_output=True, text=True, check=True
    )
    assert by in done.stdout
    assert done.stdout.strip().endswith("Wrapper") is bool(contrib)


def test_a_setting_leaves_info_out(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[Any] = []
    monkeypatch.setattr(load, "load", lambda settings, options: given.append(options("redis")) or [])
    for wanted in (True, False):
        monkeypatch.setattr(distro, "current", Launch(Settings(redis_info=wanted)))
        distro.instrument()
    assert given == [{"info": True}, {"info": False}]
