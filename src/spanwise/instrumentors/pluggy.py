"""pluggy 1.0 and newer: hook calls, each plugin's part of them, and how plugins are loaded.

Covers all plugin managers of the process, those made before too. Hook calls are observed by
:mod:`spanwise.instrumentors._pluggy`, loading by :mod:`spanwise.instrumentors._plugin_loads`: ``register()``,
and the import of an entry point where ``load_setuptools_entrypoints()`` does it. A module that the
application imports itself before it registers it is imported without us: that time is in no span of ours.
"""

from __future__ import annotations

import re
import weakref
from collections.abc import Callable, Iterable, Mapping
from fnmatch import translate
from importlib.metadata import EntryPoint
from typing import Any

from opentelemetry.metrics import get_meter
from opentelemetry.trace import get_tracer

from spanwise.instrumentors._abandoned import end_abandoned
from spanwise.instrumentors._calls import Calls
from spanwise.instrumentors._classes import Function, instances
from spanwise.instrumentors._library import LibraryInstrumentor
from spanwise.instrumentors._patches import Patches
from spanwise.instrumentors._pluggy import EXECUTOR, Executor, Observer
from spanwise.instrumentors._plugin_loads import Loads
from spanwise.instrumentors._traceback import passed_over, unseen
from spanwise.meters.plugins import PluginMeters

__all__ = ["PluggyInstrumentor"]


class PluggyInstrumentor(LibraryInstrumentor):
    """Traces pluggy. Used like any OpenTelemetry instrumentor::

        PluggyInstrumentor().instrument(excluded_hooks=("pytest_report_*",))

    Args:
        excluded_hooks: patterns (``*``, ``?``) of hooks that are left alone, or one text of them with commas.
    """

    library = "pluggy"
    since = (1, 0)
    module = "pluggy"

    def _observe(self, options: Mapping[str, Any]) -> _Observing:
        return _Observing(options)


class _Observing:
    """One `instrument()`."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        tracer = get_tracer(__name__, tracer_provider=options.get("tracer_provider"))
        meters = PluginMeters(get_meter(__name__, meter_provider=options.get("meter_provider")))
        self.loads = Calls("pluggy", tracer, meters.loads)
        self._loads = Loads(self.loads, meters)
        self.observer = Observer(
            Calls("pluggy", tracer),
            Calls("pluggy", tracer, meters.calls),
            meters.calls.record,
            _matcher(options.get("excluded_hooks") or ()),
        )
        # An executor lives and dies with its manager, which 1.1.0 gives no weak references of.
        self._executors: weakref.WeakValueDictionary[int, Executor] = weakref.WeakValueDictionary()
        self._patches = Patches()

    def attach(self, pluggy: Any, earlier: bool) -> None:
        """Observes all managers."""
        manager = pluggy.PluginManager
        replace = self._patches.replace
        replace(manager, "__init__", self._making)
        replace(manager, "unregister", self._unregistering)
        replace(manager, "register", self._loads.registering)
        replace(manager, "load_setuptools_entrypoints", self._loads.loading)
        replace(EntryPoint, "load", self._loads.importing)
        if earlier:
            for made in instances(manager):
                self._observe(made)

    def detach(self) -> None:
        """Leaves everything as it was found."""
        for calls in (self.loads, self.observer.hooks, self.observer.calls):
            calls.open = False
        # Where somebody monitors on top, that stays, and ours below it passes calls on.
        self._patches.restore()
        for executor in list(self._executors.values()):
            if getattr(executor.manager, EXECUTOR, None) is executor:
                setattr(executor.manager, EXECUTOR, executor.inner)
        self._executors.clear()
        end_abandoned()

    def warn(self, doing: str, error: BaseException) -> None:
        """See :meth:`spanwise.instrumentors._call.Calls.warn`."""
        self.loads.warn(doing, error)

    def _observe(self, made: Any) -> None:
        key = id(made)  # a subclass may compare its instances by value
        if key in self._executors:
            return
        executor = Executor(self.observer, made, getattr(made, EXECUTOR))
        setattr(made, EXECUTOR, executor)
        self._executors[key] = executor

    @passed_over
    def _making(self, original: Function) -> Function:
        def make(manager: Any, *args: Any, **kwargs: Any) -> None:
            try:
                original(manager, *args, **kwargs)
            except BaseException as error:
                unseen(error)
                raise
            if self.loads.open:
                try:
                    self._observe(manager)
                except Exception as error:
                    self.loads.warn("observe a plugin manager", error)

        return make

    @passed_over
    def _unregistering(self, original: Function) -> Function:
        def unregister(manager: Any, *args: Any, **kwargs: Any) -> Any:
            try:
                return original(manager, *args, **kwargs)
            except BaseException as error:
                unseen(error)
                raise
            finally:
                found = self._executors.get(id(manager))
                if found is not None:
                    found.forget()

        return unregister


def _matcher(patterns: str | Iterable[str]) -> Callable[[str], bool]:
    wanted = patterns.split(",") if isinstance(patterns, str) else [str(each) for each in patterns]
    texts = [each.strip() for each in wanted if each.strip()]
    if not texts:
        return lambda _name: False
    matches = re.compile("|".join(map(translate, texts))).match
    return lambda name: matches(name) is not None
