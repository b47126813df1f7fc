"""Decorated generators and coroutines behave as they do undecorated, and are observed step by step."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import gc
import inspect
import weakref
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from contextvars import Context, copy_context
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from opentelemetry.trace import StatusCode, get_current_span

import spanwise
from spanwise import names
from spanwise.manual import operations

CPU = names.OPERATION_CPU_TIME.name


class Odd(Exception):
    """Thrown into generators."""


def talk(script: list[str]) -> Generator[Any, Any, Any]:
    """Yields what it is told; the script says what it does with what it gets."""
    heard: Any = "nothing"
    for step in script:
        try:
            if step == "raise":
                raise ValueError(heard)
            if step == "return":
                return heard
            heard = yield step, heard
        except Odd as error:
            heard = f"caught {error}"
    return "end"


def play(make: Callable[[list[str]], Any], script: list[str], moves: list[str]) -> list[Any]:
    """What comes of a script and the moves of its consumer."""
    generator, found = make(script), []
    for move in ["next", *moves]:
        try:
            if move == "next":
                found.append(next(generator))
            elif move == "throw":
                found.append(generator.throw(Odd("x")))
            elif move == "close":
                found.append(generator.close())
            else:
                found.append(generator.send(move))
        except BaseException as error:
            found.append((type(error), error.args))
    return found


SCRIPTS = st.lists(st.sampled_from(["a", "b", "raise", "return"]), max_size=4)
MOVES = st.lists(st.sampled_from(["next", "throw", "close", "hello"]), max_size=5)


@given(SCRIPTS, MOVES)
@example(["a", "b"], ["hello", "next"])
@example(["a", "b", "return"], ["throw", "hello"])
@example(["a", "raise"], ["hello", "close", "next"])
def test_a_generator_does_what_it_did(script: list[str], moves: list[str]) -> None:
    assert play(spanwise.operation("talk")(talk), script, moves) == play(talk, script, moves)


async def atalk(script: list[str]) -> AsyncIterator[Any]:
    heard: Any = "nothing"
    for step in script:
        try:
            await asyncio.sleep(0)
            if step == "raise":
                raise ValueError(heard)
            if step == "return":
                return
            heard = yield step, heard
        except Odd as error:
            heard = f"caught {error}"


def aplay(make: Callable[[list[str]], Any], script: list[str], moves: list[str]) -> list[Any]:
    async def main() -> list[Any]:
        generator, found = make(script), []
        for move in ["next", *moves]:
            try:
                if move == "next":
                    found.append(await generator.__anext__())
                elif move == "throw":
                    found.append(await generator.athrow(Odd("x")))
                elif move == "close":
                    found.append(await generator.aclose())
                else:
                    found.append(await generator.asend(move))
            except BaseException as error:
                found.append((type(error), error.args))
        return found

    return asyncio.run(main())


@settings(max_examples=50)
@given(SCRIPTS, MOVES)
@example(["a", "b"], ["hello", "next"])
@example(["a", "b", "return"], ["throw", "hello"])
@example(["a", "raise"], ["hello", "close", "next"])
def test_an_asynchronous_generator_does_what_it_did(script: list[str], moves: list[str]) -> None:
    assert aplay(spanwise.operation("talk")(atalk), script, moves) == aplay(atalk, script, moves)


def test_each_sort_of_function_stays_of_its_sort() -> None:
    async def coroutine() -> None: ...

    decorate = spanwise.operation("o")
    assert inspect.iscoroutinefunction(decorate(coroutine))
    assert inspect.isgeneratorfunction(decorate(talk))
    assert inspect.isasyncgenfunction(decorate(atalk))


def test_between_two_items_neither_span_nor_time_is_on_its_account(
    observed: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [0]
    monkeypatch.setattr(operations, "thread_time_ns", lambda: clock[0])

    @spanwise.operation("letters")
    def letters() -> Iterator[str]:
        for letter in "ab":
            clock[0] += 1_000_000_000
            with spanwise.operation(letter) as inner:
                yield letter
                assert get_current_span() is inner.span, "what it made current is lost"

    for _ in letters():
        assert not get_current_span().is_recording()
        clock[0] += 50_000_000_000
    spans = {span.name: span for span in observed.spans()}
    assert spans["letters"].attributes[CPU] == 2.0
    assert spans["a"].parent.span_id == spans["b"].parent.span_id == spans["letters"].context.span_id


def test_tasks_that_run_meanwhile_are_not_on_its_account(
    observed: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [0]
    monkeypatch.setattr(operations, "thread_time_ns", lambda: clock[0])
    first, second = asyncio.Event, asyncio.Event

    async def main() -> None:
        go, gone = first(), second()

        @spanwise.operation("waits")
        async def waits() -> int:
            clock[0] += 1_000_000_000
            go.set()
            await gone.wait()
            clock[0] += 1_000_000_000
            return 3

        async def works() -> None:
            await go.wait()
            clock[0] += 50_000_000_000
            gone.set()

        assert await asyncio.gather(waits(), works()) == [3, None]

    asyncio.run(main())
    assert observed.span().attributes[CPU] == 2.0


def test_a_coroutine_s_failure_and_cancellation_are_its_own(observed: Any) -> None:
    @spanwise.operation("fails")
    async def fails() -> None:
        await asyncio.sleep(0)
        raise LookupError("gone")

    @spanwise.operation("waits")
    async def waits() -> None:
        await asyncio.Event().wait()

    async def main() -> None:
        with pytest.raises(LookupError, match="gone"):
            await fails()
        task = asyncio.ensure_future(waits())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    failed, cancelled = observed.spans()
    assert failed.attributes[names.ERROR_TYPE] == "LookupError"
    assert cancelled.attributes[names.ERROR_TYPE].endswith("CancelledError")


def test_a_generator_that_is_closed_early_is_no_failure(observed: Any) -> None:
    generator = spanwise.operation("talk")(talk)(["a", "b"])
    next(generator)
    generator.close()
    never = spanwise.operation("never")(talk)(["a"])
    del never
    assert observed.span().status.status_code is StatusCode.UNSET


@pytest.mark.parametrize("faces", [(spanwise.operation("talk"),), (spanwise.stream("s"),)])
def test_a_generator_that_is_dropped_ends_nothing_within_the_finalizer(observed: Any, faces: Any) -> None:
    """A finalizer may run while this very thread holds the lock of the processor, or of an instrument."""
    (face,) = faces
    generator = face(talk)(["a", "b"])
    next(generator)
    del generator
    assert observed._exporter.get_finished_spans() == ()
    assert observed.span().status.status_code is StatusCode.UNSET


def test_one_that_was_left_can_be_entered_again_at_once(observed: Any) -> None:
    face = spanwise.operation("talk")

    def within() -> Iterator[int]:
        with face:
            yield 1

    for _ in range(2):
        left = within()
        next(left)
        left.close()
    with face:
        pass
    assert [span.status.status_code for span in observed.spans()] == [StatusCode.UNSET] * 3


def test_what_is_closed_cleans_up_within_its_span() -> None:
    cleaned: list[str] = []

    def clean() -> None:
        assert get_current_span().is_recording()
        cleaned.append("up")

    @spanwise.operation("o")
    def pieces() -> Iterator[int]:
        try:
            yield 1
        finally:
            clean()

    @spanwise.operation("o")
    async def apieces() -> AsyncIterator[int]:
        try:
            yield 1
        finally:
            await asyncio.sleep(0)
            clean()

    async def main() -> None:
        opened = apieces()
        await opened.__anext__()
        await opened.aclose()  # type: ignore[attr-defined]
        assert cleaned == ["up", "up"], "it is not closed when its consumer has closed it"

    generator = pieces()
    next(generator)
    generator.close()  # type: ignore[attr-defined]
    asyncio.run(main())


def test_a_generator_goes_on_in_another_context(observed: Any, caplog: pytest.LogCaptureFixture) -> None:
    """As a server does that asks for the first piece in one thread and for the next in another."""
    generator = spanwise.operation("talk")(talk)(["a", "b"])
    Context().run(next, generator)
    copy_context().run(next, generator)
    assert list(generator) == []
    assert not get_current_span().is_recording()
    assert observed.span().name == "talk"
    assert caplog.text == ""


def test_wrong_arguments_raise_before_anything_begins(observed: Any) -> None:
    async def waits(_: int) -> None: ...

    async def apieces(_: int) -> AsyncIterator[int]:
        yield 1

    decorate = spanwise.operation("o")
    with pytest.raises(TypeError, match="unexpected keyword"):
        decorate(lambda: None)(wrong=1)  # type: ignore[call-arg]
    assert len(observed.spans()) == 1, "a function's own TypeError looks the same"
    with pytest.raises(TypeError, match="missing 1 required"):
        next(decorate(talk)())  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="missing 1 required"):
        asyncio.run(decorate(waits)())  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="missing 1 required"):
        asyncio.run(decorate(apieces)().__anext__())  # type: ignore[call-arg, arg-type]
    assert len(observed.spans()) == 1


def test_what_a_closed_generator_returns_is_the_same(observed: Any) -> None:
    """Python gives it to whoever closes since 3.13."""

    def pieces() -> Iterator[int]:
        try:
            yield 1
        except GeneratorExit:
            return "value"  # type: ignore[return-value]

    plain, decorated = pieces(), spanwise.operation("o")(pieces)()
    next(plain)
    next(decorated)
    assert decorated.close() == plain.close()  # type: ignore[attr-defined]
    assert observed.span().status.status_code is StatusCode.UNSET


def test_methods_of_a_class_and_static_ones(observed: Any) -> None:
    class Shop:
        @spanwise.operation()
        @staticmethod
        def static(x: int) -> tuple[int, bool]:
            return x, get_current_span().is_recording()

        @staticmethod
        @spanwise.operation()
        def inner_static(x: int) -> tuple[int, bool]:
            return x, get_current_span().is_recording()

        @spanwise.operation()
        @classmethod
        def of_class(cls, x: int) -> tuple[type, int]:
            return cls, x

        @classmethod
        @spanwise.operation()
        def inner_of_class(cls, x: int) -> tuple[type, int]:
            return cls, x

    for shop in (Shop, Shop()):
        assert shop.static(1) == shop.inner_static(1) == (1, True)
        assert shop.of_class(2) == shop.inner_of_class(2) == (Shop, 2)
    spans = [span.name.rpartition(".")[2] for span in observed.spans()]
    assert spans == ["static", "inner_static", "of_class", "inner_of_class"] * 2


def test_what_can_be_called_is_of_the_sort_of_its_call(
    observed: Any, caplog: pytest.LogCaptureFixture
) -> None:
    class Load:
        async def __call__(self) -> bool:
            await asyncio.sleep(0)
            return get_current_span().is_recording()

    class Pieces:
        def __call__(self) -> Iterator[bool]:
            yield get_current_span().is_recording()

    load = spanwise.operation()(Load())
    assert inspect.iscoroutinefunction(load)
    assert asyncio.run(load())
    assert list(spanwise.operation()(Pieces())()) == [True]
    assert spanwise.operation()(functools.partial(int, "7"))() == 7
    later: Any = spanwise.operation()(functools.partial(Load.__call__, Load()))
    assert asyncio.run(later())
    assert [span.name.rpartition(".")[2] for span in observed.spans()] == [
        "Load",
        "Pieces",
        "int",
        "__call__",
    ]
    assert caplog.text == ""


def test_the_cache_of_a_function_can_still_be_cleared(observed: Any) -> None:
    @spanwise.operation()
    @functools.lru_cache
    def answer(_: int) -> object:
        return object()

    first = answer(1)
    assert answer(1) is first
    assert answer.cache_info().hits == 1  # type: ignore[attr-defined]
    answer.cache_clear()  # type: ignore[attr-defined]
    assert answer(1) is not first
    assert len(observed.spans()) == 3


def test_no_exception_outlives_its_handler() -> None:
    @spanwise.operation("o")
    def steadfast() -> Iterator[int]:
        while True:
            with contextlib.suppress(Odd):
                yield 1

    generator = steadfast()
    next(generator)
    error = Odd()
    gone = weakref.ref(error)
    generator.throw(error)  # type: ignore[attr-defined]
    error.__traceback__ = None
    del error
    gc.collect()
    assert gone() is None
