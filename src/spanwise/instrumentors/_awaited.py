"""Results that are not there yet: ends a call when a coroutine, a future or an async generator is done.

What is returned in place of a coroutine is a coroutine, in place of an async generator an async generator, so
that ``inspect`` and event loops take it for what it was; it has the same name. Its code object and frame are
ours. A future is returned as it is. Other awaitables (objects with ``__await__``) are left alone: their call
ends when it returns.
"""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import AsyncGenerator, Callable, Coroutine
from types import AsyncGeneratorType, CoroutineType
from typing import Any, Final

from opentelemetry.trace import Span

from spanwise.instrumentors._traceback import unseen
from spanwise.instrumentors._within import Within

__all__ = ["Done", "awaited"]

Done = Callable[["BaseException | None", bool], None]
"""Called once with what was raised, None for a success, and whether a finalizer may be what calls: then spans
are not to be ended, nor metrics recorded, at once. Must not raise."""

_dying: Final[set[weakref.ref[Any]]] = set()


def awaited(result: Any, span: Span, done: Done) -> Any:
    """What to give the application in place of a result that is to be awaited.

    Args:
        result: what was returned, not None.
        span: the current one while the result is made, in the context of whoever awaits it.
        done: told of the end; not called where the result is dropped before it is done.

    Returns:
        The replacement; None where the result is there already.
    """
    if isinstance(result, CoroutineType):
        wrapped = _coroutine(result, span, done)
        _name(wrapped, result)
        _close_with(wrapped, result)
        return wrapped
    if isinstance(result, AsyncGeneratorType):
        generator = _generator(result, span, done)
        _name(generator, result)
        return generator
    # Without exception() it is another thing of that name: a call of grpc.aio has the first method alone.
    if all(callable(getattr(type(result), each, None)) for each in ("add_done_callback", "exception")):
        result.add_done_callback(lambda future: done(_outcome(future), False))
        return result
    return None


def _name(ours: Any, theirs: Any) -> None:
    ours.__name__, ours.__qualname__ = theirs.__name__, theirs.__qualname__


def _close_with(ours: Any, theirs: Any) -> None:
    """One that is never awaited warns of that once: the inner one is closed before it could warn too."""

    def close(dead: Any) -> None:
        _dying.discard(dead)
        with contextlib.suppress(BaseException):
            theirs.close()

    _dying.add(weakref.ref(ours, close))


async def _coroutine(inner: Coroutine[Any, Any, Any], span: Span, done: Done) -> Any:
    __tracebackhide__ = True
    within = Within(span)
    within.enter()
    try:
        result = await inner
    except BaseException as error:
        dropped = isinstance(error, GeneratorExit)
        # A finalizer runs in a context that is not its own, and that must stay.
        if not dropped or within.is_current:
            within.leave()
        done(error, dropped)
        unseen(error)
        raise
    within.leave()
    done(None, False)
    return result


async def _generator(inner: AsyncGenerator[Any, Any], span: Span, done: Done) -> AsyncGenerator[Any, Any]:
    __tracebackhide__ = True
    within = Within(span)
    step: Coroutine[Any, Any, Any] = _step(inner.__anext__(), within)
    try:
        while True:
            value = await step
            try:
                sent = yield value
            except GeneratorExit:
                await _step(inner.aclose(), within)
                raise
            except BaseException as error:
                step = _step(inner.athrow(error), within)
            else:
                step = _step(inner.asend(sent), within)
    except StopAsyncIteration:
        done(None, False)
    except GeneratorExit:
        done(None, True)  # the consumer has what it wanted
        raise
    except BaseException as error:
        done(error, False)
        unseen(error)
        raise


async def _step(step: Any, within: Within) -> Any:
    """One step of a generator. Between two the consumer's context holds."""
    __tracebackhide__ = True
    within.enter()
    try:
        return await step
    except BaseException as error:
        unseen(error)
        raise
    finally:
        within.leave()


def isfuture(value: Any) -> bool:
    """Whether it is a future or task of asyncio's, by their protocol's marker: asyncio is not imported."""
    return getattr(type(value), "_asyncio_future_blocking", None) is not None


def _outcome(future: Any) -> BaseException | None:
    # Asking asyncio's for the exception counts as having seen it, and then a failure that nobody looks at is
    # not logged. Its attribute is private, and the same from Python 3.10 to 3.13 in both implementations.
    if isfuture(future) and not future.cancelled() and hasattr(future, "_exception"):
        hidden: BaseException | None = future._exception
        return hidden
    try:
        error: BaseException | None = future.exception()
    except BaseException as cancelled:  # a cancelled future raises what it was cancelled with
        return cancelled
    return error
