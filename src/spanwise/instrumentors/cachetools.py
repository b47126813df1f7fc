"""cachetools 5 to 8: what every lookup became, evictions, sizes. No spans, unless asked for.

Wraps the methods of cachetools' classes, so that caches made before and after, subclasses and the decorators,
which use them, are covered alike. A hit adds one to an integer; one lookup in 256 is timed.

What counts: reading an entry (``cache[key]``, ``get``, ``pop``, and each entry of ``items()``) is a hit;
``in`` that says no is a miss, since ``get`` and ``pop`` ask so themselves. An entry of a TTLCache or
TLRUCache that is too old is ``expired`` as long as the cache has not dropped it, then a miss. ``setdefault``
is a hit where the key is there, and a set where it is not. What a cache does within itself to make room is an
eviction and nothing else. With ``getsizeof``, the limit is of something else than entries, and is not told.

cachetools asks that a cache shared by threads is locked. Without, calls that overlap may be miscounted.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any, Final
from weakref import ref

from opentelemetry.trace import get_tracer

from spanwise.instrumentors._cachetools import Method, Methods, Record, traced, traced_contains
from spanwise.instrumentors._calls import Calls
from spanwise.instrumentors._library import LibraryInstrumentor
from spanwise.instrumentors._patches import Patches
from spanwise.instrumentors._places import place_of
from spanwise.instrumentors._traceback import passed_over
from spanwise.meters.cache import DELETE, GET, OTHER, SET, Caches, Tally, caches_of

__all__ = ["CachetoolsInstrumentor"]

_SYSTEM: Final = "cachetools"


class CachetoolsInstrumentor(LibraryInstrumentor):
    """Observes cachetools. Used like any OpenTelemetry instrumentor::

        CachetoolsInstrumentor().instrument(cache_spans=True)

    Option: ``cache_spans`` makes a span of each operation too (20 times the cost of a hit).
    """

    library = "cachetools"
    since = (5, 0)
    module = "cachetools"

    def _observe(self, options: Mapping[str, Any]) -> _Observing:
        return _Observing(options)


class _Observing:
    """One `instrument()`."""

    def __init__(self, options: Any) -> None:
        tracer = get_tracer(__name__, tracer_provider=options.get("tracer_provider"))
        self.calls = Calls("cachetools", tracer)
        self.caches: Caches = caches_of(options.get("meter_provider"))
        self.spans = bool(options.get("cache_spans"))
        # By identity: caches are compared by their entries, and what is kept in one would be pickled with it.
        self.records: dict[int, Record] = {}
        self._patches = Patches()
        self._base: Any = None
        self._none = Record(None, Tally(_SYSTEM, OTHER), ages=False, makes=False)
        self._none.inside = 1  # it counts nothing

    def warn(self, doing: str, error: BaseException) -> None:
        """See :meth:`spanwise.instrumentors._call.Calls.warn`."""
        self.calls.warn(doing, error)

    def attach(self, cachetools: Any, _earlier: bool) -> None:
        self._base = base = cachetools.Cache
        self._length = base.__len__
        self._size, self._limit = base.currsize.fget, base.maxsize.fget
        wrappers = self._wrappers(base)
        classes = [each for each in vars(cachetools).values() if isinstance(each, type)]
        # With their bases, not all of which are public.
        for each in dict.fromkeys(parent for one in classes for parent in one.__mro__):
            if not issubclass(each, base):
                continue
            for name, wrap in wrappers.items():
                if name in vars(each):
                    self._patches.replace(each, name, wrap)
        # The others' constructors call the base class's; its popitem() is inherited from MutableMapping.
        self._patches.replace(base, "__init__", self._init, here=True)
        if "popitem" not in vars(base):
            self._patches.replace(base, "popitem", wrappers["popitem"], here=True)
        self._patches.replace(cachetools, "cached", self._named)

    def detach(self) -> None:
        self.calls.open = False
        self._patches.restore()
        self.records.clear()
        self.caches.forget(_SYSTEM)

    def _wrappers(self, base: Any) -> dict[str, Callable[[Method], Method]]:
        methods = Methods(self.records, self._adopt, base.__contains__, self.caches)
        wrappers: dict[str, Callable[[Method], Method]] = {
            "__getitem__": methods.getitem,
            "__contains__": methods.contains,
            "__setitem__": methods.setitem,
            "__delitem__": methods.delitem,
            "setdefault": methods.setdefault,
            "expire": methods.within,
            "popitem": methods.popitem,
        }
        if self.spans:
            calls, records = self.calls, self.records
            wrappers |= {
                "__getitem__": lambda original: traced(GET, methods.getitem(original), calls, records),
                "__contains__": lambda original: traced_contains(methods.contains(original), calls, records),
                "__setitem__": lambda original: traced(SET, methods.setitem(original), calls, records),
                "__delitem__": lambda original: traced(DELETE, methods.delitem(original), calls, records),
            }
        return wrappers

    @passed_over
    def _init(self, original: Method) -> Method:
        @functools.wraps(original)
        def init(cache: Any, *args: Any, **named: Any) -> None:
            if self.calls.open and id(cache) not in self.records:
                self._adopt(cache, made=True)
            original(cache, *args, **named)

        return init

    def _adopt(self, cache: Any, *, made: bool = False) -> Record:
        """A cache's record, new: it is being made, or was before, or it is a copy. Never raises."""
        kind = type(cache)
        if not self.calls.open:  # somebody's wrapper on top of ours kept ours
            return self._none
        try:
            place = place_of("cachetools", cache) if made else None
            key = kind.__qualname__ if place is None else (place, kind.__qualname__)
            records, identity = self.records, id(cache)
            weak = ref(cache, lambda gone: records.pop(identity, None))
            tally = self.caches.tally(
                _SYSTEM, key, kind.__qualname__ if place is None else lambda: place.name(weak())
            )
            ages = callable(getattr(cache, "expire", None))
            makes = kind.__missing__ is not self._base.__missing__
            record = records[identity] = Record(weak, tally, ages=ages, makes=makes)
            self.caches.watch(cache, tally, self._read)
        except Exception as error:
            self.calls.warn("observe a cache", error)
            return Record(None, Tally(_SYSTEM, kind.__qualname__), ages=False, makes=False)
        return record

    def _read(self, cache: Any) -> tuple[float | None, float | None]:
        # The base class's: a timed cache's own drops what is old, on a thread that doesn't hold its lock.
        size, limit = self._size(cache), self._limit(cache)
        # Its limit may be of anything, bytes for example.
        if getattr(cache, "getsizeof", None) is not self._base.getsizeof:
            return self._length(cache), None
        return size, (limit if limit != float("inf") else None)

    @passed_over
    def _named(self, original: Method) -> Method:
        """A cache that was made for a function is called after it, and after the first of several."""

        @functools.wraps(original)
        def cached(cache: Any, *args: Any, **named: Any) -> Any:
            decorate = original(cache, *args, **named)

            def decorator(function: Any) -> Any:
                try:
                    self._name(cache, function)
                except Exception as error:
                    self.calls.warn("name a cache", error)
                return decorate(function)

            return decorator

        return cached

    def _name(self, cache: Any, function: Any) -> None:
        record = self.records.get(id(cache))
        if record is None or record.named:
            return
        record.named = True
        before = record.tally
        record.count_as(self.caches.tally(_SYSTEM, f"{function.__module__}.{function.__qualname__}"))
        self.caches.watch(cache, record.tally, self._read)
        if not any(each.tally is before for each in list(self.records.values())):
            self.caches.discard(before)
