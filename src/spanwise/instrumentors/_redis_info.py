"""What Redis servers tell of themselves by INFO, as observable instruments.

INFO is asked for when metrics are collected, on a thread of its own that ends with it, over a connection of
its own: a server that hangs delays neither the application nor the delivery. One question a server, however
many clients it has. Names and units are those of the Collector's redis receiver.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from time import monotonic
from typing import Any, Final
from weakref import WeakKeyDictionary

from opentelemetry.metrics import CallbackOptions, Meter, Observation

from spanwise import names
from spanwise.context import suppressed
from spanwise.instrumentors._weak import living
from spanwise.instruments import ByMeter, Callback, make
from spanwise.log import DEBUG, WARNING, Log
from spanwise.names import Metric
from spanwise.threads import Event, Thread, started_task

__all__ = ["Servers", "servers_of"]

_logger = Log(__name__)

_TIMEOUT: Final = 1.0  # seconds for connecting, and for the answer: a server that needs more is in trouble
_PATIENCE: Final = 0.1  # seconds that a collection waits for the answers; else it tells what came before
_FRESH: Final = 1.0  # seconds in which all instruments of a collection have been asked
_MOST: Final = 64  # servers that are asked

# A metric's field in INFO (https://redis.io/docs/latest/commands/info/).
_FIELDS: Final[tuple[tuple[Metric, str], ...]] = (
    (names.REDIS_UPTIME, "uptime_in_seconds"),
    (names.REDIS_CLIENTS_CONNECTED, "connected_clients"),
    (names.REDIS_CLIENTS_BLOCKED, "blocked_clients"),
    (names.REDIS_MEMORY_USED, "used_memory"),
    (names.REDIS_MEMORY_PEAK, "used_memory_peak"),
    (names.REDIS_MEMORY_RSS, "used_memory_rss"),
    (names.REDIS_MEMORY_FRAGMENTATION, "mem_fragmentation_ratio"),
    (names.REDIS_MAXMEMORY, "maxmemory"),
    (names.REDIS_CONNECTIONS_RECEIVED, "total_connections_received"),
    (names.REDIS_CONNECTIONS_REJECTED, "rejected_connections"),
    (names.REDIS_COMMANDS_PROCESSED, "total_commands_processed"),
    (names.REDIS_KEYS_EXPIRED, "expired_keys"),
    (names.REDIS_KEYS_EVICTED, "evicted_keys"),
    (names.REDIS_KEYSPACE_HITS, "keyspace_hits"),
    (names.REDIS_KEYSPACE_MISSES, "keyspace_misses"),
    (names.CACHE_MEMORY_USAGE, "used_memory"),
)

# Of a client's options those that its server asks for; the rest, as time-outs and pools, is its own affair.
_OPTIONS: Final = ("credential_provider", "password", "protocol", "socket_type", "username")


class _Server:
    """One server.

    Attributes:
        labels: say which it is.
        clients: the options to connect with, by the client or pool that they are of.
        figures: what it told last; empty where it did not.
        refused: it does not let us ask; asking on would fill its log.
    """

    def __init__(self, address: str, port: int) -> None:
        self.address = address
        self.port = port
        self.labels: dict[str, Any] = {names.SERVER_ADDRESS: address}
        if port:
            self.labels[names.SERVER_PORT] = port
        self.clients: WeakKeyDictionary[Any, dict[str, Any]] = WeakKeyDictionary()
        self.figures: Mapping[str, Any] = {}
        self.late = False
        self.refused = False


class Servers:
    """The servers that clients of this process use, for as long as one of these lives.

    Args:
        meter: makes the instruments. It keeps them, so one meter gets one of these: see `servers_of`.
    """

    def __init__(self, meter: Meter) -> None:
        self._servers: dict[tuple[str, int], _Server] = {}
        self._thread: Thread | None = None
        self._answered = Event()
        self._asked = -_FRESH
        self._open = False
        self._warned = False
        for metric, field in _FIELDS:
            make(meter, metric, self._telling(field))
        make(meter, names.REDIS_KEYSPACE_HIT_RATIO, self._hit_ratio)

    def begin(self) -> None:
        """Asks from now on."""
        self._open, self._asked, self._warned = True, -_FRESH, False

    def close(self) -> None:
        """Asks no more."""
        self._open = False
        self._servers = {}

    def add(
        self, owner: Any, options: Mapping[str, Any], connection_class: type, address: str, port: int
    ) -> None:
        """Has a server asked.

        Args:
            owner: the client or pool; held weakly.
            options: its connections' keyword arguments.
            connection_class: its connections' class. One that is not redis-py's own may be no connection at
                all, as in a test without a server: then the server is not asked.
            address: host, or a socket's path.
            port: 0 for a socket.
        """
        if not self._open:
            return
        server = self._servers.get((address, port))
        if server is not None and (server.refused or owner in server.clients):
            return
        if not connection_class.__module__.startswith("redis."):
            return
        if server is None:
            if len(self._servers) >= _MOST:
                return
            server = self._servers[address, port] = _Server(address, port)
        mine = {key: options[key] for key in _OPTIONS if options.get(key) is not None}
        if any("SSL" in kind.__name__ for kind in connection_class.__mro__):
            mine["ssl"] = True
            mine.update((key, value) for key, value in options.items() if key.startswith("ssl_"))
        server.clients[owner] = mine

    def _telling(self, field: str) -> Callback:
        def tell(_: CallbackOptions) -> Iterable[Observation]:
            for server in self._ask():
                value = server.figures.get(field)
                if isinstance(value, (int, float)):
                    yield Observation(value, server.labels)

        return tell

    def _hit_ratio(self, _: CallbackOptions) -> Iterable[Observation]:
        for server in self._ask():
            hits = server.figures.get("keyspace_hits")
            misses = server.figures.get("keyspace_misses")
            if isinstance(hits, int) and isinstance(misses, int) and hits + misses:
                yield Observation(hits / (hits + misses), server.labels)

    def _ask(self) -> list[_Server]:
        """Has the servers asked, once a collection, and waits a moment; those with something to tell."""
        if not self._open:
            return []
        now = monotonic()
        if self._servers and now - self._asked >= _FRESH:
            self._asked = now
            for key, server in list(self._servers.items()):
                if not len(server.clients):
                    del self._servers[key]
            servers = [each for each in self._servers.values() if not each.refused]
            # In a forked child the parent's thread is not alive.
            if servers and (self._thread is None or not self._thread.is_alive()):
                answered = self._answered = Event()
                # Those that were late last time are asked last, so that the others need not wait.
                servers.sort(key=lambda each: each.late)
                self._thread = started_task(partial(self._poll, servers, answered), "spanwise-redis-info")
                if self._thread is None:
                    return []
            self._answered.wait(_PATIENCE)
        return list(self._servers.values())

    def _poll(self, servers: list[_Server], answered: Event) -> None:
        try:
            with suppressed():
                for server in servers:
                    if server.late:
                        answered.set()
                    self._poll_one(server)
        finally:
            answered.set()

    def _poll_one(self, server: _Server) -> None:
        try:
            options = next((mine for _, mine in living(server.clients)), None)
            server.figures = _info(server, options) if options is not None else {}
            server.late = False
        except Exception as error:
            server.figures = {}
            server.late = True
            self._explain(server, error)

    def _explain(self, server: _Server, error: Exception) -> None:
        import redis

        refusals = (redis.ResponseError, redis.AuthenticationError, TypeError, ValueError)
        server.refused = isinstance(error, refusals) and not isinstance(
            error, redis.exceptions.BusyLoadingError
        )
        level = WARNING if server.refused and not self._warned else DEBUG
        self._warned = self._warned or server.refused
        _logger.log(
            level,
            "The Redis server %s does not tell its INFO (%s), so the redis.* metrics lack it. Allow the "
            "client's user INFO, or set SPANWISE_REDIS_INFO=0",
            f"{server.address}:{server.port}" if server.port else server.address,
            type(error).__name__,
        )


servers_of: Final = ByMeter(Servers)


def _info(server: _Server, options: Mapping[str, Any]) -> Mapping[str, Any]:
    """Asks one server, over a connection that is closed again: nothing is shared with a forked child."""
    import redis

    options = dict(options)
    kind: Any = redis.SSLConnection if options.pop("ssl", False) else redis.Connection
    if server.port:
        options.update(host=server.address, port=server.port, socket_connect_timeout=_TIMEOUT)
    else:
        kind = redis.UnixDomainSocketConnection
        options["path"] = server.address
    pool = redis.ConnectionPool(connection_class=kind, max_connections=1, socket_timeout=_TIMEOUT, **options)
    try:
        told: Mapping[str, Any] = redis.Redis(connection_pool=pool).info()
        return told
    finally:
        pool.disconnect()
