"""functools.lru_cache and functools.cache: hits, misses, size and limit of the application's functions.

What ``functools.lru_cache`` returns is C, and stays what it is: it is watched, weakly, and asked by its
public ``cache_info()`` when metrics are collected. So a call costs nothing more. In exchange, there is much
that cannot be seen: functions that were decorated before this was switched on, how long anything took,
evictions, and what a cache counted between the last collection and its ``cache_clear()`` or its end. A
clearing after which there are as many hits, misses and entries as before, or more, cannot be told from none:
then what was counted after it is lost as far as it is no more than before.

``functools.cache`` calls ``functools.lru_cache``, so that replacing that one is enough. Python's own
functions and ours are left out.
"""

from __future__ import annotations

import contextlib
import functools
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final
from weakref import ref

from spanwise import pending
from spanwise.instrumentors._base import Instrumentor
from spanwise.instrumentors._patches import Patches
from spanwise.instrumentors._traceback import passed_over

if TYPE_CHECKING:
    from spanwise.meters.cache import Caches, Tally

__all__ = ["FunctoolsInstrumentor"]

_SYSTEM: Final = "functools"
_NOT_OURS: Final = frozenset((*sys.stdlib_module_names, "spanwise", "opentelemetry"))

# Functions watched at a time, at 1 µs each a collection. An application has some hundred; one that decorates
# a function anew on each request has too many, and no cache.
_MOST_FUNCTIONS: Final = 1_000


class FunctoolsInstrumentor(Instrumentor):
    """Observes functools.lru_cache. Used like any OpenTelemetry instrumentor, before what it is to see."""

    _watching: _Watching | None = None

    def _instrument(self, **options: Any) -> None:
        self._watching = _Watching(options.get("meter_provider"))

    def _uninstrument(self) -> None:
        if self._watching is not None:
            self._watching.end()
        self._watching = None


class _Function:
    """A cached function, and what it had counted when it was last asked.

    Attributes:
        tally: its counts; None until it has been called, for most of the libraries' never are.
    """

    __slots__ = ("function", "hits", "misses", "name", "size", "tally")

    def __init__(self, function: ref[Any], name: str) -> None:
        self.function, self.name = function, name
        self.hits = self.misses = self.size = 0
        self.tally: Tally | None = None


class _Watching:
    """One `instrument()`.

    Functions are watched from now on, since applications decorate them while they are imported. Their counts
    are asked for once telemetry has started: until then nothing of it need be imported.
    """

    def __init__(self, meter_provider: Any) -> None:
        self._meter_provider = meter_provider
        self._caches: Caches | None = None
        self._functions: dict[int, _Function] = {}
        self._open = True
        self._patches = Patches()
        self._patches.replace(functools, "lru_cache", self._wrapped)
        pending.then(self._begin)

    def _begin(self) -> None:
        if self._open:
            from spanwise.meters.cache import caches_of

            self._caches = caches_of(self._meter_provider)
            self._caches.poll(_SYSTEM, self._update)

    def end(self) -> None:
        self._open = False
        self._patches.restore()
        self._functions.clear()
        if self._caches is not None:
            self._caches.forget(_SYSTEM)

    @passed_over
    def _wrapped(self, original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def lru_cache(*args: Any, **named: Any) -> Any:
            made = original(*args, **named)
            if hasattr(made, "cache_info"):  # @lru_cache without parentheses
                return self._watched(made)
            return lambda function: self._watched(made(function))

        return lru_cache

    def _watched(self, made: Any) -> Any:
        if not self._open:  # somebody's function on top of ours kept ours
            return made
        # What is decorated may be any callable, even one that has no name, or none that can be read.
        with contextlib.suppress(Exception):
            self._watch(made)
        return made

    def _watch(self, made: Any) -> None:
        function = made.__wrapped__
        module = function.__module__
        functions, key = self._functions, id(made)
        if module.partition(".")[0] not in _NOT_OURS and len(functions) < _MOST_FUNCTIONS:
            weak = ref(made, lambda _: functions.pop(key, None))
            functions[key] = _Function(weak, f"{module}.{function.__qualname__}")

    def _update(self) -> None:
        caches = self._caches
        for each in list(self._functions.values()):
            function = each.function()
            if function is not None and caches is not None:
                self._fold(each, function, caches)

    def _fold(self, each: _Function, function: Any, caches: Caches) -> None:
        from spanwise.meters.cache import GET, HIT, MISS

        hits, misses, _, size = function.cache_info()
        if each.tally is None:
            if hits + misses == 0:
                return
            each.tally = caches.tally(_SYSTEM, each.name)
            caches.watch(function, each.tally, _read)
        if hits < each.hits or misses < each.misses or size < each.size:  # cache_clear() began anew
            each.hits = each.misses = 0
        for outcome, now, before in ((HIT, hits, each.hits), (MISS, misses, each.misses)):
            cell = each.tally.cell(GET, outcome)
            cell.value += now - before
        each.hits, each.misses, each.size = hits, misses, size


def _read(function: Any) -> tuple[float | None, float | None]:
    info = function.cache_info()
    return info.currsize, info.maxsize
