"""diskcache 5: what every operation on the disk became, and how long it took. No spans, unless asked for.

Wraps ``Cache``'s methods, which FanoutCache, DjangoCache and ``memoize`` call. A lookup that finds the
default itself (a stored None, without a default) counts as a miss. What is too old is a miss: diskcache does
not say. Evictions and sizes are not observed: the first has no public way, the second is a query on the disk.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any, Final
from weakref import WeakKeyDictionary

from opentelemetry.trace import SpanKind, get_tracer

from spanwise import names
from spanwise.instrumentors._cache_calls import CacheCalls, Target, argument
from spanwise.instrumentors._calls import Calls
from spanwise.instrumentors._library import LibraryInstrumentor
from spanwise.instrumentors._patches import Patches
from spanwise.instrumentors._places import Place, place_of
from spanwise.instrumentors._traceback import passed_over
from spanwise.meters.cache import ABSENT, DELETE, DELETED, GET, HIT, MISS, REFUSED, SET, STORED, caches_of

__all__ = ["DiskcacheInstrumentor"]

_SYSTEM: Final = "diskcache"

Arguments = tuple[Any, ...]
Named = Mapping[str, Any]


class DiskcacheInstrumentor(LibraryInstrumentor):
    """Observes diskcache. Used like any OpenTelemetry instrumentor::

        DiskcacheInstrumentor().instrument(cache_spans=True)

    Option: ``cache_spans`` makes a span of each operation too.
    """

    library = "diskcache"
    since = (5, 0)
    module = "diskcache"

    def _observe(self, options: Mapping[str, Any]) -> _Observing:
        return _Observing(options)


class _Observing:
    """One `instrument()`."""

    def __init__(self, options: Named) -> None:
        self.calls = Calls("diskcache", get_tracer(__name__, tracer_provider=options.get("tracer_provider")))
        self._caches = caches_of(options.get("meter_provider"))
        self._spans = bool(options.get("cache_spans"))
        self._places: WeakKeyDictionary[Any, Place | None] = WeakKeyDictionary()
        self._targets: WeakKeyDictionary[Any, Target] = WeakKeyDictionary()
        self._patches = Patches()

    def warn(self, doing: str, error: BaseException) -> None:
        """See :meth:`spanwise.instrumentors._call.Calls.warn`."""
        self.calls.warn(doing, error)

    def attach(self, diskcache: Any, _earlier: bool) -> None:
        cache = diskcache.Cache
        wrapping = CacheCalls(self.calls, self._caches, self._target)
        self._patches.replace(cache, "__init__", self._placed)
        for name, (operation, outcomes) in _METHODS.items():
            wrap = functools.partial(wrapping.wrap, operation=operation, outcomes=outcomes, absent=ABSENT)
            self._patches.replace(cache, name, wrap)

    def detach(self) -> None:
        self.calls.open = False
        self._patches.restore()
        self._caches.forget(_SYSTEM)

    @passed_over
    def _placed(self, original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def init(cache: Any, *args: Any, **named: Any) -> None:
            try:
                if self.calls.open:
                    self._places[cache] = place_of("diskcache", cache)
            except Exception as error:
                self.calls.warn("name a cache", error)
            original(cache, *args, **named)

        return init

    def _target(self, cache: Any) -> Target | None:
        try:
            found = self._targets.get(cache)
            if found is None:
                place = self._places.get(cache)
                name = type(cache).__qualname__ if place is None else place.name(cache)
                attributes = {names.CACHE_NAME: name, names.CACHE_SYSTEM: _SYSTEM}
                tally = self._caches.tally(_SYSTEM, name)
                found = self._targets[cache] = Target(tally, self._spans, SpanKind.INTERNAL, attributes)
        except Exception as error:
            self.calls.warn("name a cache", error)
            return None
        return found


# -- what a result says -------------------------------------------------------------------------


def _got(_cache: Any, args: Arguments, named: Named, result: Any) -> list[tuple[str, int]]:
    more = (argument(args, named, 3, "expire_time"), argument(args, named, 4, "tag"))
    return _found(args, named, result, more)


def _popped(_cache: Any, args: Arguments, named: Named, result: Any) -> list[tuple[str, int]]:
    more = (argument(args, named, 2, "expire_time"), argument(args, named, 3, "tag"))
    return _found(args, named, result, more)


def _found(args: Arguments, named: Named, result: Any, more: tuple[Any, ...]) -> list[tuple[str, int]]:
    value = result[0] if any(more) else result
    return [(MISS if value is _default(args, named) else HIT, 1)]


def _default(args: Arguments, named: Named) -> Any:
    # The methods' first argument is the key.
    return argument(args, named, 1, "default")


def _stored(_cache: Any, _args: Arguments, _named: Named, result: Any) -> list[tuple[str, int]]:
    return [(STORED if result else REFUSED, 1)]


def _deleted(_cache: Any, _args: Arguments, _named: Named, result: Any) -> list[tuple[str, int]]:
    return [(DELETED if result else ABSENT, 1)]


# ``cache[key]``, ``cache[key] = value``, read() and memoize() call these.
_METHODS: Final = {
    "get": (GET, _got),
    "pop": (GET, _popped),
    "set": (SET, _stored),
    "add": (SET, _stored),
    "delete": (DELETE, _deleted),
    "__delitem__": (DELETE, _deleted),
}
