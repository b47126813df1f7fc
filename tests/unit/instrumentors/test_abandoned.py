"""Calls that end in a finalizer: nothing is told there, on top of whoever's lock, and nothing is lost."""

from __future__ import annotations

import asyncio
import gc
import http.server
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pluggy
import pytest
import redis.asyncio
import sqlalchemy as sa
from opentelemetry.context import Context, attach, detach
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode, get_current_span
from sqlalchemy.util import await_only, greenlet_spawn

from spanwise import names
from spanwise.instrumentors._abandoned import end_abandoned, later, waiting
from spanwise.instrumentors._calls import Calls
from spanwise.instrumentors.httpx import HTTPXClientInstrumentor
from spanwise.instrumentors.pluggy import PluggyInstrumentor
from spanwise.instrumentors.redis import RedisInstrumentor
from spanwise.instrumentors.sqlalchemy import SQLAlchemyInstrumentor


class Telemetry:
    def __init__(self) -> None:
        self.exporter, self.reader = InMemorySpanExporter(), InMemoryMetricReader()
        self.provider = TracerProvider(shutdown_on_exit=False)
        self.provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.given: dict[str, Any] = {
            "tracer_provider": self.provider,
            "meter_provider": MeterProvider([self.reader], shutdown_on_exit=False),
        }

    @property
    def spans(self) -> list[Any]:
        return list(self.exporter.get_finished_spans())

    @property
    def points(self) -> dict[str, int]:
        """How much each histogram has."""
        data = self.reader.get_metrics_data()
        metrics = [
            m for r in (data.resource_metrics if data else ()) for s in r.scope_metrics for m in s.metrics
        ]
        counts = {m.name: sum(getattr(p, "count", 0) for p in m.data.data_points) for m in metrics}
        return {name: count for name, count in counts.items() if count}


@pytest.fixture
def telemetry() -> Iterator[Telemetry]:
    end_abandoned()
    token = attach(Context())  # what is abandoned does not restore it
    yield Telemetry()
    detach(token)
    for each in (RedisInstrumentor, SQLAlchemyInstrumentor, HTTPXClientInstrumentor, PluggyInstrumentor):
        each().uninstrument()
    end_abandoned()


class Never:
    """What is awaited and never there."""

    def __await__(self) -> Iterator[None]:
        yield


async def never(*_: Any, **__: Any) -> Any:
    await Never()


def by_redis(given: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(redis.asyncio.Redis, "execute_command", never)
    RedisInstrumentor().instrument(info=False, **given)
    return redis.asyncio.Redis().execute_command("GET", "a")


def by_httpx(given: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(httpx.AsyncHTTPTransport, "handle_async_request", never)
    HTTPXClientInstrumentor().instrument(**given)
    request = httpx.Request("POST", "http://shop.invalid/", content=b"12345")
    return httpx.AsyncHTTPTransport().handle_async_request(request)


def by_sqlalchemy(given: dict[str, Any], _: pytest.MonkeyPatch) -> Any:
    engine = sa.create_engine("sqlite://")
    connection = engine.connect()
    SQLAlchemyInstrumentor().instrument(**given)

    @sa.event.listens_for(engine, "do_execute")
    def execute(*_: Any) -> None:
        await_only(never())

    return greenlet_spawn(connection.exec_driver_sql, "SELECT 1")


def by_pluggy(given: dict[str, Any], _: pytest.MonkeyPatch) -> Any:
    return hook_of(given, never)()[0]


def hook_of(given: dict[str, Any], implementation: Callable[..., Any]) -> Any:
    specify, implement = pluggy.HookspecMarker("p"), pluggy.HookimplMarker("p")

    class Specification:
        @specify
        def work(self) -> Any: ...

    class Plugin:
        @implement
        def work(self) -> Any:
            return implementation()

    PluggyInstrumentor().instrument(**given)
    manager = pluggy.PluginManager("p")
    manager.add_hookspecs(Specification)
    manager.register(Plugin())
    return manager.hook.work


@pytest.mark.parametrize("begin", [by_redis, by_httpx, by_sqlalchemy, by_pluggy])
def test_a_coroutine_that_nobody_awaits_any_longer(
    telemetry: Telemetry, monkeypatch: pytest.MonkeyPatch, begin: Any
) -> None:
    coroutine = begin(telemetry.given, monkeypatch)
    coroutine.send(None)
    before = telemetry.points
    telemetry.exporter.clear()  # what loading a plugin took
    with telemetry.provider.get_tracer("test").start_as_current_span("another") as another:
        del coroutine
        gc.collect()
        assert telemetry.spans == []
        assert telemetry.points == before
        assert get_current_span() is another  # the finalizer's context is not the call's
        end_abandoned()
    found = [span for span in telemetry.spans if span.name != "another"]
    assert found
    for span in found:
        assert span.status.status_code is StatusCode.ERROR
        assert span.attributes[names.ERROR_TYPE] == "GeneratorExit"


def test_an_async_generator_that_nobody_asks_any_longer_is_a_success(telemetry: Telemetry) -> None:
    async def numbers() -> Any:
        yield 1
        await never()

    (generator,) = hook_of(telemetry.given, numbers)()
    telemetry.exporter.clear()  # what loading a plugin took
    with pytest.raises(StopIteration):
        generator.asend(None).send(None)
    del generator
    gc.collect()
    assert telemetry.spans == []
    end_abandoned()
    assert {span.status.status_code for span in telemetry.spans} == {StatusCode.UNSET}
    assert len(telemetry.spans) == 2  # the implementation's and the hook call's


def test_it_ends_when_it_was_dropped_and_not_when_that_is_told(telemetry: Telemetry) -> None:
    calls = Calls("test", telemetry.provider.get_tracer("test"))
    call = calls.start("dropped")
    call.fail(GeneratorExit())
    behind = calls.start("behind")  # ends it
    behind.end()
    dropped, _ = telemetry.spans
    assert dropped.name == "dropped"
    assert dropped.end_time <= behind.span.start_time  # type: ignore[attr-defined]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The calls' monotonic clock: what stands in the list."""
    now = [1_000]
    monkeypatch.setattr("spanwise.instrumentors._call.perf_counter_ns", lambda: now[0])
    return now


@pytest.mark.parametrize("known", [False, True], ids=["measured", "duration known"])
def test_what_passes_before_a_dropped_call_is_told_does_not_count(
    telemetry: Telemetry, clock: list[int], known: bool
) -> None:
    call = Calls("test", telemetry.provider.get_tracer("test")).start("dropped")
    if known:
        clock[0] += 100
        call.over(40)
    clock[0] += 500
    call.fail(GeneratorExit())
    clock[0] += 7_000
    call.fail(GeneratorExit())  # a second finalizer: the first one said when
    clock[0] += 80_000
    end_abandoned()
    (span,) = telemetry.spans
    assert span.end_time - span.start_time == (40 if known else 500)


def test_what_fails_is_no_reason_to_leave_the_rest() -> None:
    done = []
    later(lambda: 1 / 0)
    later(lambda: done.append(1))
    end_abandoned()
    assert done == [1]
    assert not waiting


def test_a_with_statement_that_is_finalized_leaves_the_current_context(telemetry: Telemetry) -> None:
    calls = Calls("test", telemetry.provider.get_tracer("test"))

    def steps() -> Iterator[None]:
        with calls.start("abandoned"):
            yield

    left = steps()
    next(left)
    with telemetry.provider.get_tracer("test").start_as_current_span("another") as another:
        del left
        gc.collect()
        assert get_current_span() is another


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_does_not_end_its_parents(telemetry: Telemetry) -> None:
    call = Calls("test", telemetry.provider.get_tracer("test")).start("dropped in the parent")
    del call
    gc.collect()
    child = os.fork()
    if child == 0:
        os._exit(len(waiting))
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    end_abandoned()
    assert [span.name for span in telemetry.spans] == ["dropped in the parent"]


STREAM = """
import gc, sys
import spanwise.instrumentors.flask
import spanwise
spanwise.configure(service_name="x")
import flask
app = flask.Flask("a")
@app.get("/stream")
def stream():
    return flask.Response(iter(["a", "b"]))
answer = app.test_client().get("/stream", buffered=False)
parts = iter(answer.response)
next(parts)
del parts, answer
gc.collect()
print("ready", flush=True)
sys.stdin.readline()
"""


@pytest.mark.parametrize("signalled", [False, True], ids=["exit", "SIGTERM"])
def test_the_last_delivery_has_them(signalled: bool) -> None:
    bodies: list[bytes] = []

    class Receiver(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        process = subprocess.Popen(
            [sys.executable, "-c", STREAM],
            env={
                **os.environ,
                "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{server.server_port}",
                "OTEL_EXPORTER_OTLP_COMPRESSION": "none",
                "SPANWISE_EXIT_TIMEOUT": "60000",
            },
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        if signalled:
            process.send_signal(signal.SIGTERM)
            process.wait(60)
            process.communicate()
        else:
            process.communicate(b"\n", timeout=60)
        assert any(b"GET /stream" in body for body in bodies)
    finally:
        server.shutdown()
        server.server_close()


def test_a_cancelled_task_ends_at_once(telemetry: Telemetry, monkeypatch: pytest.MonkeyPatch) -> None:
    async def cancelled() -> None:
        task = asyncio.ensure_future(by_redis(telemetry.given, monkeypatch))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancelled())
    (span,) = telemetry.spans
    assert span.attributes[names.ERROR_TYPE].endswith("CancelledError")
