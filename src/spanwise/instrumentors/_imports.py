"""Calls a function when a module has been imported.

wrapt has this too, but importing wrapt imports asyncio: 8 ms of every start, for 60 lines.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Sequence
from importlib.machinery import ModuleSpec
from importlib.util import module_from_spec
from types import ModuleType
from typing import Any

from spanwise.forks import look

__all__ = ["is_being_imported", "when_imported"]

Function = Callable[[ModuleType], None]

_lock = threading.Lock()
_waiting: dict[str, list[Function]] = {}
_have_run: set[str] = set()  # but their import statements are not over: functions are being called
# Modules that were being imported before anybody awaited them: their loaders do not know of us.
_under_way: set[str] = set()


def when_imported(name: str, function: Function) -> None:
    """Calls ``function`` with a module as soon as it has run, at once if it has already.

    Where its import is under way and was not awaited when it began, that is when another module is looked
    for after it has run.

    Args:
        name: the module's full name.
        function: called on the importing thread, within its import statement: it must not raise.
    """
    with _lock:
        module = sys.modules.get(name)
        importing = is_being_imported(module) and name not in _have_run
        if module is None or importing:
            if importing:
                _under_way.add(name)
            _waiting.setdefault(name, []).append(function)
            if _FINDER not in sys.meta_path:
                sys.meta_path.insert(0, _FINDER)
            return
    function(module)


def is_being_imported(module: ModuleType | None) -> bool:
    """Whether a module's import is under way: it is there, and has not run."""
    return bool(getattr(getattr(module, "__spec__", None), "_initializing", False))


def _settle() -> None:
    """Tells of those that have run since."""
    for name in list(_under_way):
        module = sys.modules.get(name)
        if is_being_imported(module):
            continue
        _under_way.discard(name)
        if module is not None:
            with _lock:
                functions = _waiting.pop(name, [])
            for function in functions:
                function(module)


class _Finder:
    """Finds what the others find, and has awaited modules told of."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if _under_way:
            _settle()
        if name not in _waiting:
            return None
        for finder in sys.meta_path:
            find = getattr(finder, "find_spec", None)
            spec: ModuleSpec | None = find(name, path, target) if find and finder is not self else None
            if spec is not None:
                if spec.loader is None or hasattr(spec.loader, "exec_module"):
                    spec.loader = _Loader(spec.loader)  # type: ignore[assignment]
                return spec
        return None


class _Loader:
    """Another loader, until it has run its module: then the module has that loader and never had this one."""

    def __init__(self, loader: Any) -> None:
        self._loader = loader  # None: a package without an __init__.py, which has nothing to run

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        made: ModuleType | None = None if self._loader is None else self._loader.create_module(spec)
        return made

    def exec_module(self, module: ModuleType) -> None:
        if self._loader is None:
            # With a specification of its own it counts as imported, which it is: while the functions run,
            # nobody who imports something out of it need wait for them, and they perhaps for him.
            spec = ModuleSpec(module.__name__, None, is_package=True)
            spec.submodule_search_locations = module.__path__  # type: ignore[assignment]
            made = module_from_spec(spec)
            module.__loader__, module.__spec__ = made.__loader__, made.__spec__
        else:
            module.__loader__ = self._loader
            if module.__spec__ is not None:
                module.__spec__.loader = self._loader
            self._loader.exec_module(module)
        with _lock:
            functions = _waiting.pop(module.__name__, [])
            _have_run.add(module.__name__)
        try:
            for function in functions:
                function(module)
            look()
        finally:
            _have_run.discard(module.__name__)

    def __getattr__(self, name: str) -> Any:
        # Resource readers and the like, asked for while the module runs.
        return getattr(self._loader, name)


_FINDER = _Finder()
