"""Connection pools of SQLAlchemy as metrics, and whether their databases can be reached.

What is open and idle is read from the pool's public methods when metrics are collected, so that it costs a
request nothing. Waiting has no event: the public ``Engine.raw_connection``, through which every check-out goes,
is wrapped for it. There is no probe: a database is down when the application's own connection fails.

Conventions: https://opentelemetry.io/docs/specs/semconv/db/database-metrics/
"""

from __future__ import annotations

import functools
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakKeyDictionary, WeakSet, ref

from opentelemetry.context import Context
from opentelemetry.metrics import CallbackOptions, Meter, Observation
from opentelemetry.util.types import AttributeValue

from spanwise import names
from spanwise.context import SUPPRESSION_KEYS, get_context
from spanwise.instrumentors._call import Calls
from spanwise.instrumentors._sqlalchemy import Conventions, Target, address_of
from spanwise.instruments import Callback, make

if TYPE_CHECKING:
    from sqlalchemy.engine import Engine, ExceptionContext
    from sqlalchemy.pool import Pool

__all__ = ["HELD_AS", "Database", "Pools", "most", "pools_of"]

Labels = Mapping[str, AttributeValue]

HELD_AS: Final = "_spanwise_database"
"""The attribute of an engine that holds its `Database`: a weak dictionary's look-up costs five times as much."""
_OPENING: Final = "spanwise.opening"  # in a connection record's info, which is for its users
_TAKEN: Final = "spanwise.taken"
_IDLE: Final = "idle"
_USED: Final = "used"
_NOWHERE: Final = Context()  # in which there is no span: no exemplars, which cost as much as the rest


class Database:
    """What is known of an engine and of those that were made from it with other options: they share a pool.

    Attributes:
        owner: who made it.
        name: of the pool, for metrics.
        old_name: the same, before the stable conventions.
        target: what spans say of it; None before the first statement.
        labels: of its metrics.
        waiting: one item for each caller that waits for a connection.
        down: 1 after a failure, 0 after a success, None before either.
    """

    __slots__ = (
        "_engines",
        "_pool",
        "_records",
        "down",
        "labels",
        "name",
        "old_name",
        "owner",
        "target",
        "waiting",
    )

    def __init__(self, owner: Pools, engine: Engine) -> None:
        self.owner = owner
        self.target: Target | None = None
        self.waiting: list[None] = []
        self.down: int | None = None
        named = getattr(engine.pool, "logging_name", None)
        url = engine.url
        self.name: str = named or _name(engine)
        self.labels: Labels = {names.DB_CLIENT_CONNECTION_POOL_NAME: self.name}
        # As contrib's instrumentor has it.
        self.old_name: str = (
            named or f"{url.drivername}://{url.host or ''}:{url.port or ''}/{url.database or ''}"
        )
        self._engines: WeakSet[Engine] = WeakSet()
        self._records: WeakSet[Any] = WeakSet()
        self._pool: ref[Pool] = ref(engine.pool)

    def belongs_to(self, engine: Engine) -> None:
        """One more engine has it."""
        self._engines.add(engine)
        self._pool = ref(engine.pool)

    def opened(self, record: object) -> None:
        """A connection was opened."""
        self._records.add(record)
        self.down = 0

    @property
    def pool(self) -> Pool | None:
        """The pool now: an engine that is disposed of gets another one."""
        for engine in list(self._engines):
            return engine.pool
        return self._pool()

    def counts(self, pool: Any) -> tuple[int, int]:
        """How many connections are idle and used."""
        if hasattr(pool, "checkedin") and hasattr(pool, "checkedout"):
            return pool.checkedin(), max(0, pool.checkedout())
        # The pools without a queue count nothing; their connections know whether they are in use.
        records = [each for each in list(self._records) if each.dbapi_connection is not None]
        used = sum(bool(each.in_use) for each in records)
        return len(records) - used, used


class Pools:
    """All databases of the process.

    Args:
        meter: makes the instruments. It keeps them, so one meter gets one of these: see `pools_of`.
    """

    def __init__(self, meter: Meter) -> None:
        self._known: WeakKeyDictionary[Any, Database] = WeakKeyDictionary()  # by dialect: one an engine
        self._lock = threading.Lock()
        self._calls: Calls | None = None  # None while nothing is observed
        self._conventions: Conventions | None = None
        self._use_times = False
        self._wait = make(meter, names.DB_CLIENT_CONNECTION_WAIT_TIME)
        self._use = make(meter, names.DB_CLIENT_CONNECTION_USE_TIME)
        self._create = make(meter, names.DB_CLIENT_CONNECTION_CREATE_TIME)
        self._timeouts = make(meter, names.DB_CLIENT_CONNECTION_TIMEOUTS)
        for metric, observe in (
            (names.DB_CLIENT_CONNECTION_COUNT, self._count),
            (names.DB_CLIENT_CONNECTION_IDLE_MAX, self._idle_max),
            (names.DB_CLIENT_CONNECTION_IDLE_MIN, self._idle_min),
            (names.DB_CLIENT_CONNECTION_MAX, self._max),
            (names.DB_CLIENT_CONNECTION_PENDING_REQUESTS, self._pending),
            (names.DB_CLIENT_CONNECTION_DOWN, self._down),
            (names.OLD_DB_CLIENT_CONNECTIONS_USAGE, self._usage),
        ):
            make(meter, metric, self._guarded(observe))

    def begin(self, calls: Calls, chosen: Conventions, *, use_times: bool) -> None:
        """Observes from now on.

        Args:
            calls: warns of failures.
            chosen: which names are reported.
            use_times: whether the time between check-out and check-in is.
        """
        self._calls, self._conventions, self._use_times = calls, chosen, use_times and chosen.stable

    def end(self) -> None:
        """Observes no longer, and forgets."""
        self._calls = self._conventions = None
        with self._lock:
            self._known.clear()

    @property
    def events(self) -> tuple[tuple[str, Callable[..., None]], ...]:
        """The listeners, by SQLAlchemy's names of the events."""
        opening: tuple[tuple[str, Callable[..., None]], ...] = (
            ("do_connect", self._opening),
            ("connect", self._opened),
        )
        return (*opening, ("checkin", self._given_back)) if self._use_times else opening

    def of(self, engine: Engine) -> Database:
        """The database of an engine."""
        with self._lock:
            found = self._known.get(engine.dialect)
            if found is None:
                found = self._known[engine.dialect] = Database(self, engine)
            found.belongs_to(engine)
        engine.__dict__[HELD_AS] = found
        return found

    def lost(self, failure: ExceptionContext) -> None:
        """Takes note of a failure, if it is one of the connection: it broke, or there is none yet."""
        connecting = failure.connection is None and failure.sqlalchemy_exception is not None
        if not (failure.is_disconnect or connecting):
            return
        # A ping before the check-out knows no engine.
        known = self.of(failure.engine) if failure.engine is not None else self._known.get(failure.dialect)
        if known is not None:
            known.down = 1

    # -- check-outs ------------------------------------------------------------------------------

    def observed(self, original: Callable[..., Any], gave_up: type[BaseException]) -> Callable[..., Any]:
        """Wraps ``Engine.raw_connection``.

        Args:
            original: it.
            gave_up: what a pool raises when all of its connections stay in use.
        """
        wait, use_times, key = self._wait.record, self._use_times, HELD_AS
        stable = self._conventions is not None and self._conventions.stable

        @functools.wraps(original)
        def raw_connection(engine: Any, *args: Any, **kwargs: Any) -> Any:
            try:
                known = engine.__dict__.get(key)
                if known is None or known.owner is not self:
                    known = self.of(engine)
                waiting = known.waiting
            except Exception as error:
                self._warn("know an engine", error)
                return original(engine, *args, **kwargs)
            waiting.append(None)
            began = perf_counter()
            try:
                connection = original(engine, *args, **kwargs)
            except BaseException as error:
                waiting.pop()
                self._failed(known, error, gave_up)
                raise
            now = perf_counter()
            waiting.pop()
            try:
                if stable:
                    context = get_context()
                    for suppressed in SUPPRESSION_KEYS:
                        if context.get(suppressed):
                            return connection
                    wait(now - began, known.labels, _NOWHERE)
                    if use_times:
                        connection.info[_TAKEN] = (known, now)
            except Exception as error:
                self._warn("time a check-out", error)
            return connection

        return raw_connection

    def _failed(self, known: Database, error: BaseException, gave_up: type[BaseException]) -> None:
        try:
            if isinstance(error, gave_up):
                if self._conventions is not None and self._conventions.stable:
                    self._timeouts.add(1, known.labels)
            # A driver's own errors come with an event; asyncpg lets those of the network through.
            elif isinstance(error, (OSError, asyncio_timeout())):
                known.down = 1
        except Exception as problem:
            self._warn("note a failed check-out", problem)

    def _given_back(self, _connection: Any, record: Any) -> None:
        try:
            taken = record.info.pop(_TAKEN, None)
            if taken is not None:
                known, since = taken
                self._use.record(perf_counter() - since, known.labels, _NOWHERE)
        except Exception as error:
            self._warn("time a connection's use", error)

    # -- new connections -------------------------------------------------------------------------

    def _opening(self, dialect: Any, record: Any, _args: Any, _options: Any) -> None:
        try:
            known = self._known.get(dialect)
            if known is not None:
                record.info[_OPENING] = (known, perf_counter())
        except Exception as error:
            self._warn("time a connection", error)

    def _opened(self, _connection: Any, record: Any) -> None:
        try:
            # One made by a function of the application's has no beginning that we know.
            begun = record.info.pop(_OPENING, None)
            if begun is not None:
                known, since = begun
                known.opened(record)
                if self._conventions is not None and self._conventions.stable:
                    self._create.record(perf_counter() - since, known.labels, _NOWHERE)
        except Exception as error:
            self._warn("time a connection", error)

    # -- what is observed when metrics are collected ---------------------------------------------

    def _guarded(self, observe: Callable[[Conventions], Iterable[Observation]]) -> Callback:
        def callback(_options: CallbackOptions) -> list[Observation]:
            chosen = self._conventions
            try:
                return [] if chosen is None else list(observe(chosen))
            except Exception as error:
                self._warn("observe connection pools", error)
                return []

        return callback

    def _warn(self, doing: str, error: BaseException) -> None:
        if self._calls is not None:
            self._calls.warn(doing, error)

    def _databases(self) -> list[Database]:
        with self._lock:
            return list(self._known.values())

    def _count(self, chosen: Conventions) -> Iterator[Observation]:
        if not chosen.stable:
            return
        for labels, idle, used in self._states(lambda known: known.labels):
            yield Observation(idle, {**labels, names.DB_CLIENT_CONNECTION_STATE: _IDLE})
            yield Observation(used, {**labels, names.DB_CLIENT_CONNECTION_STATE: _USED})

    def _usage(self, chosen: Conventions) -> Iterator[Observation]:
        if not chosen.old:
            return
        for labels, idle, used in self._states(lambda known: {names.OLD_POOL_NAME: known.old_name}):
            yield Observation(idle, {**labels, names.OLD_POOL_STATE: _IDLE})
            yield Observation(used, {**labels, names.OLD_POOL_STATE: _USED})

    def _states(self, labels_of: Callable[[Database], Labels]) -> list[tuple[Labels, int, int]]:
        found: dict[str, tuple[Labels, int, int]] = {}
        for known in self._databases():
            pool = known.pool
            if pool is not None:
                labels = labels_of(known)
                idle, used = known.counts(pool)
                # Engines of one name are one pool to the reader.
                _, before, taken = found.get(str(labels), (labels, 0, 0))
                found[str(labels)] = (labels, before + idle, taken + used)
        return list(found.values())

    def _idle_max(self, chosen: Conventions) -> list[Observation]:
        return self._limits(chosen, lambda pool: pool.size() or None)

    def _idle_min(self, chosen: Conventions) -> list[Observation]:
        return self._limits(chosen, lambda _: 0)  # none is opened before somebody asks for one

    def _max(self, chosen: Conventions) -> list[Observation]:
        return self._limits(chosen, most)

    def _limits(self, chosen: Conventions, read: Callable[[Any], int | None]) -> list[Observation]:
        """Of pools that have limits, those with a queue. None stands for no limit."""
        totals: dict[str, int] = {}
        for known in self._databases() if chosen.stable else ():
            pool = known.pool
            limit = read(pool) if hasattr(pool, "size") else None
            if limit is not None:
                totals[known.name] = totals.get(known.name, 0) + limit
        return _by_name(totals)

    def _pending(self, chosen: Conventions) -> list[Observation]:
        totals: dict[str, int] = {}
        for known in self._databases() if chosen.stable else ():
            totals[known.name] = totals.get(known.name, 0) + len(known.waiting)
        return _by_name(totals)

    def _down(self, _chosen: Conventions) -> list[Observation]:
        worst: dict[str, int] = {}
        for known in self._databases():
            if known.down is not None:
                worst[known.name] = max(known.down, worst.get(known.name, 0))
        return _by_name(worst)


_all: WeakKeyDictionary[Meter, Pools] = WeakKeyDictionary()


def pools_of(meter: Meter) -> Pools:
    """The one of a meter: it calls only the first callbacks of an instrument."""
    found = _all.get(meter)
    if found is None:
        found = _all[meter] = Pools(meter)
    return found


def most(pool: Any) -> int | None:
    """Connections that a pool with a queue opens at most; None where there is no limit, or none is known.

    The one place that reads what SQLAlchemy has no public name for: how far the pool may grow beyond its size.
    tests/integration/test_sqlalchemy_versions.py says for which versions that holds.
    """
    beyond = getattr(pool, "_max_overflow", None)
    if not isinstance(beyond, int) or beyond < 0:
        return None
    return int(pool.size()) + beyond


def asyncio_timeout() -> type[BaseException]:
    """What asyncio raises when time is up: before Python 3.11 no OSError. It is not imported for that."""
    asyncio = sys.modules.get("asyncio")
    found: type[BaseException] = getattr(asyncio, "TimeoutError", OSError)
    return found


def _by_name(values: dict[str, int]) -> list[Observation]:
    return [
        Observation(value, {names.DB_CLIENT_CONNECTION_POOL_NAME: name}) for name, value in values.items()
    ]


def _name(engine: Engine) -> str:
    """As the conventions make one of an address: ``db.example:5432/store``. Nothing secret is in it."""
    address, port, namespace = address_of(engine.url)
    where = f"{address or engine.dialect.name}:{port}" if port else address or engine.dialect.name
    return f"{where}/{namespace}" if namespace else where
