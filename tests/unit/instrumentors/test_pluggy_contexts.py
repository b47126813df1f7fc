"""What hooks do with the current context is as without us: baggage, spans, suppression; and pickling."""

from __future__ import annotations

import asyncio
import contextvars
import copy
import pickle
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pluggy
import pytest
from opentelemetry import baggage, context, trace
from opentelemetry.instrumentation.utils import is_instrumentation_enabled, suppress_instrumentation
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from spanwise.instrumentors._abandoned import end_abandoned
from spanwise.instrumentors.pluggy import PluggyInstrumentor

spec = pluggy.HookspecMarker("store")
impl = pluggy.HookimplMarker("store")


class Hooks:
    @spec
    def price(self) -> Any: ...

    @spec
    def close(self) -> Any: ...


class Observed:
    def __init__(self) -> None:
        self.exporter = InMemorySpanExporter()
        self.provider = TracerProvider()
        self.provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.tracer = self.provider.get_tracer("application")

    def ancestors(self, name: str) -> list[str]:
        spans: dict[int, ReadableSpan] = {}
        for each in self.exporter.get_finished_spans():
            assert each.context is not None
            spans[each.context.span_id] = each
        (found,) = [each for each in spans.values() if each.name == name]
        chain = []
        while found.parent is not None:
            found = spans[found.parent.span_id]
            chain.append(found.name)
        return chain


@pytest.fixture
def observed() -> Iterator[Observed]:
    observed = Observed()
    PluggyInstrumentor().instrument(tracer_provider=observed.provider)
    yield observed
    PluggyInstrumentor().uninstrument()


def manager(*plugins: tuple[str, Callable[..., Any]]) -> pluggy.PluginManager:
    """Of plugins with one hook each; the last one is called first."""
    made = pluggy.PluginManager("store")
    made.add_hookspecs(Hooks)
    for number, (hook, function) in enumerate(plugins):
        plugin: Any = type("Plugin", (), {})()
        setattr(plugin, hook, function if hasattr(function, "store_impl") else impl(function))
        made.register(plugin, name=f"p{number}")
    return made


def alone(function: Callable[[], Any]) -> Any:
    """Runs it where nothing is attached, and keeps what it attaches."""
    # pytest's own hooks are observed too, and their span is the current one here.
    return contextvars.Context().run(function)


def tenants() -> tuple[object, object]:
    return baggage.get_baggage("tenant"), baggage.get_baggage("shop")


def wrapping(style: str, key: str, value: str, torn_down: list[object]) -> Callable[..., Any]:
    def steps() -> Iterator[None]:
        token = context.attach(baggage.set_baggage(key, value))
        yield
        torn_down.append(baggage.get_baggage(key))
        context.detach(token)

    if style == "old":

        @impl(hookwrapper=True)
        def old() -> Iterator[None]:
            yield from steps()

        return old

    @impl(wrapper=True)
    def new() -> Any:
        made = steps()
        next(made)
        result = yield
        next(made, None)
        return result

    return new


STYLES = pytest.mark.parametrize("style", ["old", "new"])


@STYLES
def test_what_wrappers_attach_holds_for_what_they_wrap(observed: Observed, style: str) -> None:
    torn_down: list[object] = []

    def run() -> Any:
        made = manager(
            ("price", tenants),
            ("price", wrapping(style, "shop", "7", torn_down)),
            ("price", wrapping(style, "tenant", "acme", torn_down)),
        )
        return made.hook.price(), tenants(), trace.get_current_span()

    found, after, current = alone(run)
    assert found == [("acme", "7")]
    assert torn_down == ["7", "acme"]
    assert after == (None, None)
    assert current is trace.INVALID_SPAN
    # Nobody made another span current: they stay siblings.
    assert observed.ancestors("price p0") == ["price"]
    assert observed.ancestors("price p1") == ["price"]


@STYLES
def test_a_wrappers_span_is_the_parent_of_what_it_wraps(observed: Observed, style: str) -> None:
    def work() -> None:
        with observed.tracer.start_as_current_span("work"):
            pass

    @impl(hookwrapper=True)
    def old() -> Iterator[None]:
        with observed.tracer.start_as_current_span("wrapper's own"):
            yield

    @impl(wrapper=True)
    def new() -> Any:
        with observed.tracer.start_as_current_span("wrapper's own"):
            return (yield)

    def run() -> Any:
        manager(("price", work), ("price", old if style == "old" else new)).hook.price()
        return trace.get_current_span()

    assert alone(run) is trace.INVALID_SPAN
    assert observed.ancestors("work") == ["price p0", "wrapper's own", "price p1", "price"]


@STYLES
def test_a_wrapper_may_suppress_what_it_wraps(observed: Observed, style: str) -> None:
    @impl(hookwrapper=True)
    def old() -> Iterator[None]:
        with suppress_instrumentation():
            yield

    @impl(wrapper=True)
    def new() -> Any:
        with suppress_instrumentation():
            return (yield)

    def run() -> Any:
        made = manager(("price", is_instrumentation_enabled), ("price", old if style == "old" else new))
        return made.hook.price(), is_instrumentation_enabled()

    assert alone(run) == ([False], True)
    assert [each.name for each in observed.exporter.get_finished_spans() if each.name == "price p0"] == []


@pytest.mark.usefixtures("observed")
def test_what_an_implementation_attaches_stays_until_another_detaches_it() -> None:
    tokens: list[Any] = []

    def attach() -> None:
        tokens.append(context.attach(baggage.set_baggage("tenant", "acme")))

    def detach() -> None:
        context.detach(tokens.pop())

    def run() -> list[Any]:
        made = manager(("price", attach), ("close", detach))
        found: list[Any] = []
        made.hook.price()
        found.extend((tenants()[0], trace.get_current_span()))
        made.hook.close()
        found.extend((tenants()[0], trace.get_current_span()))
        return found

    # A span of a hook call that is over is not left behind.
    assert alone(run) == ["acme", trace.INVALID_SPAN, None, trace.INVALID_SPAN]


def test_what_an_implementation_attaches_before_it_fails_stays_too(observed: Observed) -> None:
    def attach() -> None:
        context.attach(baggage.set_baggage("tenant", "acme"))
        raise LookupError

    def run() -> Any:
        with observed.tracer.start_as_current_span("request") as request, pytest.raises(LookupError):
            manager(("price", attach)).hook.price()
        return tenants()[0], request

    def within() -> Any:
        with observed.tracer.start_as_current_span("request") as request:
            with pytest.raises(LookupError):
                manager(("price", attach)).hook.price()
            return tenants()[0], trace.get_current_span() is request

    assert alone(within) == ("acme", True)
    assert alone(run)[0] is None  # the request's own token gives back what was before it


def test_a_coroutine_runs_in_the_context_of_its_await(observed: Observed) -> None:
    async def price() -> object:
        with observed.tracer.start_as_current_span("work"):
            return tenants()[0]

    async def run() -> Any:
        (made,) = manager(("price", price)).hook.price()
        token = context.attach(baggage.set_baggage("tenant", "acme"))
        try:
            return await made, trace.get_current_span()
        finally:
            context.detach(token)

    assert alone(lambda: asyncio.run(run())) == ("acme", trace.INVALID_SPAN)
    assert observed.ancestors("work") == ["price p0", "price"]


def test_a_generators_step_runs_in_the_context_that_asks_for_it(observed: Observed) -> None:
    async def price() -> AsyncIterator[object]:
        for number in range(3):
            with observed.tracer.start_as_current_span(f"work {number}"):
                found = tenants()[0]
            yield found

    async def run() -> list[object]:
        (made,) = manager(("price", price)).hook.price()
        found = [await anext(made)]
        for name in ("acme", "other"):
            token = context.attach(baggage.set_baggage("tenant", name))
            with observed.tracer.start_as_current_span("consumer") as consumer:
                found.append(await anext(made))
                assert trace.get_current_span() is consumer
            context.detach(token)
        await made.aclose()
        return found

    assert alone(lambda: asyncio.run(run())) == [None, "acme", "other"]
    end_abandoned()  # a generator may be closed by a finalizer: its span ends when that is safe
    assert observed.ancestors("work 2") == ["price p0", "price"]


@pytest.mark.usefixtures("observed")
def test_what_only_has_add_done_callback_is_no_future() -> None:
    given: list[Any] = []

    class Streaming:
        def add_done_callback(self, callback: Callable[[Any], None]) -> None:
            given.append(callback)

    (found,) = manager(("price", lambda: Streaming())).hook.price()
    assert isinstance(found, Streaming)
    assert given == []


def one() -> int:
    return 1


@pytest.mark.usefixtures("observed")
def test_a_manager_is_pickled_and_copied_as_without_us() -> None:
    made = pluggy.PluginManager("store")
    made.add_hookspecs(Hooks)
    data = pickle.dumps(made)
    assert b"spanwise" not in data
    for other in (pickle.loads(data), copy.deepcopy(made), copy.copy(made)):
        assert other.hook.price() == []
    full = manager(("price", one))
    assert copy.copy(full).hook.price() == [1]
