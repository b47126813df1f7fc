"""A plugin's part of a hook call: a span for each implementation that runs, to the end of what it returns.

A plain implementation is a call. One that wraps the others is a generator that pluggy steps through: its span
lasts from its first step to its last. A result that is to be awaited ends span and hook call when it is done.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextvars import ContextVar
from time import perf_counter_ns
from types import GeneratorType
from typing import Any, Final

from opentelemetry.context import Context
from opentelemetry.trace import SpanKind

from spanwise import names
from spanwise.context import SPAN_KEY, attach_context, get_context
from spanwise.instrumentors._awaited import awaited
from spanwise.instrumentors._call import NO_CALL, Call
from spanwise.instrumentors._calls import Calls
from spanwise.instrumentors._classes import Function
from spanwise.instrumentors._failure import told_message, type_name
from spanwise.instrumentors._traceback import passed_over, unseen
from spanwise.instrumentors._within import Within, leave, moved
from spanwise.meters.plugins import labels_of, plugin_name

__all__ = ["HookCall", "Implementation", "OwnTime", "hook_call"]

_INTERNAL: Final = SpanKind.INTERNAL
# Results that nobody awaits, as most are: looked up before anything else is asked of them.
_PLAIN: Final = frozenset((type(None), bool, int, float, str, bytes, list, tuple, dict, set))

OwnTime = Callable[[float, Any], None]
"""Records a wrapper's seconds, without what it wraps, by labels."""


class HookCall:
    """A hook call under way.

    Attributes:
        call: its span.
        waiting: an entry for each result that is still to be awaited; None where there never was one.
        error: what the first of those raised.
        told: the exception that an implementation's span tells of.
    """

    # Of the class: setting them on each would cost half as much as the object.
    waiting: list[int] | None = None
    error: BaseException | None = None
    told: BaseException | None = None
    returned = False

    def __init__(self, call: Call) -> None:
        self.call = call
        self._outer = call.context
        self._context = call.current

    def context(self) -> Context:
        """In which an implementation's span starts: below the hook call's, with what wrappers attached."""
        now = get_context()
        if now is self._outer:
            return self._context
        return moved(now, self._outer.get(SPAN_KEY), self.call.span)

    def wait(self) -> None:
        """One more implementation has returned something to be awaited."""
        if self.waiting is None:
            # Thrown once by whoever ends the call: futures may end on several threads at once.
            self.waiting, self._claim = [], [True]
        self.waiting.append(0)

    def arrived(self, error: BaseException | None, dropped: bool = False) -> None:
        """One that was waited for is done, or was dropped."""
        if error is not None and self.error is None:
            self.error = self.told = error
        if self.waiting is not None:
            self.waiting.pop()
            self._settle(dropped)

    def end(self) -> None:
        """The hook call has returned."""
        if self.waiting is None:
            self.call.end()
        else:
            self.returned = True
            self._settle()

    def _settle(self, dropped: bool = False) -> None:
        if self.returned and not self.waiting:
            try:
                self._claim.pop()
            except IndexError:
                return
            if dropped:
                self.call.drop(self._end)
            else:
                self._end()

    def _end(self) -> None:
        if self.error is None:
            self.call.end()
        else:
            self.fail(self.error)

    def fail(self, error: BaseException) -> None:
        """It ended by this exception. Where an implementation's span has it, the stack trace is there."""
        if error is self.told:
            self.call.fail(None, error_type=type_name(error), message=told_message(error))
        else:
            self.call.fail(error)


hook_call: ContextVar[HookCall | None] = ContextVar("spanwise-hook-call", default=None)


class Implementation:
    """What does not change from one call of an implementation to the next."""

    __slots__ = ("_wraps", "attributes", "calls", "function", "labels", "name", "own_time")

    def __init__(self, calls: Calls, own_time: OwnTime, project: Any, hook: str, implementation: Any) -> None:
        plugin = plugin_name(implementation.plugin_name, implementation.plugin)
        self.calls, self.own_time = calls, own_time
        # The new style is there from pluggy 1.2.
        self._wraps = implementation.hookwrapper or getattr(implementation, "wrapper", False)
        self.function: Function = implementation.function
        self.name = f"{hook} {plugin}"
        self.labels = {**labels_of(project, plugin), names.PLUGIN_HOOK: hook}
        self.attributes = {**self.labels, names.OPERATION_KIND: names.OPERATION_KIND_PLUGIN_CALL}
        module, qualified = (getattr(self.function, key, None) for key in ("__module__", "__qualname__"))
        if qualified:
            self.attributes[names.CODE_FUNCTION_NAME] = f"{module}.{qualified}" if module else qualified

    def observed(self) -> Function:
        """What to call in place of its function."""
        return _wrapping(self) if self._wraps else _calling(self)

    def start(self, labels: Any) -> Call:
        """Starts its span."""
        current = hook_call.get()
        # None where something else executes the implementations on another thread.
        context = None if current is None else current.context()
        return self.calls.start(
            self.name, self.attributes, kind=_INTERNAL, metric_attributes=labels, context=context
        )


@passed_over
def _calling(about: Implementation) -> Function:
    """A plain implementation."""
    function, labels, begin = about.function, about.labels, about.start

    def call(*args: Any, **kwargs: Any) -> Any:
        __tracebackhide__ = True
        span = begin(labels)
        token = None
        if span is not NO_CALL:
            before, inside = get_context(), span.current
            token = attach_context(inside)
        try:
            result = function(*args, **kwargs)
        except BaseException as error:
            if token is not None:
                leave(before, inside, token)
            unseen(error)
            span.fail(error)
            current = hook_call.get()
            if current is not None:
                current.told = error
            raise
        if token is None:
            return result
        leave(before, inside, token)
        if type(result) not in _PLAIN:
            later = _later(about, span, result)
            if later is not None:
                return later
        span.end()
        return result

    return call


def _later(about: Implementation, span: Call, result: Any) -> Any:
    """What stands for a result that is to be awaited; None for any other."""
    current = hook_call.get()

    def done(error: BaseException | None, dropped: bool) -> None:
        if error is not None:
            span.fail(error)
        elif dropped:
            span.drop(span.end)
        else:
            span.end()
        if current is not None:
            current.arrived(error, dropped)

    later = None
    if current is not None:
        current.wait()  # first: a future that is done says so at once
    try:
        later = awaited(result, span.span, done)
    except Exception as error:
        about.calls.warn("await a hook's result", error)
    if later is None and current is not None:
        current.arrived(None)
    return later


@passed_over
def _wrapping(about: Implementation) -> Function:
    """One that wraps the others, by a generator: its span lasts from its first step to its last."""
    function = about.function
    about.attributes[names.PLUGIN_WRAPPER] = True

    def call(*args: Any, **kwargs: Any) -> Any:
        __tracebackhide__ = True
        try:
            made = function(*args, **kwargs)
        except BaseException as error:
            unseen(error)
            raise
        if not isinstance(made, GeneratorType):
            return made  # pluggy says what is wrong with it
        span = about.start(None)
        return made if span is NO_CALL else _Wrapper(made, span, about)

    return call


@passed_over
def _stepping(name: str) -> Function:
    """A generator's method of that name, run within the wrapper's span and on its clock."""

    def step(wrapper: _Wrapper, *args: Any) -> Any:
        __tracebackhide__ = True
        began = perf_counter_ns()
        wrapper.within.enter()
        try:
            result = getattr(wrapper.generator, name)(*args)
        except BaseException as error:
            wrapper.within.leave()
            wrapper.own += perf_counter_ns() - began
            unseen(error)
            wrapper.end(None if isinstance(error, StopIteration) else error)
            raise
        wrapper.within.leave()
        wrapper.own += perf_counter_ns() - began
        return result

    return step


class _Wrapper:
    """A wrapper's generator, as far as pluggy uses it.

    Attributes:
        generator: it.
        within: its span, for each step.
        own: nanoseconds that it ran itself.
    """

    __slots__ = ("_about", "_span", "generator", "own", "within")

    def __init__(self, generator: Generator[Any, Any, Any], span: Call, about: Implementation) -> None:
        self.generator, self._span, self._about = generator, span, about
        self.within = Within(span.span)
        self.own = 0

    __next__ = _stepping("__next__")
    send = _stepping("send")
    throw = _stepping("throw")
    _close = _stepping("close")

    def __iter__(self) -> Any:
        return self

    def __getattr__(self, name: str) -> Any:
        return getattr(self.generator, name)  # gi_code, for pluggy's messages

    @passed_over
    def close(self) -> None:
        __tracebackhide__ = True
        try:
            self._close()
        except BaseException as error:
            unseen(error)
            raise
        self.end(None)

    def end(self, error: BaseException | None) -> None:
        """Its last step is done. An exception of another one that passes through is no failure of its."""
        about, span = self._about, self._span
        if span.ended:
            return
        seconds = self.own / 1e9
        labels = about.labels
        try:
            span.span.set_attribute(names.PLUGIN_OWN_TIME, seconds)
            current = hook_call.get()
            if error is None or (current is not None and current.told is error):
                span.end()
            else:
                span.fail(error)
                labels = {**labels, names.ERROR_TYPE: type_name(error)}
                if current is not None:
                    current.told = error
            about.own_time(seconds, labels)
        except Exception as problem:
            about.calls.warn("end a wrapper's span", problem)
