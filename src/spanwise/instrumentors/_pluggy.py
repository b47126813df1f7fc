"""Hook calls: a span for each, with a child for each implementation that runs.

pluggy's public ``add_hookcall_monitoring`` sees hook calls alone, not what an implementation does, and it
raises an exception anew, with four entries of its own in the traceback. So each manager's executor is
replaced here: ``PluginManager._inner_hookexec``, the attribute that the public method sets too. It is the one
private name; it is the same from pluggy 1.0 to 1.7 (tests/integration/test_pluggy_versions.py). An
implementation is observed by a copy of its ``HookImpl`` with another ``function``, made for the executor
alone: what ``get_hookimpls()`` gives stays as it is.

Limits. Entries in the stack are ours while an implementation runs: code that counts frames itself sees them,
warnings pass over them (:mod:`spanwise.instrumentors._traceback`). Awaitables: see
:mod:`spanwise.instrumentors._awaited`.

What runs in between must be neither slower than it has to be nor seen: names and attributes are made once for
each hook and implementation, and our functions take themselves out of tracebacks.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from operator import getitem
from typing import Any, Final

from opentelemetry.trace import SpanKind

from spanwise import names
from spanwise.instrumentors._call import NO_CALL
from spanwise.instrumentors._calls import Calls
from spanwise.instrumentors._classes import Function
from spanwise.instrumentors._plugin_calls import HookCall, Implementation, OwnTime, hook_call
from spanwise.instrumentors._traceback import passed_over, unseen

__all__ = ["EXECUTOR", "Executor", "Observer"]

EXECUTOR: Final = "_inner_hookexec"

_INTERNAL: Final = SpanKind.INTERNAL
# Hooks of one manager that are told apart; pytest with all its plugins has some 100.
_MOST_HOOKS: Final = 1_000
_UNKNOWN: Final[dict[str, Any]] = {}


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
        own_time: OwnTime,
        excluded: Callable[[str], bool],
    ) -> None:
        self.hooks, self.calls, self.own_time, self.excluded = hooks, calls, own_time, excluded


class Executor:
    """Executes the hook calls of one manager, observed: what the manager is to call in place of the former.

    Args:
        observer: what is the same for all.
        manager: pluggy's.
        inner: what executed them so far.
    """

    def __init__(self, observer: Observer, manager: Any, inner: Function) -> None:
        self._observer, self._project = observer, manager.project_name
        self.manager, self.inner = manager, inner
        self._hook_calls = observer.hooks
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
            names.OPERATION_KIND: names.OPERATION_KIND_PLUGIN_HOOK,
        }
        if self._observer.excluded(name):
            found = None
        self._hooks[name] = found
        return found

    def _observed(self, hook: str, implementation: Any) -> Any:
        """A copy of an implementation that tells when it runs."""
        observer = self._observer
        about = Implementation(observer.calls, observer.own_time, self._project, hook, implementation)
        observed = copy.copy(implementation)
        observed.function = about.observed()
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

    def __reduce__(self) -> tuple[Any, ...]:
        # A manager that is pickled or copied in depth takes what it had before, not us.
        return getitem, ((self.inner,), 0)

    @passed_over
    def __call__(self, hook: str, implementations: Sequence[Any], kwargs: Any, firstresult: bool) -> Any:
        """Executes a hook's implementations."""
        __tracebackhide__ = True
        running = None
        hooks = self._hook_calls
        # One without an implementation does nothing.
        if implementations and hooks.open:
            try:
                attributes = self._hooks.get(hook, _UNKNOWN)
                if attributes is _UNKNOWN:
                    attributes = self._hook(hook)
                if attributes is not None:
                    prepared = self._prepared(hook, implementations)
                    call = hooks.start(hook, attributes, kind=_INTERNAL)
                    if call is not NO_CALL:
                        running = HookCall(call)
                        implementations = prepared
            except Exception as error:
                hooks.warn("observe a hook call", error)
        token = hook_call.set(running)
        try:
            result = self.inner(hook, implementations, kwargs, firstresult)
        except BaseException as error:
            hook_call.reset(token)
            unseen(error)
            if running is not None:
                running.fail(error)
            raise
        hook_call.reset(token)
        if running is not None:
            running.end()
        return result
