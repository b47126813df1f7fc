"""Runs a generator or a coroutine step by step: what it does is measured, what it waits for is not.

Between two steps others run in the same thread: other tasks, or whoever asks the generator for its next item.
They must find neither its span as their current one nor their CPU time on its account.
"""

from __future__ import annotations

import functools
import inspect
import types
from collections.abc import Callable, Generator
from typing import Any, Final, Protocol

from spanwise.instrumentors._traceback import passed_over

__all__ = ["Stepped", "observed"]

_OF_CACHES: Final = ("cache_clear", "cache_info")


class Stepped(Protocol):
    """What is told of the steps. Nothing of it raises."""

    def start(self) -> Any:
        """Before the first step."""

    def enter_step(self) -> None:
        """A step begins."""

    def leave_step(self) -> None:
        """The step is over; another may come."""

    def item(self, item: Any) -> None:
        """A generator yielded this."""

    def result(self, result: Any) -> None:
        """It returned this."""

    def stop(self) -> None:
        """All went well."""

    def raised(self, error: BaseException) -> None:
        """It raised this, or was closed by its consumer (GeneratorExit)."""


@passed_over
def _steps(
    run: Stepped, inner: Any, each: Callable[[Any], None] | None = None, closed: list[Any] | None = None
) -> Generator[Any, Any, Any]:
    """Yields what ``inner`` yields, hands on what it is sent and thrown, returns what it returns.

    Since Python 3.13 ``close()`` gives what the generator then returns, but no ``yield from`` hands that on:
    it goes into ``closed``.
    """
    step, given = inner.send, None
    while True:
        run.enter_step()
        try:
            yielded = step(given)
        except StopIteration as done:
            return done.value
        finally:
            run.leave_step()
            given = None  # an exception here would hold this frame, and that the exception
        if each is not None:
            each(yielded)
        try:
            given = yield yielded
            step = inner.send
        except GeneratorExit:
            run.enter_step()
            try:
                answer = inner.close()
            finally:
                run.leave_step()
            if closed is not None and answer is not None:
                closed.append(answer)
            raise
        except BaseException as error:
            given, step = error, inner.throw


@passed_over
def _observe(
    run: Stepped, inner: Any, each: Callable[[Any], None] | None = None, closed: list[Any] | None = None
) -> Generator[Any, Any, Any]:
    """Stands for a generator, or for a coroutine, from its first step to its end."""
    run.start()
    try:
        result = yield from _steps(run, inner, each, closed)
    except BaseException as error:
        run.raised(error)
        raise
    run.result(result)
    run.stop()
    return result


_observe_coroutine: Any = types.coroutine(_observe)
_await: Any = types.coroutine(_steps)


@passed_over
def observed(function: Callable[..., Any], run_of: Callable[[tuple[Any, ...], dict[str, Any]], Any]) -> Any:
    """A function of the same sort as ``function`` that does the same, observed.

    A wrong call of a coroutine or generator function raises at the first step, not at the call: a function of
    that sort runs nothing before.

    Args:
        function: a function, a coroutine function, a generator or an asynchronous generator function.
        run_of: makes what is told, for one call, of its arguments.
    """
    # An object that can be called is of the sort of its class's method; a function's class has none of them.
    method = type(function).__call__
    if inspect.isasyncgenfunction(function) or inspect.isasyncgenfunction(method):
        return _of_async_generator(function, run_of)
    made: Any
    if inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(method):

        async def made(*args: Any, **kwargs: Any) -> Any:
            run = run_of(args, kwargs)
            return await _observe_coroutine(run, function(*args, **kwargs))

    elif inspect.isgeneratorfunction(function) or inspect.isgeneratorfunction(method):

        def made(*args: Any, **kwargs: Any) -> Any:
            run = run_of(args, kwargs)
            closed: list[Any] = []
            try:
                return (yield from _observe(run, function(*args, **kwargs), run.item, closed))
            except GeneratorExit:
                if closed:
                    return closed[0]
                raise

    else:

        def made(*args: Any, **kwargs: Any) -> Any:
            with run_of(args, kwargs) as run:
                result = function(*args, **kwargs)
                run.result(result)
                return result

    functools.update_wrapper(made, function)
    for name in _OF_CACHES:
        # Methods of lru_cache's functions: what is in their __dict__ comes by itself.
        if hasattr(function, name):
            setattr(made, name, getattr(function, name))
    return made


@passed_over
def _of_async_generator(
    function: Callable[..., Any], run_of: Callable[[tuple[Any, ...], dict[str, Any]], Any]
) -> Any:
    @functools.wraps(function)
    async def made(*args: Any, **kwargs: Any) -> Any:
        run = run_of(args, kwargs)
        inner = function(*args, **kwargs)
        run.start()
        try:
            asked = inner.asend(None)
            while True:
                try:
                    item = await _await(run, asked)
                except StopAsyncIteration:
                    break
                run.item(item)
                try:
                    sent = yield item
                except GeneratorExit:
                    await _await(run, inner.aclose())
                    raise
                except BaseException as error:
                    asked = inner.athrow(error)
                else:
                    asked = inner.asend(sent)
        except BaseException as error:
            run.raised(error)
            raise
        run.stop()

    return made
