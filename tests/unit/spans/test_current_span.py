"""start_as_current_span as a block and as a decorator, in threads, tasks and generators."""

from __future__ import annotations

import asyncio
import contextvars
import sys
import threading
from typing import Any

import gevent
import pytest
from opentelemetry import context as context_api
from opentelemetry import trace as api
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from spanwise.spans.provider import TracerProvider


@pytest.fixture
def exporter() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def tracer(exporter: InMemorySpanExporter) -> api.Tracer:
    provider = TracerProvider(resource=Resource({}), shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    return provider.get_tracer("scope")


def ended(exporter: InMemorySpanExporter) -> dict[str, Any]:
    return {span.name: span for span in exporter.get_finished_spans()}


def test_block_makes_span_current_and_restores(tracer: api.Tracer) -> None:
    key = context_api.create_key("other")
    token = context_api.attach(context_api.set_value(key, "kept"))
    before = context_api.get_current()
    with tracer.start_as_current_span("outer") as outer:
        assert api.get_current_span() is outer
        assert context_api.get_value(key) == "kept"
        with tracer.start_as_current_span("inner") as inner:
            assert inner.parent is outer.get_span_context()  # type: ignore[attr-defined]
        assert api.get_current_span() is outer
    assert context_api.get_current() is before
    assert not outer.is_recording()
    context_api.detach(token)


def test_span_starts_when_the_block_is_entered(tracer: api.Tracer, exporter: InMemorySpanExporter) -> None:
    block = tracer.start_as_current_span("x", end_on_exit=False)
    with tracer.start_as_current_span("parent") as parent, block as span:
        assert span.parent is parent.get_span_context()  # type: ignore[attr-defined]
    assert span.is_recording()
    assert list(ended(exporter)) == ["parent"]


def test_block_can_be_used_again_but_not_inside_itself(tracer: api.Tracer) -> None:
    block = tracer.start_as_current_span("x")
    with block as first:
        pass
    with block as second, pytest.raises(RuntimeError), block:
        pass
    assert first is not second


def test_error_is_recorded_once_and_goes_on(tracer: api.Tracer, exporter: InMemorySpanExporter) -> None:
    error = ValueError("no")
    with pytest.raises(ValueError, match="no") as raised, tracer.start_as_current_span("x"):
        raise error
    assert raised.value is error
    span = ended(exporter)["x"]
    assert (span.status.status_code, span.status.description) == (StatusCode.ERROR, "ValueError: no")
    (event,) = span.events
    assert event.attributes["exception.type"] == "ValueError"
    assert "raise error" in event.attributes["exception.stacktrace"]


def test_error_is_left_alone_where_asked(tracer: api.Tracer, exporter: InMemorySpanExporter) -> None:
    with (
        pytest.raises(ValueError, match="no"),
        tracer.start_as_current_span("x", record_exception=False, set_status_on_exception=False),
    ):
        raise ValueError("no")
    span = ended(exporter)["x"]
    assert span.status.status_code is StatusCode.UNSET
    assert not span.events


@pytest.mark.parametrize("error", [KeyboardInterrupt, GeneratorExit, SystemExit])
def test_leaving_by_signal_is_no_error(
    tracer: api.Tracer, exporter: InMemorySpanExporter, error: type[BaseException]
) -> None:
    with pytest.raises(error), tracer.start_as_current_span("x"):
        raise error
    span = ended(exporter)["x"]
    assert span.status.status_code is StatusCode.UNSET
    assert not span.events


def test_span_as_its_own_context_manager(tracer: api.Tracer, exporter: InMemorySpanExporter) -> None:
    with pytest.raises(KeyError), tracer.start_span("x"):
        raise KeyError("k")
    with pytest.raises(KeyError), tracer.start_span("y", record_exception=False):
        raise KeyError("k")
    with (
        pytest.raises(KeyError),
        tracer.start_span("z", set_status_on_exception=False),
    ):
        raise KeyError("k")
    spans = ended(exporter)
    assert spans["x"].events[0].attributes["exception.escaped"] == "True"
    assert spans["x"].status.description == "KeyError: 'k'"
    assert not spans["y"].events
    assert spans["z"].status.is_unset


def test_decorated_function(tracer: api.Tracer, exporter: InMemorySpanExporter) -> None:
    @tracer.start_as_current_span("work")
    def work(value: int, *, more: int) -> int:
        """Adds."""
        assert api.get_current_span().is_recording()
        return value + more if value else work(1, more=more)

    assert work(0, more=2) == 3
    assert work.__name__ == "work"
    assert work.__doc__ == "Adds."
    inner, outer = exporter.get_finished_spans()
    assert inner.parent is outer.get_span_context()


def test_decorated_coroutine_function_ends_after_it_is_done(
    tracer: api.Tracer, exporter: InMemorySpanExporter
) -> None:
    @tracer.start_as_current_span("work")
    async def work(gate: asyncio.Event) -> bool:
        await gate.wait()
        return api.get_current_span().is_recording()

    async def main() -> list[bool]:
        gate = asyncio.Event()
        tasks = [asyncio.create_task(work(gate)) for _ in range(3)]
        await asyncio.sleep(0)
        assert not exporter.get_finished_spans()
        gate.set()
        return await asyncio.gather(*tasks)

    assert asyncio.run(main()) == [True] * 3
    assert len({span.get_span_context().span_id for span in exporter.get_finished_spans()}) == 3


def test_tasks_have_their_own_current_span(tracer: api.Tracer, exporter: InMemorySpanExporter) -> None:
    async def one(name: str) -> None:
        with tracer.start_as_current_span(name):
            await asyncio.sleep(0)
            tracer.start_span(f"{name}-child").end()

    async def main() -> None:
        with tracer.start_as_current_span("main"):
            await asyncio.gather(one("a"), one("b"))

    asyncio.run(main())
    spans = ended(exporter)
    for name in ("a", "b"):
        assert spans[f"{name}-child"].parent is spans[name].get_span_context()
        assert spans[name].parent is spans["main"].get_span_context()


def test_thread_has_no_parent_unless_given_the_context(
    tracer: api.Tracer, exporter: InMemorySpanExporter
) -> None:
    with tracer.start_as_current_span("main"):
        context = contextvars.copy_context()
        for name, run in (("alone", lambda work: work()), ("given", context.run)):
            thread = threading.Thread(target=run, args=(lambda name=name: tracer.start_span(name).end(),))
            thread.start()
            thread.join(60)
    spans = ended(exporter)
    # Python 3.14's free-threaded builds give a thread its starter's context.
    inherits = getattr(sys.flags, "thread_inherit_context", False)
    assert (spans["alone"].parent is None) is not bool(inherits)
    assert spans["given"].parent is spans["main"].get_span_context()


def test_gevent_greenlets_have_their_own_current_span(
    tracer: api.Tracer, exporter: InMemorySpanExporter
) -> None:
    def one(name: str) -> None:
        with tracer.start_as_current_span(name):
            gevent.sleep(0)
            tracer.start_span(f"{name}-child").end()

    gevent.joinall([gevent.spawn(one, name) for name in ("a", "b")], timeout=60, raise_error=True)
    spans = ended(exporter)
    for name in ("a", "b"):
        assert spans[f"{name}-child"].parent is spans[name].get_span_context()
