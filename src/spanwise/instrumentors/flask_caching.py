"""Flask-Caching 1.11 and newer: what every operation on its back end became; the view and memoize decorators.

Wraps the methods of the back end's class when ``Cache.cache``, which everything goes through, first gives it
away: all back ends, the user's own too, caches made before and after. A memoized function looks up its own
version besides its result, and both are operations on the back end, so both are counted.

A span only where no other is: a RedisCache's commands are the Redis client's spans, and a MemcachedCache
that was given a pymemcache client has that one's. The other clients of memcached (pylibmc, python-memcached,
libmc) are traced by nobody, so a call of theirs is a span here. What stays in the process or on its disk gets
none, unless asked for.

A lookup that gives None is a miss. Sizes and evictions are not observed: no back end tells them publicly.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any, Final

from opentelemetry.trace import SpanKind
from opentelemetry.util.types import AttributeValue

from spanwise import names
from spanwise.instrumentors._cache_calls import CacheCalls, Outcomes, Target
from spanwise.instrumentors._calls import Calls
from spanwise.instrumentors._library import LibraryInstrumentor
from spanwise.instrumentors._patches import Patches
from spanwise.instrumentors._scope import scope_of
from spanwise.instruments import make
from spanwise.meters.cache import (
    ABSENT,
    DELETE,
    DELETED,
    ERROR,
    GET,
    HIT,
    MISS,
    REFUSED,
    SET,
    STORED,
    caches_of,
)

__all__ = ["FlaskCachingInstrumentor"]

_SYSTEM: Final = "flask_caching"
_MOST_CLASSES: Final = 64  # of back ends; an application has one or two

Arguments = tuple[Any, ...]
Named = Mapping[str, Any]


class FlaskCachingInstrumentor(LibraryInstrumentor):
    """Observes Flask-Caching. Used like any OpenTelemetry instrumentor::

        FlaskCachingInstrumentor().instrument(cache_spans=True)

    Option: ``cache_spans`` makes a span of each operation in the process or on its disk too.
    """

    library = "flask-caching"
    since = (1, 11)
    module = "flask_caching"

    def _observe(self, options: Mapping[str, Any]) -> _Observing:
        return _Observing(options)


class _Observing:
    """One `instrument()`."""

    def __init__(self, options: Named) -> None:
        tracer, meter = scope_of(__name__, options)
        self.calls = Calls("flask_caching", tracer, make(meter, names.DB_CLIENT_OPERATION_DURATION))
        self._caches = caches_of(options.get("meter_provider"))
        self._spans = bool(options.get("cache_spans"))
        self._wrapping = CacheCalls(self.calls, self._caches, self._target)
        self._wrapped: set[type] = set()
        self._originals: dict[Any, Any] = {}
        self._targets: dict[type, Target] = {}
        self._patches = Patches()

    def warn(self, doing: str, error: BaseException) -> None:
        """See :meth:`spanwise.instrumentors._call.Calls.warn`."""
        self.calls.warn(doing, error)

    def attach(self, flask_caching: Any, _earlier: bool) -> None:
        self._patches.replace(flask_caching.Cache, "cache", self._giving)

    def _giving(self, original: property) -> property:
        get = original.fget
        assert get is not None

        def cache(self_: Any) -> Any:
            backend = get(self_)
            if type(backend) not in self._wrapped and self.calls.open:
                self._wrap(type(backend))
            return backend

        return property(cache, doc=original.__doc__)

    def detach(self) -> None:
        self.calls.open = False
        self._patches.restore()
        self._caches.forget(_SYSTEM)

    def _wrap(self, kind: type) -> None:
        if len(self._wrapped) >= _MOST_CLASSES:
            return
        self._wrapped.add(kind)
        try:
            memcached = _is(kind, "MemcachedCache")
            for name, (operation, outcomes) in _METHODS.items():
                if hasattr(kind, name):
                    command = operation if memcached else ""
                    make = functools.partial(self._method, kind, name, operation, outcomes, command)
                    self._patches.replace(kind, name, make, here=True)
        except Exception as error:
            self.calls.warn("wrap a back end", error)

    def _method(
        self, kind: type, name: str, operation: str, outcomes: Outcomes, command: str, found: Any
    ) -> Any:
        # Inherited from a class that was wrapped before: one call is one operation, of this class.
        original = self._originals.get(found, found)
        wrapped = self._wrapping.wrap(original, operation, outcomes, command=command)
        if name == "get" and self._is_quick(kind, original):
            tally = self._caches.tally(_SYSTEM, kind.__qualname__)
            wrapped = self._wrapping.quick_get(original, wrapped, tally)
        self._originals[wrapped] = original
        return wrapped

    def _is_quick(self, kind: type, get: Any) -> bool:
        """Whether a lookup stays in the process's memory, and is cachelib's own, which calls nothing else."""
        own = get.__module__.partition(".")[0] == "cachelib"
        return own and not self._spans and _is(kind, "SimpleCache", "NullCache")

    def _target(self, backend: Any) -> Target | None:
        kind = type(backend)
        found = self._targets.get(kind)
        if found is not None:
            return found
        try:
            name = kind.__qualname__
            tally = self._caches.tally(_SYSTEM, name)
            if _is(kind, "MemcachedCache"):
                server: dict[str, AttributeValue] = {names.DB_SYSTEM_NAME: "memcached"}
                return Target(tally, not _is_traced(backend), SpanKind.CLIENT, server)
            spans = self._spans and not _is(kind, "RedisCache", "BaseRedisCache")
            attributes = {names.CACHE_NAME: name, names.CACHE_SYSTEM: _SYSTEM}
            found = Target(tally, spans, SpanKind.INTERNAL, attributes)
            return self._targets.setdefault(kind, found)
        except Exception as error:
            self.calls.warn("name a back end", error)
            return None


def _is(kind: type, *classes: str) -> bool:
    """Whether a back end is one of cachelib's: by name, since cachelib imports none that is not used."""
    return any(parent.__name__ in classes for parent in kind.__mro__)


def _is_traced(backend: Any) -> bool:
    """Whether the client is pymemcache's, whose calls are spans of its own instrumentor.

    Which client it is has no public name in cachelib; ``_client`` holds for 0.1 to 0.17. Without it, there
    may be a span too many.
    """
    return type(getattr(backend, "_client", None)).__module__.partition(".")[0] == "pymemcache"


# -- what a result says: https://cachelib.readthedocs.io/en/stable/base/ -------------------------


def _got(_backend: Any, _args: Arguments, _named: Named, result: Any) -> list[tuple[str, int]]:
    return [(MISS if result is None else HIT, 1)]


def _got_many(_backend: Any, _args: Arguments, _named: Named, result: Any) -> list[tuple[str, int]]:
    values = list(result.values() if isinstance(result, dict) else result)
    missing = sum(value is None for value in values)
    return _some((HIT, len(values) - missing), (MISS, missing))


def _set(_backend: Any, _args: Arguments, _named: Named, result: Any) -> list[tuple[str, int]]:
    # False is a failure of the back end; some give None.
    return [(ERROR if result is False else STORED, 1)]


def _added(_backend: Any, _args: Arguments, _named: Named, result: Any) -> list[tuple[str, int]]:
    return [(STORED if result else REFUSED, 1)]


def _set_many(_backend: Any, args: Arguments, named: Named, result: Any) -> list[tuple[str, int]]:
    given = len(args[0] if args else named["mapping"])
    if not isinstance(result, list):  # older ones tell only whether all went well
        return _some((ERROR if result is False else STORED, given))
    return _some((STORED, len(result)), (ERROR, given - len(result)))


def _deleted(_backend: Any, _args: Arguments, _named: Named, result: Any) -> list[tuple[str, int]]:
    return [(ABSENT if result is False else DELETED, 1)]


def _deleted_many(_backend: Any, args: Arguments, _named: Named, result: Any) -> list[tuple[str, int]]:
    deleted = len(result) if isinstance(result, list) else result if type(result) is int else len(args)
    return _some((DELETED, deleted), (ABSENT, len(args) - deleted))


def _some(*outcomes: tuple[str, int]) -> list[tuple[str, int]]:
    return [each for each in outcomes if each[1] > 0]


def _nothing(_backend: Any, _args: Arguments, _named: Named, _result: Any) -> list[tuple[str, int]]:
    return []


_METHODS: Final[dict[str, tuple[str, Outcomes]]] = {
    "get": (GET, _got),
    "get_many": (GET, _got_many),
    "get_dict": (GET, _got_many),
    "set": (SET, _set),
    "add": (SET, _added),
    "set_many": (SET, _set_many),
    "delete": (DELETE, _deleted),
    "delete_many": (DELETE, _deleted_many),
    "unlink": (DELETE, _deleted_many),
    # So that what a back end does within is not taken for the application's.
    "clear": (DELETE, _nothing),
}
