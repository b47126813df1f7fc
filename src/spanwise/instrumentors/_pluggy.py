"""Hook calls: a span for each, with a child for each implementation that runs.

pluggy's public ``add_hookcall_monitoring`` sees hook calls alone, not what an implementation does, and it
raises an exception anew, with four entries of its own in the traceback. So each manager's executor is
replaced here: ``PluginManager._inner_hookexec``, the attribute that the public method sets too. It is the one
private name; it is the same from pluggy 1.0 to 1.7 (tests/integration/test_pluggy_versions.py). An
implementation is observed by a copy of its ``HookImpl`` with another ``function``, made for the executor
alone: what ``get_hookimpls()`` gives stays as it is.

Limits. Entries in the stack are ours while an implementation runs: a warning whose ``stacklevel`` reaches
past the implementation names another line. Awaitables: see :mod:`spanwise.instrumentors._awaited`.

What runs in between must be neither slower than it has to be nor seen: names and attributes are made once for
each hook and implementation, and our functions take themselves out of tracebacks.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Generator, Sequence
from contextvars import ContextVar
from time import perf_counter_ns
from types import GeneratorType
from typing import Any, Final

from opentelemetry.trace import SpanKind

from spanwise import names
from spanwise.context import attach_context, detach_context
from spanwise.instrumentors._awaited import awaited
from spanwise.instrumentors._call import NO_CALL, Call, Calls, message_of, type_name
from spanwise.instrumentors._traceback import unseen
from spanwise.meters.plugins import labels_of, plugin_name

__all__ = ["EXECUTOR", "Executor", "Observer"]

EXECUTOR: Final = "_inner_hookexec"

_INTERNAL: Final = SpanKind.INTERNAL
_HOOK: Final = "plugin.hook"  # as spanwise.operation.kind
_CALL: Final = "plugin.call"
# Results that nobody awaits, as most are: looked up before anything else is asked of them.
_PLAIN: Final = frozenset((type(None), bool, int, float, str, bytes, list, tuple, dict, set))
# Hooks of one manager that are told apart; pytest with all its plugins has some 100.
_MOST_HOOKS: Final = 1_000

Function = Callable[..., Any]


class _Running:
    """A hook call under way.

    Attributes:
        call: its span.
        context: in which that is the current one.
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
        self.context = call.current

    def wait(self) -> None:
        """One more implementation has returned something to be awaited."""
        if self.waiting is None:
            # Thrown once by whoever ends the call: futures may end on several threads at once.
            self.waiting, self._claim = [], [True]
        self.waiting.append(0)

    def arrived(self, error: BaseException | None) -> None:
        """One that was waited for is done."""
        if error is not None and self.error is None:
            self.error = self.told = error
        if self.waiting is not None:
            self.waiting.pop()
            self._settle()

    def end(self) -> None:
        """The hook call has returned."""
        if self.waiting is None:
            self.call.end()
        else:
            self.returned = True
            self._settle()

    def _settle(self) -> None:
        if self.returned and not self.waiting:
            try:
                self._claim.pop()
            except IndexError:
                return
            if self.error is None:
                self.call.end()
            else:
                self.fail(self.error)

    def fail(self, error: BaseException) -> None:
        """It ended by this exception. Where an implementation's span has it, the stack trace is there."""
        if error is self.told:
            self.call.fail(None, error_type=type_name(error), message=message_of(error))
        else:
            self.call.fail(error)


_running: ContextVar[_Running | None] = ContextVar("spanwise-hook-call", default=None)


class Observer:
    """What is the same for all managers.

    Args:
        hooks: starts the spans of hook calls.
        calls: starts those of implementations.
        own_time: records a wrapper's seconds, without what it wraps.
        excluded: tells by a hook's name whether it is left alone.
    """

    def __init__(
        self,
        hooks: Calls,
        calls: Calls,
        own_time: Callable[[float, Any], None],
        excluded: Callable[[str], bool],
    ) -> None:
        self.hooks, self.calls, self.own_time, self.excluded = hooks, calls, own_time, excluded


class _Implementation:
    """What does not change from one call of an implementation to the next."""

    __slots__ = ("attributes", "function", "labels", "name", "observer")

    def __init__(self, observer: Observer, project: Any, hook: str, implementation: Any) -> None:
        plugin = plugin_name(implementation.plugin_name, implementation.plugin)
        self.observer = observer
        self.function: Function = implementation.function
        self.name = f"{hook} {plugin}"
        self.labels = {**labels_of(project, plugin), names.PLUGIN_HOOK: hook}
        self.attributes = {**self.labels, names.OPERATION_KIND: _CALL}
        module, qualified = (getattr(self.function, key, None) for key in ("__module__", "__qualname__"))
        if qualified:
            self.attributes[names.CODE_FUNCTION_NAME] = f"{module}.{qualified}" if module else qualified

    def start(self, labels: Any) -> Call:
        running = _running.get()
        # None where something else executes the implementations on another thread.
        context = None if running is None else running.context
        return self.observer.calls.start(
            self.name, self.attributes, kind=_INTERNAL, metric_attributes=labels, context=context
        )


class Executor:
    """Executes the hook calls of one manager, observed.

    Args:
        observer: what is the same for all.
        project: the manager's.
        inner: what executed them so far.
    """

    def __init__(self, observer: Observer, project: Any, inner: Function) -> None:
        self._observer, self._project = observer, project
        self.inner = inner
        self.execute = self._executing()
        self._known: dict[int, tuple[Any, Any]] = {}
        self._hooks: dict[str, dict[str, Any] | None] = {}

    def forget(self) -> None:
        """Lets go of all implementations: a plugin was unregistered and should not live on here."""
        self._known.clear()

    def _hook(self, name: str) -> dict[str, Any] | None:
        """Attributes of a hook; None for one that is left alone."""
        if len(self._hooks) >= _MOST_HOOKS:
            self._hooks.clear()
        found: dict[str, Any] | None = {
            names.PLUGIN_PROJECT: str(self._project),
            names.PLUGIN_HOOK: name,
            names.OPERATION_KIND: _HOOK,
        }
        if self._observer.excluded(name):
            found = None
        self._hooks[name] = found
        return found

    def _observed(self, hook: str, implementation: Any) -> Any:
        """A copy of an implementation that tells when it runs."""
        about = _Implementation(self._observer, self._project, hook, implementation)
        wraps = implementation.hookwrapper or getattr(implementation, "wrapper", False)
        observed = copy.copy(implementation)
        observed.function = _wrapping(about) if wraps else _calling(about)
        if implementation.plugin is not None:  # one of call_extra's is made for one call
            self._known[id(implementation)] = (implementation, observed)
        return observed

    def _prepared(self, hook: str, implementations: Sequence[Any]) -> list[Any]:
        found = []
        known = self._known
        for each in implementations:
            # It keeps the implementation, so that no other one can have its id.
            held = known.get(id(each))
            found.append(self._observed(hook, each) if held is None else held[1])
        return found

    def _executing(self) -> Function:
        observer, inner = self._observer, self.inner
        hooks, start = observer.hooks, observer.hooks.start
        set_running, reset_running = _running.set, _running.reset

        def execute(hook: str, implementations: Sequence[Any], kwargs: Any, firstresult: bool) -> Any:
            __tracebackhide__ = True
            running = None
            # One without an implementation does nothing.
            if implementations and hooks.open:
                try:
                    attributes = self._hooks[hook] if hook in self._hooks else self._hook(hook)
                    if attributes is not None:
                        prepared = self._prepared(hook, implementations)
                        call = start(hook, attributes, kind=_INTERNAL)
                        if call is not NO_CALL:
                            running = _Running(call)
                            implementations = prepared
                except Exception as error:
                    hooks.warn("observe a hook call", error)
            token = set_running(running)
            try:
                result = inner(hook, implementations, kwargs, firstresult)
            except BaseException as error:
                reset_running(token)
                unseen(error)
                if running is not None:
                    running.fail(error)
                raise
            reset_running(token)
            if running is not None:
                running.end()
            return result

        return execute


def _calling(about: _Implementation) -> Function:
    """A plain implementation."""
    function, labels, begin = about.function, about.labels, about.start

    def call(*args: Any, **kwargs: Any) -> Any:
        __tracebackhide__ = True
        span = begin(labels)
        token = None if span is NO_CALL else attach_context(span.current)
        try:
            result = function(*args, **kwargs)
        except BaseException as error:
            if token is not None:
                detach_context(token)
            unseen(error)
            span.fail(error)
            running = _running.get()
            if running is not None:
                running.told = error
            raise
        if token is None:
            return result
        detach_context(token)
        if type(result) not in _PLAIN:
            later = _later(about, span, result)
            if later is not None:
                return later
        span.end()
        return result

    return call


def _later(about: _Implementation, span: Call, result: Any) -> Any:
    """What stands for a result that is to be awaited; None for any other."""
    running = _running.get()

    def done(error: BaseException | None) -> None:
        if error is None:
            span.end()
        else:
            span.fail(error)
        if running is not None:
            running.arrived(error)

    later = None
    if running is not None:
        running.wait()  # first: a future that is done says so at once
    try:
        later = awaited(result, span.current, done)
    except Exception as error:
        about.observer.calls.warn("await a hook's result", error)
    if later is None and running is not None:
        running.arrived(None)
    return later


def _wrapping(about: _Implementation) -> Function:
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


def _stepping(name: str) -> Function:
    """A generator's method of that name, run within the wrapper's span and on its clock."""

    def step(wrapper: _Wrapper, *args: Any) -> Any:
        __tracebackhide__ = True
        began = perf_counter_ns()
        token = attach_context(wrapper.context)
        try:
            result = getattr(wrapper.generator, name)(*args)
        except BaseException as error:
            detach_context(token)
            wrapper.own += perf_counter_ns() - began
            unseen(error)
            wrapper.end(None if isinstance(error, StopIteration) else error)
            raise
        detach_context(token)
        wrapper.own += perf_counter_ns() - began
        return result

    return step


class _Wrapper:
    """A wrapper's generator, as far as pluggy uses it.

    Attributes:
        generator: it.
        context: in which its span is the current one.
        own: nanoseconds that it ran itself.
    """

    __slots__ = ("_about", "_span", "context", "generator", "own")

    def __init__(self, generator: Generator[Any, Any, Any], span: Call, about: _Implementation) -> None:
        self.generator, self._span, self._about = generator, span, about
        self.context = span.current
        self.own = 0

    __next__ = _stepping("__next__")
    send = _stepping("send")
    throw = _stepping("throw")
    _close = _stepping("close")

    def __iter__(self) -> Any:
        return self

    def __getattr__(self, name: str) -> Any:
        return getattr(self.generator, name)  # gi_code, for pluggy's messages

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
            running = _running.get()
            if error is None or (running is not None and running.told is error):
                span.end()
            else:
                span.fail(error)
                labels = {**labels, names.ERROR_TYPE: type_name(error)}
                if running is not None:
                    running.told = error
            about.observer.own_time(seconds, labels)
        except Exception as problem:
            about.observer.calls.warn("end a wrapper's span", problem)
