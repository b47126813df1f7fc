"""Check-outs and connections of SQLAlchemy's pools, and whether their databases can be reached.

Waiting for a connection has no event: the public ``Engine.raw_connection``, through which every check-out
goes, is wrapped for it. There is no probe: a database is down when the application's own connection fails.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakKeyDictionary

from opentelemetry.metrics import Meter

from spanwise import names
from spanwise.context import NOWHERE, get_context, is_suppressed, surely_observed
from spanwise.instrumentors._calls import Calls
from spanwise.instrumentors._database import Conventions
from spanwise.instrumentors._sqlalchemy_database import HELD_AS, Database
from spanwise.instrumentors._sqlalchemy_metrics import PoolMetrics
from spanwise.instrumentors._traceback import passed_over
from spanwise.instrumentors._weak import living
from spanwise.instruments import ByMeter, make, recorder

if TYPE_CHECKING:
    from sqlalchemy.engine import Engine, ExceptionContext

__all__ = ["Pools", "pools_of"]

_OPENING: Final = "spanwise.opening"  # in a connection record's info, which is for its users
_TAKEN: Final = "spanwise.taken"


class Pools:
    """All databases of the process.

    Args:
        meter: makes the instruments. It keeps them, so one meter gets one of these: see `pools_of`.

    Attributes:
        era: from one `begin` to the `end`; None while nothing is observed. A `Database` is of one era.
    """

    def __init__(self, meter: Meter) -> None:
        self._known: WeakKeyDictionary[Any, Database] = WeakKeyDictionary()  # by dialect: one an engine
        self.era: object | None = None
        self._stable = self._use_times = False
        self._wait = make(meter, names.DB_CLIENT_CONNECTION_WAIT_TIME)
        self._use = make(meter, names.DB_CLIENT_CONNECTION_USE_TIME)
        self._create = make(meter, names.DB_CLIENT_CONNECTION_CREATE_TIME)
        self._timeouts = make(meter, names.DB_CLIENT_CONNECTION_TIMEOUTS)
        self._metrics = PoolMetrics(meter, self._databases)

    def begin(self, calls: Calls, chosen: Conventions, *, use_times: bool) -> None:
        """Observes from now on.

        Args:
            calls: warns of failures.
            chosen: which names are reported.
            use_times: whether the time between check-out and check-in is.
        """
        self.era = object()
        self._metrics.calls, self._metrics.conventions = calls, chosen
        self._stable, self._use_times = chosen.stable, use_times and chosen.stable

    def end(self) -> None:
        """Observes no longer, and forgets."""
        self.era = None
        for known in self._databases():
            known.forget()
        self._metrics.calls = self._metrics.conventions = None
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
        found = self._known.get(engine.dialect)
        if found is None:
            # Without a lock, which a fork could leave locked: of two threads' the first one stays.
            found = self._known.setdefault(engine.dialect, Database(self.era, engine))
        found.belongs_to(engine)
        engine.__dict__[HELD_AS] = found
        return found

    def lost(self, failure: ExceptionContext) -> None:
        """Takes note of a failure, if it is one of the connection: it broke, or there is none yet."""
        try:
            connecting = failure.connection is None and failure.sqlalchemy_exception is not None
            if not (failure.is_disconnect or connecting):
                return
            # A ping before the check-out knows no engine.
            engine = failure.engine
            known = self._known.get(failure.dialect) if engine is None else self.of(engine)
            if known is not None:
                known.down = 1
        except Exception as error:
            self._metrics.warn("note a failed connection", error)

    def _databases(self) -> list[Database]:
        return [known for _, known in living(self._known)]

    # -- check-outs ------------------------------------------------------------------------------

    @passed_over
    def observed(self, original: Callable[..., Any], gave_up: type[BaseException]) -> Callable[..., Any]:
        """Wraps ``Engine.raw_connection``.

        Args:
            original: it.
            gave_up: what a pool raises when all of its connections stay in use.
        """
        wait, use_times, key = self._wait, self._use_times, HELD_AS
        stable, era = self._stable, self.era

        @functools.wraps(original)
        def raw_connection(engine: Any, *args: Any, **kwargs: Any) -> Any:
            # Somebody may have wrapped this one, so that it outlives its time.
            if self.era is not era:
                return original(engine, *args, **kwargs)
            try:
                known = engine.__dict__.get(key)
                if known is None or known.era is not era:
                    known = self.of(engine)
                waiting = known.waiting
            except Exception as error:
                self._metrics.warn("know an engine", error)
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
                    if not surely_observed(context) and is_suppressed(context):
                        return connection
                    recorder(wait, known.labels)(now - began, NOWHERE)
                    if use_times:
                        connection.info[_TAKEN] = (known, now)
            except Exception as error:
                self._metrics.warn("time a check-out", error)
            return connection

        return raw_connection

    def _failed(self, known: Database, error: BaseException, gave_up: type[BaseException]) -> None:
        try:
            if isinstance(error, gave_up):
                if self._stable:
                    self._timeouts.add(1, known.labels)
            # A driver's own errors come with an event; asyncpg lets those of the network through.
            elif isinstance(error, (OSError, _asyncio_timeout())):
                known.down = 1
        except Exception as problem:
            self._metrics.warn("note a failed check-out", problem)

    def _given_back(self, _connection: Any, record: Any) -> None:
        try:
            taken = record.info.pop(_TAKEN, None)
            if taken is not None:
                known, since = taken
                self._use.record(perf_counter() - since, known.labels, NOWHERE)
        except Exception as error:
            self._metrics.warn("time a connection's use", error)

    # -- new connections -------------------------------------------------------------------------

    def _opening(self, dialect: Any, record: Any, _args: Any, _options: Any) -> None:
        try:
            known = self._known.get(dialect)
            if known is not None:
                record.info[_OPENING] = (known, perf_counter())
        except Exception as error:
            self._metrics.warn("time a connection", error)

    def _opened(self, _connection: Any, record: Any) -> None:
        try:
            # One made by a function of the application's has no beginning that we know.
            begun = record.info.pop(_OPENING, None)
            if begun is not None:
                known, since = begun
                known.opened(record)
                if self._stable:
                    self._create.record(perf_counter() - since, known.labels, NOWHERE)
        except Exception as error:
            self._metrics.warn("time a connection", error)


pools_of: Final = ByMeter(Pools)


def _asyncio_timeout() -> type[BaseException]:
    """What asyncio raises when time is up: before Python 3.11 no OSError. It is not imported for that."""
    asyncio = sys.modules.get("asyncio")
    found: type[BaseException] = getattr(asyncio, "TimeoutError", OSError)
    return found
