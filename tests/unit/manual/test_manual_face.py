"""The package's face: light to import, harmless before telemetry is there, and after it is not."""

from __future__ import annotations

import doctest
import subprocess
import sys
import textwrap
from typing import Any

import pytest

import spanwise
from spanwise.manual import controllers, face


def run(code: str, *options: str) -> str:
    done = subprocess.run(
        [sys.executable, *options, "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def test_importing_spanwise_imports_next_to_nothing() -> None:
    """Every start of `spanwise run` pays for it, and of each worker."""
    modules = run("import sys; before = set(sys.modules); import spanwise; print(*set(sys.modules) - before)")
    assert set(modules.split()) == {
        *("__future__", "spanwise", "spanwise.launch"),
        *("spanwise.manual", "spanwise.manual.face", "spanwise.manual.controllers"),
        *("spanwise.manual.nothing", "spanwise.snapshot"),
        *("spanwise.alerts", "spanwise.alerts.listeners", "spanwise.probes", "spanwise.probes.endpoint"),
    }


USES = """
    import asyncio, spanwise

    class Thing: ...

    @spanwise.operation()
    def work(): return 1

    @spanwise.preload(id_from=lambda n: n)
    async def load(n): return b"ab"

    @spanwise.stream("s")
    def pieces():
        yield b"a"
        yield b"b"

    @spanwise.on_memory_pressure(1e9)
    def free(used): return 0

    def all_of_it():
        assert work() == 1
        assert asyncio.run(load(3)) == b"ab"
        assert b"".join(pieces()) == b"ab"
        with spanwise.operation("o", "file", attributes={"a": 1}) as op:
            op.add_metric("m", 1, "By")
            op.set_attribute("x", "y")
        op = spanwise.operation("p").start()
        op.fail(OSError("x"))
        spanwise.preload("x").record(success=True, duration=1)
        with spanwise.stream("s") as s:
            s.sent(1)
            with s.buffering():
                pass
        thing = spanwise.controllers.track(Thing(), 1)
        assert isinstance(thing, Thing)
        with spanwise.controllers.loading(thing):
            pass
        spanwise.controllers.limit = 5
        with spanwise.controllers.disposal(thing):
            pass
        spanwise.circuit("c").trip("why")
        with spanwise.memory_pressure() as m:
            m.disposed(1)
        try:
            with spanwise.operation("q"):
                raise LookupError("mine")
        except LookupError as error:
            assert error.args == ("mine",)
        else:
            raise AssertionError("swallowed")
"""


def test_before_telemetry_nothing_is_recorded_and_afterwards_all_is() -> None:
    code = (
        USES
        + """
    import logging
    logging.basicConfig()
    all_of_it()
    from opentelemetry import metrics, trace
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
    from spanwise.meters.provider import MeterProvider
    from spanwise.spans.provider import TracerProvider
    spans, reader = InMemorySpanExporter(), InMemoryMetricReader()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(spans))
    trace.set_tracer_provider(provider)
    metrics.set_meter_provider(MeterProvider([reader]))
    all_of_it()
    print(sorted(span.name for span in spans.get_finished_spans()))
    scopes = reader.get_metrics_data().resource_metrics[0].scope_metrics
    print(*sorted(metric.name for scope in scopes for metric in scope.metrics))
    """
    )
    spans, metrics = run(code).splitlines()
    expected = ["memory pressure", "o", "p", "preload", "preload", "q", "stream", "stream", "work"]
    assert spans == str(expected)
    assert metrics.split() == [
        *("circuit_breaker.backoff", "circuit_breaker.open.time", "circuit_breaker.status"),
        *("circuit_breaker.trips", "circuit_breaker.trips.by_reason"),
        *("controller.active", "controller.count", "controller.disposal.errors"),
        *("controller.limit", "m", "memory.pressure.before", "memory.pressure.disposed"),
        *("memory.pressure.events", "preload.bytes", "preload.duration", "preload.events"),
        *("spanwise.operation.cpu.time", "spanwise.operation.duration", "spanwise.operation.memory.delta"),
        *("stream.active", "stream.bandwidth", "stream.buffer.ratio", "stream.buffer.time", "stream.bytes"),
        *("stream.completed", "stream.duration", "stream.errors", "stream.started"),
    ]


@pytest.mark.parametrize(
    ("then", "reads"),
    [
        ("", 0),
        ("metrics.set_meter_provider(MeterProvider([reader]))", 2),
        ("trace.set_tracer_provider(TracerProvider(shutdown_on_exit=False))", 2),
        ("trace.set_tracer_provider(TracerProvider(ALWAYS_OFF, shutdown_on_exit=False))", 0),
    ],
)
def test_what_an_operation_costs_is_looked_at_where_it_is_told(then: str, reads: int) -> None:
    code = f"""
    from opentelemetry import metrics, trace
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
    import spanwise
    from spanwise.manual import operations
    reader, read = InMemoryMetricReader(), []
    real = operations.resident_bytes
    operations.resident_bytes = lambda: read.append(1) or real()
    with spanwise.operation("before"):
        assert read == []
        {then or "pass"}
    assert read == []
    with spanwise.operation("o"):
        pass
    print(len(read))
    """
    assert run(code) == f"{reads}\n"


def test_without_opentelemetry_the_application_runs() -> None:
    code = (
        """
    import sys
    sys.modules["opentelemetry"] = None
    """
        + USES
        + """
    import logging
    logging.basicConfig()
    all_of_it()
    assert spanwise.controllers.counts() is None
    assert spanwise.controllers.limit is None
    """
    )
    said = run(code)
    assert said.count("no manual telemetry") == 1
    assert "opentelemetry" in said


@pytest.mark.parametrize(
    "decorator",
    [spanwise.operation, spanwise.preload, spanwise.stream, spanwise.circuit, spanwise.on_memory_pressure],
)
def test_a_decorator_without_brackets_is_told(caplog: pytest.LogCaptureFixture, decorator: Any) -> None:
    def work() -> int:
        return 3

    assert decorator(work) is work
    assert "needs brackets" in caplog.text


class Evil:
    """Whatever is done with it raises."""

    def _raise(self, *_: Any) -> Any:
        raise RuntimeError("evil")

    __str__ = __repr__ = __bool__ = __eq__ = __hash__ = __len__ = __iter__ = __float__ = _raise
    __getitem__ = __lt__ = __gt__ = __le__ = __ge__ = __add__ = __mul__ = __index__ = _raise

    @property
    def keys(self) -> Any:
        raise RuntimeError("evil")


def test_nothing_that_it_is_given_makes_it_raise() -> None:
    evil: Any = Evil()
    with spanwise.operation(evil, evil, component=evil, plugin=evil, attributes=evil) as op:
        op.add_metric(evil, evil, evil)
        op.add_metric("x", evil, evil)
        op.set_attribute(evil, evil)
        op.set_attribute("x", evil)
    spanwise.operation("o", attributes={"a": evil}).start().fail(evil)
    with spanwise.preload(evil, id_from=evil) as item:
        item.loaded(evil)
    spanwise.preload("a").record(evil, evil, evil, evil)
    spanwise.preload("a").record(False, 1, evil, evil)
    assert spanwise.preload(id_from=lambda _: evil)(lambda each: each)(evil) is evil
    with spanwise.stream(evil, quality=evil, format=evil) as playing:
        playing.sent(evil)
        playing.buffered(evil)
    assert next(spanwise.stream("s")(lambda: iter([evil]))()) is evil
    breaker = spanwise.circuit(evil)
    breaker.trip(evil, error=evil, backoff=evil)
    with spanwise.memory_pressure() as pressure:
        pressure.disposed(evil)
    spanwise.memory_pressure().record(evil, evil)
    spanwise.on_memory_pressure(evil, evil, falls_below_mb=evil)
    assert spanwise.controllers.track(evil, evil, evil) is evil
    spanwise.controllers.track(evil)
    spanwise.controllers.ready(evil)
    spanwise.controllers.disposed(evil, evil)
    spanwise.controllers.limit = evil


def test_what_cannot_be_decorated_is_left_alone(caplog: pytest.LogCaptureFixture) -> None:
    class Thing:
        """Not a function."""

    decorate: Any = spanwise.operation("o")
    assert decorate(Thing) is Thing
    assert decorate(7) == 7
    assert caplog.text.count("it is left alone") == 2


@pytest.mark.parametrize("module", [face, controllers])
def test_the_examples_run(monkeypatch: pytest.MonkeyPatch, module: Any) -> None:
    monkeypatch.setattr("spanwise.manual.pressure._watcher.add", lambda _: None)
    found = doctest.testmod(module, optionflags=doctest.ELLIPSIS)
    assert found.attempted > 1
    assert found.failed == 0
