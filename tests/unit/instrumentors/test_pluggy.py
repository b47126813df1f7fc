"""pluggy's hook calls, implementations and loading, observed; and what must be the same as without."""

from __future__ import annotations

import asyncio
import concurrent.futures
import gc
import inspect
import logging
import os
import re
import subprocess
import sys
import traceback
import warnings
import weakref
from collections.abc import Callable, Iterator
from importlib.metadata import Distribution, EntryPoint
from typing import Any

import pluggy
import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode, get_current_span

from spanwise import names
from spanwise.context import suppressed
from spanwise.instrumentors import _abandoned, _awaited, _pluggy
from spanwise.instrumentors.pluggy import PluggyInstrumentor

spec = pluggy.HookspecMarker("store")
impl = pluggy.HookimplMarker("store")


class Hooks:
    @spec
    def price(self, cents: int) -> Any: ...

    @spec(firstresult=True)
    def choose(self, cents: int) -> Any: ...

    @spec(historic=True)
    def opened(self, cents: int) -> Any: ...


def manager(**plugins: Any) -> pluggy.PluginManager:
    made = pluggy.PluginManager("store")
    made.add_hookspecs(Hooks)
    for name, plugin in plugins.items():
        made.register(plugin, name=name)
    return made


def plugin(**hooks: Callable[..., Any]) -> Any:
    """A plugin of functions of one argument, `cents`; marked already, or plain."""
    made: Any = type("Plugin", (), {})()
    for name, function in hooks.items():
        setattr(made, name, function if hasattr(function, "store_impl") else impl(function))
    return made


class Observed:
    """Its spans and its metrics."""

    def __init__(self) -> None:
        self.exporter = InMemorySpanExporter()
        self.tracer_provider = TracerProvider()
        self.tracer_provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.reader = InMemoryMetricReader()
        self.meter_provider = MeterProvider([self.reader])
        self.tracer = self.tracer_provider.get_tracer("test")

    def instrument(self, **options: Any) -> None:
        PluggyInstrumentor().instrument(
            tracer_provider=self.tracer_provider, meter_provider=self.meter_provider, **options
        )

    def spans(self, loading: bool = False) -> list[ReadableSpan]:
        """Since it was last asked: of calls, or of loading. pytest's own hooks are observed too: left out."""
        gc.collect()
        _abandoned.end_abandoned()
        found = self.exporter.get_finished_spans()
        self.exporter.clear()
        return [
            span
            for span in found
            if span.name.startswith("plugin.load") == loading
            and (span.attributes or {}).get(names.PLUGIN_PROJECT, "store") == "store"
        ]

    def names(self) -> list[str]:
        return [span.name for span in self.spans()]

    def points(self, metric: names.Metric) -> dict[tuple[Any, ...], Any]:
        data = self.reader.get_metrics_data()
        assert data is not None
        return {
            tuple(
                value for key, value in (point.attributes or {}).items() if key != names.PLUGIN_PROJECT
            ): point
            for resource in data.resource_metrics
            for scope in resource.scope_metrics
            for found in scope.metrics
            if found.name == metric.name
            for point in found.data.data_points
            if (point.attributes or {})[names.PLUGIN_PROJECT] == "store"
        }


@pytest.fixture
def observed() -> Iterator[Observed]:
    made = Observed()
    made.instrument()
    yield made
    PluggyInstrumentor().uninstrument()


def test_a_hook_call_is_a_span_with_a_child_for_each_implementation(observed: Observed) -> None:
    made = manager(one=plugin(price=lambda cents: cents), two=plugin(price=lambda cents: cents + 1))
    with observed.tracer.start_as_current_span("request") as request:
        assert made.hook.price(cents=3) == [4, 3]
    two, one, hook, _ = observed.spans()

    assert (hook.name, two.name, one.name) == ("price", "price two", "price one")
    assert hook.parent is not None
    assert hook.parent.span_id == request.get_span_context().span_id
    for child in (one, two):
        assert child.parent is not None
        assert hook.context is not None
        assert child.parent.span_id == hook.context.span_id
        assert child.status.status_code is StatusCode.UNSET
    assert hook.attributes == {
        names.PLUGIN_PROJECT: "store",
        names.PLUGIN_HOOK: "price",
        names.OPERATION_KIND: "plugin.hook",
    }
    assert one.attributes is not None
    assert one.attributes[names.PLUGIN_NAME] == "one"
    assert one.attributes[names.OPERATION_KIND] == "plugin.call"
    assert str(one.attributes[names.CODE_FUNCTION_NAME]).startswith(__name__)
    calls = observed.points(names.PLUGIN_CALL_DURATION)
    assert {key: point.count for key, point in calls.items()} == {("one", "price"): 1, ("two", "price"): 1}


def test_what_an_implementation_starts_is_its_child(observed: Observed) -> None:
    def price(cents: int) -> int:
        with observed.tracer.start_as_current_span("query"):
            return cents

    manager(one=plugin(price=price)).hook.price(cents=1)
    query, call, _ = observed.spans()
    assert query.parent is not None
    assert call.context is not None
    assert query.parent.span_id == call.context.span_id


def test_a_first_result_ends_it(observed: Observed) -> None:
    made = manager(one=plugin(choose=lambda cents: cents), two=plugin(choose=lambda cents: 0))
    assert made.hook.choose(cents=7) == 0
    assert observed.names() == ["choose two", "choose"]


def test_a_hook_that_nobody_implements_is_no_span(observed: Observed) -> None:
    assert manager().hook.price(cents=1) == []
    assert observed.names() == []


def test_historic_calls_are_seen_when_they_are_replayed(observed: Observed) -> None:
    made = manager(one=plugin(opened=lambda cents: cents))
    told: list[int] = []
    made.hook.opened.call_historic(told.append, {"cents": 5})
    assert observed.names() == ["opened one", "opened"]
    made.register(plugin(opened=lambda cents: cents + 1), name="late")
    assert observed.names() == ["opened late", "opened"]
    assert told == [5, 6]


class Extra:
    def price(self, cents: int) -> int:
        return cents


def test_call_extra_and_a_subset(observed: Observed) -> None:
    one = plugin(price=lambda cents: 1)
    made = manager(one=one, two=plugin(price=lambda cents: 2))
    for _ in range(3):
        assert made.hook.price.call_extra([lambda cents: 3], {"cents": 0}) == [3, 2, 1]
    assert observed.names() == ["price <temp>", "price two", "price one", "price"] * 3
    once = Extra()
    gone = weakref.ref(once)
    made.hook.price.call_extra([once.price], {"cents": 0})
    del once
    gc.collect()
    assert gone() is None
    observed.spans()
    assert made.subset_hook_caller("price", [one])(cents=0) == [2]
    assert observed.names() == ["price two", "price"]


def test_a_plugin_named_by_its_address_gets_its_class(observed: Observed) -> None:
    class Pricing:
        @impl
        def price(self, cents: int) -> int:
            return cents

    made = manager()
    made.register(Pricing())
    made.hook.price(cents=1)
    assert observed.names()[0] == f"price {__name__}.{Pricing.__qualname__}"


# -- wrappers and failures -----------------------------------------------------------------------


def old_style(log: list[str]) -> Any:
    @pluggy.HookimplMarker("store")(hookwrapper=True)
    def price() -> Any:
        log.append("set up")
        outcome = yield
        log.append(f"torn down after {outcome.exception!r}")

    return plugin(price=price)


def new_style(log: list[str]) -> Any:
    @pluggy.HookimplMarker("store")(wrapper=True)
    def price() -> Any:
        log.append("set up")
        try:
            return (yield)
        finally:
            log.append(f"torn down after {sys.exc_info()[1]!r}")

    return plugin(price=price)


@pytest.mark.parametrize("style", [old_style, new_style])
def test_a_wrapper_has_a_span_around_the_others_and_its_own_time(observed: Observed, style: Any) -> None:
    log: list[str] = []
    made = manager(wrap=style(log), one=plugin(price=lambda cents: cents))
    assert made.hook.price(cents=1) == [1]
    assert log == ["set up", "torn down after None"]
    one, wrap, hook = observed.spans()
    assert (one.name, wrap.name, hook.name) == ("price one", "price wrap", "price")
    assert wrap.attributes is not None
    assert wrap.attributes[names.PLUGIN_WRAPPER] is True
    own = wrap.attributes[names.PLUGIN_OWN_TIME]
    assert wrap.end_time is not None
    assert wrap.start_time is not None
    assert 0 < float(str(own)) * 1e9 <= wrap.end_time - wrap.start_time
    assert one.start_time is not None
    assert wrap.start_time <= one.start_time
    assert observed.points(names.PLUGIN_CALL_DURATION)["wrap", "price"].sum == own


def entries(error: BaseException) -> list[tuple[str, int | None, str]]:
    return [(entry.filename, entry.lineno, entry.name) for entry in traceback.extract_tb(error.__traceback__)]


def failing(style: Any, log: list[str]) -> BaseException:
    def price() -> Any:
        raise ZeroDivisionError("by nothing")

    made = manager(wrap=style(log), one=plugin(price=price))
    caught: list[BaseException] = []
    try:
        made.hook.price(cents=1)
    except ZeroDivisionError as error:
        caught.append(error)
    (found,) = caught
    return found


@pytest.mark.skipif(sys.version_info < (3, 11), reason="a bare raise adds an entry on 3.10: the next test")
@pytest.mark.parametrize("style", [old_style, new_style])
def test_a_failure_looks_as_it_does_without_us(style: Any) -> None:
    before: list[str] = []
    plain = failing(style, before)
    observed = Observed()
    observed.instrument()
    try:
        during: list[str] = []
        seen = failing(style, during)
    finally:
        PluggyInstrumentor().uninstrument()
    assert observed.names() == ["price one", "price wrap", "price"]
    assert entries(seen) == entries(plain)
    assert during == before
    assert (seen.args, seen.__cause__, seen.__context__) == (plain.args, plain.__cause__, plain.__context__)


@pytest.mark.usefixtures("observed")
@pytest.mark.parametrize("style", [old_style, new_style])
def test_a_traceback_has_at_most_one_entry_of_ours(style: Any) -> None:
    ours = [name for file, _, name in entries(failing(style, [])) if "spanwise/instrumentors" in file]
    assert ours == ([] if sys.version_info >= (3, 11) else ["__call__"])


def test_only_who_failed_is_told_to_have_failed(observed: Observed) -> None:
    failing(new_style, [])
    one, wrap, hook = observed.spans()
    assert [span.status.status_code for span in (one, wrap, hook)] == [
        StatusCode.ERROR,
        StatusCode.UNSET,
        StatusCode.ERROR,
    ]
    # The stack trace is told once, without entries of ours.
    (event,) = one.events
    assert event.attributes is not None
    stack = str(event.attributes[names.EXCEPTION_STACKTRACE])
    assert "by nothing" in stack
    if sys.version_info >= (3, 11):
        assert "instrumentors" not in stack.replace("tests/unit/instrumentors", "")
    assert hook.events == ()
    assert hook.attributes is not None
    assert hook.attributes[names.ERROR_TYPE] == "ZeroDivisionError"
    assert ("one", "price", "ZeroDivisionError") in observed.points(names.PLUGIN_CALL_DURATION)


def test_a_wrapper_that_fails_is_the_one_that_failed(observed: Observed) -> None:
    @pluggy.HookimplMarker("store")(wrapper=True)
    def price() -> Any:
        yield
        raise LookupError("in the teardown")

    made = manager(wrap=plugin(price=price), one=plugin(price=lambda cents: cents))
    with pytest.raises(LookupError):
        made.hook.price(cents=1)
    one, wrap, hook = observed.spans()
    assert [span.status.status_code is StatusCode.ERROR for span in (one, wrap, hook)] == [False, True, True]


def test_a_failure_that_a_wrapper_swallows_is_the_plugins_not_the_hooks(observed: Observed) -> None:
    @pluggy.HookimplMarker("store")(wrapper=True)
    def price() -> Any:
        try:
            return (yield)
        except ZeroDivisionError:
            return ["saved"]

    def fails(cents: int) -> Any:
        return cents // 0

    made = manager(wrap=plugin(price=price), one=plugin(price=fails))
    assert made.hook.price(cents=1) == ["saved"]
    one, wrap, hook = observed.spans()
    assert [span.status.status_code is StatusCode.ERROR for span in (one, wrap, hook)] == [
        True,
        False,
        False,
    ]


@pytest.mark.usefixtures("observed")
def test_wrong_wrappers_and_calls_are_refused_in_pluggys_words() -> None:
    def complaints() -> list[str]:
        @pluggy.HookimplMarker("store")(hookwrapper=True)
        def silent(cents: int) -> Any:
            if cents < 0:
                yield

        @pluggy.HookimplMarker("store")(hookwrapper=True)
        def twice() -> Any:
            yield
            yield

        found = []
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for each, arguments in ((silent, {"cents": 1}), (twice, {"cents": 1}), (twice, {})):
                try:
                    manager(one=plugin(price=each)).hook.price(**arguments)
                except Exception as error:
                    found.append(f"{type(error).__name__}: {str(error).partition('.py:')[0]}")
        return found

    seen = complaints()
    PluggyInstrumentor().uninstrument()
    assert seen == complaints()
    assert len(seen) == 3


# -- results to be awaited -----------------------------------------------------------------------


def test_a_coroutine_is_timed_to_its_end(observed: Observed) -> None:
    steps: list[str] = []

    async def price(cents: int) -> int:
        steps.append("begun")
        await asyncio.sleep(0)
        with observed.tracer.start_as_current_span("query"):
            steps.append("done")
        return cents

    made = manager(one=plugin(price=price))

    async def main() -> None:
        (coroutine,) = made.hook.price(cents=4)
        assert observed.names() == []  # neither has ended
        assert inspect.iscoroutine(coroutine)
        assert asyncio.iscoroutine(coroutine)
        assert coroutine.__qualname__ == price.__qualname__
        assert steps == []
        current = get_current_span()
        assert await coroutine == 4
        assert get_current_span() is current

    asyncio.run(main())
    query, call, hook = observed.spans()
    assert (query.name, call.name, hook.name) == ("query", "price one", "price")
    assert query.parent is not None
    assert call.context is not None
    assert query.parent.span_id == call.context.span_id
    assert observed.points(names.PLUGIN_CALL_DURATION)["one", "price"].count == 1


def test_a_hook_lasts_until_the_last_of_its_coroutines(observed: Observed) -> None:
    async def price(cents: int) -> int:
        return cents

    made = manager(one=plugin(price=price), two=plugin(price=price), three=plugin(price=lambda cents: cents))

    async def main() -> None:
        _, two, one = made.hook.price(cents=4)
        await one
        assert observed.names() == ["price three", "price one"]
        await two
        assert observed.names() == ["price two", "price"]

    asyncio.run(main())


def test_what_a_coroutine_raises_is_as_it_was(observed: Observed) -> None:
    async def price() -> int:
        raise LookupError("later")

    made = manager(one=plugin(price=price))

    async def main() -> None:
        (coroutine,) = made.hook.price(cents=1)
        await coroutine

    with pytest.raises(LookupError, match="later") as caught:
        asyncio.run(main())
    if sys.version_info >= (3, 11):
        assert not [file for file, _, _ in entries(caught.value) if "spanwise/instrumentors" in file]
    call, hook = observed.spans()
    assert call.status.status_code is hook.status.status_code is StatusCode.ERROR
    assert len(call.events) == 1


def test_a_cancelled_coroutine_ends_its_spans(observed: Observed) -> None:
    begun = asyncio.Event()

    async def price() -> None:
        begun.set()
        await asyncio.Event().wait()

    made = manager(one=plugin(price=price))

    async def main() -> None:
        task = asyncio.ensure_future(made.hook.price(cents=1)[0])
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    call, hook = observed.spans()
    assert call.attributes is not None
    assert call.attributes[names.ERROR_TYPE] == "asyncio.exceptions.CancelledError"
    assert hook.status.status_code is StatusCode.ERROR


def test_a_coroutine_that_nobody_awaits_warns_once_and_leaves_no_span_open(observed: Observed) -> None:
    async def price(cents: int) -> None: ...

    made = manager(one=plugin(price=price))
    messages: list[str] = []
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        # A recorded warning would keep the coroutine, and with it the one within.
        warnings.showwarning = lambda message, *_, **__: messages.append(str(message))
        made.hook.price(cents=1)
        gc.collect()
    assert len(messages) == 1
    assert "price' was never awaited" in messages[0]
    assert sorted(observed.names()) == ["price", "price one"]


def test_an_async_generator_is_timed_to_its_end(observed: Observed) -> None:
    got: list[Any] = []
    seen: list[Any] = []

    async def price(cents: int) -> Any:
        try:
            got.append((yield cents))
            seen.append(get_current_span().get_span_context().span_id)
            try:
                yield cents + 1
            except LookupError:
                yield "caught"
        finally:
            got.append("closed")

    made = manager(one=plugin(price=price))

    async def main() -> None:
        (generator,) = made.hook.price(cents=4)
        assert inspect.isasyncgen(generator)
        current = get_current_span()
        assert await generator.__anext__() == 4
        assert get_current_span() is current  # the consumer's
        assert await generator.asend("sent") == 5
        assert await generator.athrow(LookupError()) == "caught"
        assert observed.names() == []
        await generator.aclose()
        (generator,) = made.hook.price(cents=1)
        assert [each async for each in generator] == [1, 2]

    asyncio.run(main())
    assert got == ["sent", "closed", None, "closed"]
    call, hook, *_ = spans = observed.spans()
    assert [span.name for span in spans] == ["price one", "price"] * 2
    assert call.context is not None
    assert seen[0] == call.context.span_id
    assert hook.status.status_code is StatusCode.UNSET


@pytest.mark.parametrize("error", [None, LookupError("later")])
def test_a_future_is_handed_on_and_timed_to_its_end(observed: Observed, error: Exception | None) -> None:
    future: concurrent.futures.Future[int] = concurrent.futures.Future()
    made = manager(one=plugin(price=lambda cents: future))
    assert made.hook.price(cents=1)[0] is future
    assert observed.names() == []
    if error is None:
        future.set_result(1)
    else:
        future.set_exception(error)
    call, hook = observed.spans()
    assert (call.name, hook.name) == ("price one", "price")
    assert (call.status.status_code is StatusCode.ERROR) == (error is not None)
    # One that is done already.
    made.hook.price(cents=1)
    assert observed.names() == ["price one", "price"]


def test_a_failed_future_that_nobody_looks_at_is_still_told_of(observed: Observed) -> None:
    told: list[Any] = []

    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: told.append(context["exception"]))
        made = manager(one=plugin(price=lambda cents: loop.create_future()))
        made.hook.price(cents=1)[0].set_exception(LookupError("unseen"))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        del made
        gc.collect()

    asyncio.run(main())
    call, _ = observed.spans()
    assert call.status.status_code is StatusCode.ERROR
    assert [str(error) for error in told] == ["unseen"]


# -- loading -------------------------------------------------------------------------------------


def test_registering_is_a_load(observed: Observed) -> None:
    made = manager(one=plugin())
    (span,) = observed.spans(loading=True)
    assert span.name == "plugin.load one"
    assert span.attributes is not None
    assert span.attributes[names.OPERATION_KIND] == "plugin.load"
    assert span.attributes[names.PLUGIN_NAME] == "one"
    assert isinstance(span.attributes[names.PLUGIN_LOAD_MEMORY], int)
    assert observed.points(names.PLUGIN_LOAD_DURATION)[("one",)].count == 1
    assert observed.points(names.PLUGIN_MEMORY)[("one",)].value >= 0

    with pytest.raises(ValueError, match="already registered"):
        made.register(plugin(), name="one")
    (span,) = observed.spans(loading=True)
    assert span.status.status_code is StatusCode.ERROR
    made.set_blocked("spam")
    assert made.register(plugin(), name="spam") is None
    assert observed.spans(loading=True) == []


class Provider(Distribution):
    """An installed distribution with one plugin."""

    def __init__(self, module: str) -> None:
        self._module = module

    @property
    def entry_points(self) -> Any:
        return [EntryPoint("pricing", self._module, "store.plugins")]

    def read_text(self, filename: str) -> str | None:
        return "Metadata-Version: 2.1\nName: pricing\nVersion: 1\n" if filename == "METADATA" else None

    def locate_file(self, path: Any) -> Any:
        raise NotImplementedError


@pytest.mark.parametrize("works", [True, False])
def test_the_import_of_an_entry_point_is_part_of_its_load(
    observed: Observed, works: bool, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = f"spanwise_entry_point_{works}".lower()
    (tmp_path / f"{module}.py").write_text(
        "from opentelemetry.trace import get_current_span\n"
        "seen = get_current_span().get_span_context().span_id\n"
        + ("" if works else "raise LookupError('bad')")
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr("importlib.metadata.distributions", lambda: [Provider(module)])
    made = manager()
    if works:
        assert made.load_setuptools_entrypoints("store.plugins") == 1
    else:
        with pytest.raises(LookupError, match="bad") as caught:
            made.load_setuptools_entrypoints("store.plugins")
        if sys.version_info >= (3, 11):
            assert not [file for file, _, _ in entries(caught.value) if "spanwise/instrumentors" in file]
    (span,) = observed.spans(loading=True)
    assert span.name == "plugin.load pricing"
    assert (span.status.status_code is StatusCode.ERROR) == (not works)
    if works:
        assert span.context is not None
        assert sys.modules[module].seen == span.context.span_id
    # Entry points that others load are none of ours.
    monkeypatch.setattr("importlib.metadata.distributions", list)
    assert EntryPoint("join", "posixpath:join", "other").load() is not None
    assert observed.spans(loading=True) == []


# -- switching on and off ------------------------------------------------------------------------


class Own(pluggy.PluginManager):
    def __init__(self) -> None:
        super().__init__("store")
        self.add_hookspecs(Hooks)


def test_managers_made_before_and_after_and_everything_restored() -> None:
    kind = pluggy.PluginManager
    was = {
        name: kind.__dict__[name]
        for name in ("__init__", "register", "unregister", "load_setuptools_entrypoints")
    }
    loading = EntryPoint.load
    early, own = manager(one=plugin(price=lambda cents: 1)), Own()
    own.register(plugin(price=lambda cents: 1), name="one")
    executor = vars(early)["_inner_hookexec"]
    observed = Observed()
    observed.instrument()
    late = manager(one=plugin(price=lambda cents: 1))
    for made in (early, own, late):
        assert made.hook.price(cents=1) == [1]
        assert observed.names() == ["price one", "price"]
    PluggyInstrumentor().uninstrument()
    for made in (early, own, late):
        assert vars(made)["_inner_hookexec"] is executor
        assert made.hook.price(cents=1) == [1]
    assert observed.names() == []
    assert {name: kind.__dict__[name] for name in was} == was
    assert EntryPoint.load is loading


def test_others_monitoring_goes_on_below_and_on_top(observed: Observed) -> None:
    made = manager(one=plugin(price=lambda cents: cents))
    told: list[Any] = []
    undo = made.add_hookcall_monitoring(
        lambda name, _impls, _kwargs: told.append(name),
        lambda outcome, _name, _impls, _kwargs: told.append(outcome.get_result()),
    )
    assert made.hook.price(cents=1) == [1]
    assert observed.names() == ["price one", "price"]
    PluggyInstrumentor().uninstrument()
    assert made.hook.price(cents=2) == [2]
    assert told == ["price", [1], "price", [2]]
    assert observed.names() == []
    undo()
    assert made.hook.price(cents=3) == [3]


@pytest.mark.usefixtures("observed")
def test_an_unregistered_plugin_is_let_go() -> None:
    class Pricing:
        @impl
        def price(self, cents: int) -> int:
            return cents

    made = manager(one=Pricing())
    made.hook.price(cents=1)
    gone = weakref.ref(made.get_plugin("one"))
    made.unregister(name="one")
    gc.collect()
    assert gone() is None
    assert made.hook.price(cents=1) == []


@pytest.mark.usefixtures("observed")
def test_a_manager_is_let_go() -> None:
    made = manager(one=plugin(price=lambda cents: cents))
    made.hook.price(cents=1)
    gone = weakref.ref(made)
    del made
    gc.collect()
    assert gone() is None


def test_excluded_hooks_are_left_alone() -> None:
    observed = Observed()
    observed.instrument(excluded_hooks="cho*, other")
    try:
        made = manager(one=plugin(price=lambda cents: cents, choose=lambda cents: cents))
        made.hook.choose(cents=1)
        made.hook.price(cents=1)
    finally:
        PluggyInstrumentor().uninstrument()
    assert observed.names() == ["price one", "price"]


def test_the_setting_excludes_hooks() -> None:
    code = (
        "import spanwise; spanwise.configure(excluded_hooks=('other', 'cho*'))\n"
        "import pluggy\n"
        "spec, impl = pluggy.HookspecMarker('store'), pluggy.HookimplMarker('store')\n"
        "class Hooks:\n"
        "    @spec\n"
        "    def choose(self): ...\n"
        "    @spec\n"
        "    def price(self): ...\n"
        "class Plugin:\n"
        "    @impl\n"
        "    def choose(self): return 1\n"
        "    @impl\n"
        "    def price(self): return 2\n"
        "made = pluggy.PluginManager('store')\n"
        "made.add_hookspecs(Hooks)\n"
        "made.register(Plugin(), 'one')\n"
        "assert made.hook.choose() == [1] and made.hook.price() == [2]\n"
    )
    exporters = {
        "OTEL_METRICS_EXPORTER": "none",
        "OTEL_LOGS_EXPORTER": "none",
        "OTEL_TRACES_EXPORTER": "console",
    }
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, **exporters},
        check=True,
    )
    found = re.findall(r'"name": "(.*)"', done.stdout)
    assert found == ["plugin.load one", "price one", "price"]


def test_suppressed_calls_pass(observed: Observed) -> None:
    async def choose(cents: int) -> int:
        return cents

    made = manager(one=plugin(price=lambda cents: cents, choose=choose), wrap=new_style([]))
    with suppressed():
        assert made.hook.price(cents=1) == [1]
        assert asyncio.run(made.hook.choose(cents=2)) == 2
        made.register(plugin(), name="two")
    assert observed.names() == []
    assert "two" not in str([span.name for span in observed.spans(loading=True)])


def test_a_fault_of_ours_costs_one_warning(observed: Observed, caplog: pytest.LogCaptureFixture) -> None:
    class Odd:
        """Whose name cannot be read."""

        def __str__(self) -> str:
            raise RuntimeError("no name")

    made = manager(one=plugin(price=lambda cents: cents))
    made.project_name = Odd()  # type: ignore[misc, assignment]
    PluggyInstrumentor().uninstrument()
    observed.instrument()
    with caplog.at_level(logging.DEBUG):
        for _ in range(3):
            assert made.hook.price(cents=1) == [1]
    warned = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert len(warned) == 1
    assert "pluggy instrumentation could not" in warned[0].getMessage()


class Refusing(pluggy.PluginManager):
    """Registers nothing, as pytest does with plugins whose names are out of use."""

    def register(self, plugin: Any, name: str | None = None) -> str | None:
        return None


def test_a_plugin_that_its_manager_refuses_was_loaded_all_the_same(
    observed: Observed, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("spanwise_refused_a", "spanwise_refused_b"):
        (tmp_path / f"{module}.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    providers = [Provider("spanwise_refused_a"), Provider("spanwise_refused_b")]
    monkeypatch.setattr("importlib.metadata.distributions", lambda: providers)
    Refusing("store").load_setuptools_entrypoints("store.plugins")
    gc.collect()
    _abandoned.end_abandoned()
    assert [(span.name, span.status.status_code) for span in observed.spans(loading=True)] == [
        ("plugin.load pricing", StatusCode.UNSET)
    ] * 2


def test_what_a_plugin_loads_while_it_is_imported_is_no_plugin(
    observed: Observed, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "spanwise_loading.py").write_text(
        "from importlib.metadata import EntryPoint\nEntryPoint('join', 'posixpath:join', 'other').load()\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr("importlib.metadata.distributions", lambda: [Provider("spanwise_loading")])
    manager().load_setuptools_entrypoints("store.plugins")
    assert [span.name for span in observed.spans(loading=True)] == ["plugin.load pricing"]


def test_hooks_beyond_the_bound_are_observed_and_not_remembered(
    observed: Observed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_pluggy, "_MOST_HOOKS", 1)
    made = manager(one=plugin(price=lambda cents: cents, choose=lambda cents: cents))
    for _ in range(2):
        made.hook.price(cents=1)
        made.hook.choose(cents=1)
    assert observed.names() == ["price one", "price", "choose one", "choose"] * 2
    assert len(vars(made)["_inner_hookexec"]._hooks) == 1


@pytest.mark.usefixtures("observed")
def test_a_coroutine_that_is_done_is_kept_by_nobody() -> None:
    async def price(cents: int) -> int:
        return cents

    async def run() -> None:
        (made,) = manager(one=plugin(price=price)).hook.price(cents=1)
        await made

    asyncio.run(run())
    gc.collect()
    assert _awaited._dying == set()


def test_a_process_that_shrank_while_a_plugin_was_loaded_grew_by_nothing(
    observed: Observed, monkeypatch: pytest.MonkeyPatch
) -> None:
    readings = iter((5_000_000, 3_000_000))
    monkeypatch.setattr("spanwise.instrumentors._plugin_loads.resident_bytes", lambda: next(readings))
    manager(one=plugin(price=lambda cents: cents))
    assert [point.value for point in observed.points(names.PLUGIN_MEMORY).values()] == [0]
    (span,) = observed.spans(loading=True)
    assert (span.attributes or {})[names.PLUGIN_LOAD_MEMORY] == -2_000_000
