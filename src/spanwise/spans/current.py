"""start_as_current_span's context manager and decorator, as a class: generators cost three times as much."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar, cast

from opentelemetry.context import Context, detach
from opentelemetry.trace import Span as ApiSpan
from opentelemetry.trace import Status, StatusCode

from spanwise.context import SPAN_KEY, attach_context, detach_context, get_context
from spanwise.spans.arguments import is_true
from spanwise.spans.faults import told

if TYPE_CHECKING:
    from opentelemetry.trace import Tracer

__all__ = ["CurrentSpan"]

_set = dict.__setitem__

AnyFunction = TypeVar("AnyFunction", bound=Callable[..., Any])


class CurrentSpan:
    """Starts a span when its block is entered, makes it the current one, and ends it when the block is left.

    As a decorator of a function or a coroutine function it does so for every call. An exception
    that leaves the block is recorded on the span as configured, and goes on.

    Args:
        tracer: makes the span.
        arguments: the positional arguments of its ``start_span``, all eight: the last two say whether
            an exception becomes an event of the span, and whether it sets its status.
        end_on_exit: whether leaving the block ends the span.
    """

    __slots__ = ("_arguments", "_end_on_exit", "_span", "_token", "_tracer")

    def __init__(self, tracer: Tracer, arguments: tuple[Any, ...], end_on_exit: bool) -> None:
        self._tracer = tracer
        self._arguments = arguments
        self._end_on_exit = end_on_exit
        self._span: ApiSpan | None = None

    def __enter__(self) -> ApiSpan:
        if self._span is not None:
            raise RuntimeError("this span is already current; call start_as_current_span for each block")
        span = self._span = self._tracer.start_span(*self._arguments)
        # What opentelemetry.trace.set_span_in_context does, with one copy of the context instead of two.
        context = Context(get_context())
        _set(context, SPAN_KEY, span)  # a Context refuses to be changed, for good reason once others have it
        self._token = attach_context(context)
        return span

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> None:
        span = self._span
        if span is None:
            return  # never entered
        self._span = None
        try:
            detach_context(self._token)
        except Exception:
            detach(self._token)  # fails again, and logs it as the API does
        if exc_val is None:
            if self._end_on_exit:
                span.end()
            return
        try:
            # Not BaseException: GeneratorExit, for one, is no error (the API's use_span does the same).
            if isinstance(exc_val, Exception) and span.is_recording():
                *_, record_exception, set_status_on_exception = self._arguments
                if is_true(record_exception):
                    span.record_exception(exc_val)
                if is_true(set_status_on_exception):
                    description = f"{type(exc_val).__name__}: {told(exc_val)[0]}"
                    span.set_status(Status(StatusCode.ERROR, description))
        finally:
            if self._end_on_exit:
                span.end()

    def __call__(self, function: AnyFunction) -> AnyFunction:
        if inspect.iscoroutinefunction(function):

            @functools.wraps(function)
            async def in_span_async(*args: Any, **kwargs: Any) -> Any:
                with self._again():
                    return await function(*args, **kwargs)

            return cast(AnyFunction, in_span_async)

        @functools.wraps(function)
        def in_span(*args: Any, **kwargs: Any) -> Any:
            with self._again():
                return function(*args, **kwargs)

        return cast(AnyFunction, in_span)

    def _again(self) -> CurrentSpan:
        return CurrentSpan(self._tracer, self._arguments, self._end_on_exit)
