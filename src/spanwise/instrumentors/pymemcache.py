"""pymemcache 3.4 and newer: a span and a duration for each call of a server, hits and misses by its answer.

Wraps ``Client``'s methods, which PooledClient, HashClient and RetryingClient call: one span for each request
to a server, so that a retry is a second one, and a HashClient's ``get_many`` is one for each server.

Against contrib's instrumentor: keys are in no attribute (contrib's ``db.query.text`` holds them, and keys
hold user names and session ids); no ``network.transport``, which the conventions for databases no longer
have; ``error.type`` and the error's class are there, its message is not, since it may hold the key;
``db.operation.batch.size`` and ``db.client.operation.duration`` are; a failure that ``ignore_exc=True`` keeps
from the application is one here. With OTEL_SEMCONV_STABILITY_OPT_IN asking for old names, contrib's is used.

A set without an answer (``noreply``, pymemcache's default) counts as stored.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from opentelemetry.trace import SpanKind
from opentelemetry.util.types import AttributeValue

from spanwise import names
from spanwise.instrumentors._cache_calls import CacheCalls, Outcomes, Target, argument
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
    MOST_NAMES,
    REFUSED,
    SET,
    STORED,
    caches_of,
)

__all__ = ["PymemcacheInstrumentor"]

_SYSTEM: Final = "memcached"

Arguments = tuple[Any, ...]
Named = Mapping[str, Any]


class PymemcacheInstrumentor(LibraryInstrumentor):
    """Traces pymemcache. Used like any OpenTelemetry instrumentor."""

    library = "pymemcache"
    since = (3, 4)
    module = "pymemcache"

    def _observe(self, options: Mapping[str, Any]) -> _Observing:
        return _Observing(options)


class _Observing:
    """One `instrument()`."""

    def __init__(self, options: Named) -> None:
        tracer, meter = scope_of(__name__, options)
        self.calls = Calls("pymemcache", tracer, make(meter, names.DB_CLIENT_OPERATION_DURATION))
        self._caches = caches_of(options.get("meter_provider"))
        self._targets: dict[Any, Target] = {}
        self._patches = Patches()

    def warn(self, doing: str, error: BaseException) -> None:
        """See :meth:`spanwise.instrumentors._call.Calls.warn`."""
        self.calls.warn(doing, error)

    def attach(self, _pymemcache: Any, _earlier: bool) -> None:
        from pymemcache.client.base import Client

        wrapping = CacheCalls(self.calls, self._caches, self._target)
        for name, method in _METHODS.items():
            if name in vars(Client):
                wrap = functools.partial(
                    wrapping.wrap,
                    operation=method.operation,
                    outcomes=method.outcomes,
                    # An alias (get_multi) is the method itself, and so has its name.
                    command=vars(Client)[name].__name__,
                    batch=method.batch,
                )
                self._patches.replace(Client, name, wrap)

    def detach(self) -> None:
        self.calls.open = False
        self._patches.restore()
        self._caches.forget(_SYSTEM)

    def _target(self, client: Any) -> Target | None:
        try:
            server = client.server
            found = self._targets.get(server)
            if found is None:
                found = self._describe(server)
                if len(self._targets) < MOST_NAMES:
                    self._targets[server] = found
        except Exception as error:
            self.calls.warn("tell which server is called", error)
            return None
        return found

    def _describe(self, server: Any) -> Target:
        attributes: dict[str, AttributeValue] = {names.DB_SYSTEM_NAME: _SYSTEM}
        if isinstance(server, tuple):
            attributes |= {names.SERVER_ADDRESS: server[0], names.SERVER_PORT: server[1]}
            name = f"{server[0]}:{server[1]}"
        else:  # the path of a socket
            name = attributes[names.SERVER_ADDRESS] = str(server)
        return Target(self._caches.tally(_SYSTEM, name), True, SpanKind.CLIENT, attributes)


# -- what an answer says ------------------------------------------------------------------------


def _got(client: Any, args: Arguments, named: Named, result: Any) -> list[tuple[str, int]]:
    if _gave_up(client):
        return [(ERROR, 1)]
    return [(MISS if result is argument(args, named, 1, "default") else HIT, 1)]


def _got_with_token(client: Any, args: Arguments, named: Named, result: Any) -> list[tuple[str, int]]:
    if _gave_up(client):
        return [(ERROR, 1)]
    return [(MISS if result[1] is argument(args, named, 2, "cas_default") else HIT, 1)]


def _got_many(client: Any, args: Arguments, named: Named, result: Any) -> list[tuple[str, int]]:
    asked = len({*argument(args, named, 0, "keys")})
    if _gave_up(client):
        return [(ERROR, asked)]
    found = [(HIT, len(result)), (MISS, asked - len(result))]
    return [each for each in found if each[1] > 0]


def _stored(_client: Any, _args: Arguments, _named: Named, result: Any) -> list[tuple[str, int]]:
    return [(STORED if result else REFUSED, 1)]


def _stored_many(_client: Any, args: Arguments, named: Named, result: Any) -> list[tuple[str, int]]:
    given = argument(args, named, 0, "values")
    found = [(STORED, len(given) - len(result)), (REFUSED, len(result))]
    return [each for each in found if each[1] > 0]


def _deleted(_client: Any, _args: Arguments, _named: Named, result: Any) -> list[tuple[str, int]]:
    return [(DELETED if result else ABSENT, 1)]


def _deleted_many(_client: Any, args: Arguments, named: Named, _result: Any) -> list[tuple[str, int]]:
    return [(DELETED, len(argument(args, named, 0, "keys")))]


def _gave_up(client: Any) -> bool:
    """Whether a failure was kept from the application: the client closes its socket then."""
    return bool(client.ignore_exc) and client.sock is None


def _keys(args: Arguments, named: Named) -> int:
    keys = argument(args, named, 0, "keys")
    return len(keys if keys is not None else argument(args, named, 0, "values"))


class _Method(NamedTuple):
    operation: str = ""
    outcomes: Outcomes | None = None
    batch: Callable[[Arguments, Named], int] | None = None


_GET_MANY: Final = _Method(GET, _got_many, _keys)
_SET: Final = _Method(SET, _stored)
_SET_MANY: Final = _Method(SET, _stored_many, _keys)
_DELETE_MANY: Final = _Method(DELETE, _deleted_many, _keys)
_METHODS: Final = {
    "get": _Method(GET, _got),
    "gets": _Method(GET, _got_with_token),
    "get_many": _GET_MANY,
    "get_multi": _GET_MANY,
    "gets_many": _GET_MANY,
    "set": _SET,
    "add": _SET,
    "replace": _SET,
    "append": _SET,
    "prepend": _SET,
    "cas": _SET,
    "set_many": _SET_MANY,
    "set_multi": _SET_MANY,
    "delete": _Method(DELETE, _deleted),
    "delete_many": _DELETE_MANY,
    "delete_multi": _DELETE_MANY,
    # Neither a lookup nor a change of an entry as a whole.
    **dict.fromkeys(("incr", "decr", "touch", "stats", "version", "flush_all", "quit"), _Method()),
}
