"""How plugins are loaded: a span for each, over its import and its registration, with memory growth.

The import is seen where ``load_setuptools_entrypoints()`` does it, by ``EntryPoint.load``: entry points that
anything else loads pass unobserved.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any

from opentelemetry.trace import SpanKind

from spanwise import names
from spanwise.context import attach_context, get_context
from spanwise.instrumentors._call import Call
from spanwise.instrumentors._calls import Calls
from spanwise.instrumentors._classes import Function
from spanwise.instrumentors._traceback import passed_over, unseen
from spanwise.instrumentors._within import leave
from spanwise.meters.plugins import PluginMeters, labels_of, plugin_name
from spanwise.meters.resident import resident_bytes

__all__ = ["Loads"]


class _Load:
    """A plugin being loaded."""

    __slots__ = ("_before", "_labels", "_meters", "call")

    def __init__(self, calls: Calls, meters: PluginMeters, project: Any, name: str) -> None:
        self._labels = labels_of(project, name)
        self._meters = meters
        self._before = resident_bytes()
        self.call: Call = calls.start(
            f"{names.OPERATION_KIND_PLUGIN_LOAD} {name}",
            {**self._labels, names.OPERATION_KIND: names.OPERATION_KIND_PLUGIN_LOAD},
            kind=SpanKind.INTERNAL,
            metric_attributes=self._labels,
        )

    def end(self) -> None:
        if self.call.ended:  # which it is, too, where nothing is to be observed
            return
        grown = resident_bytes() - self._before
        self.call.span.set_attribute(names.PLUGIN_LOAD_MEMORY, grown)
        self._meters.grown(grown, self._labels)
        self.call.end()


class _EntryPoints:
    """A manager's ``load_setuptools_entrypoints()`` under way.

    Attributes:
        load: of the plugin that was imported last and is not registered yet.
    """

    __slots__ = ("load", "project")

    def __init__(self, project: Any) -> None:
        self.project = project
        self.load: _Load | None = None


def _unregistered(entry_points: _EntryPoints, calls: Calls) -> None:
    """Ends the load of a plugin that was imported and not registered: its manager refuses it, as pytest does
    with names that are out of use."""
    load, entry_points.load = entry_points.load, None
    if load is not None:
        try:
            load.end()
        except Exception as error:
            calls.warn("end the loading of a plugin", error)


_under_way: ContextVar[_EntryPoints | None] = ContextVar("spanwise-plugin-entry-points", default=None)


class Loads:
    """What is to take the place of pluggy's functions.

    Args:
        calls: starts the spans.
        meters: records memory growth.
    """

    def __init__(self, calls: Calls, meters: PluginMeters) -> None:
        self._calls, self._meters = calls, meters

    def _begin(self, project: Any, name: object, plugin: object) -> _Load | None:
        if not self._calls.open:
            return None
        try:
            return _Load(self._calls, self._meters, project, plugin_name(name, plugin))
        except Exception as error:
            self._calls.warn("observe the loading of a plugin", error)
            return None

    @passed_over
    def _run(self, load: _Load | None, last: bool, function: Function, *args: Any) -> Any:
        """Calls a function within a load's span, which ends with the last one, or with one that raises."""
        if load is None:
            try:
                return function(*args)
            except BaseException as error:
                unseen(error)
                raise
        before, inside = get_context(), load.call.current
        token = attach_context(inside)
        try:
            result = function(*args)
        except BaseException as error:
            leave(before, inside, token)
            unseen(error)
            load.call.fail(error)
            raise
        leave(before, inside, token)
        if last:
            try:
                load.end()
            except Exception as error:
                self._calls.warn("end the loading of a plugin", error)
        return result

    def registering(self, original: Function) -> Function:
        """``PluginManager.register``."""

        def register(manager: Any, plugin: Any, name: Any = None) -> Any:
            load = None
            entry_points = _under_way.get()
            if entry_points is not None and entry_points.load is not None:
                load, entry_points.load = entry_points.load, None
            elif plugin is not None and self._calls.open:
                try:
                    known = name or manager.get_canonical_name(plugin)
                    if not manager.is_blocked(known):
                        load = self._begin(manager.project_name, known, plugin)
                except Exception as error:
                    self._calls.warn("observe the loading of a plugin", error)
            try:
                return self._run(load, True, original, manager, plugin, name)
            except BaseException as error:
                unseen(error)
                raise

        return register

    @passed_over
    def loading(self, original: Function) -> Function:
        """``PluginManager.load_setuptools_entrypoints``."""

        def load_setuptools_entrypoints(manager: Any, *args: Any, **kwargs: Any) -> Any:
            entry_points = _EntryPoints(manager.project_name)
            token = _under_way.set(entry_points)
            try:
                return original(manager, *args, **kwargs)
            except BaseException as error:
                unseen(error)
                raise
            finally:
                _under_way.reset(token)
                _unregistered(entry_points, self._calls)

        return load_setuptools_entrypoints

    def importing(self, original: Function) -> Function:
        """``EntryPoint.load``."""

        def load(entry_point: Any) -> Any:
            entry_points = _under_way.get()
            begun = None
            if entry_points is not None:
                _unregistered(entry_points, self._calls)
                begun = self._begin(entry_points.project, entry_point.name, None)
                # What the plugin loads while it is imported is no plugin.
                token = _under_way.set(None)
            try:
                found = self._run(begun, False, original, entry_point)
            except BaseException as error:
                unseen(error)
                raise
            finally:
                if entry_points is not None:
                    _under_way.reset(token)
            if entry_points is not None:
                entry_points.load = begun
            return found

        return load
