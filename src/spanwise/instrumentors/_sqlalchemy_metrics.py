"""Connection pools as metrics that are read when metrics are collected, so that they cost a request nothing.

Conventions: https://opentelemetry.io/docs/specs/semconv/db/database-metrics/
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

from opentelemetry.metrics import CallbackOptions, Meter, Observation

from spanwise import names
from spanwise.instrumentors._calls import Calls
from spanwise.instrumentors._database import Conventions
from spanwise.instrumentors._sqlalchemy_database import Database, Labels, most
from spanwise.instruments import Callback, make

__all__ = ["PoolMetrics"]

_IDLE: Final = "idle"
_USED: Final = "used"


class PoolMetrics:
    """Observes databases.

    Args:
        meter: makes the instruments, and keeps them.
        databases: gives those that there are.

    Attributes:
        calls: warns of failures; None while nothing is observed.
        conventions: which names are reported; None while nothing is observed.
    """

    def __init__(self, meter: Meter, databases: Callable[[], list[Database]]) -> None:
        self.calls: Calls | None = None
        self.conventions: Conventions | None = None
        self._databases = databases
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

    def warn(self, doing: str, error: BaseException) -> None:
        """Logs a failure of ours, the first one as a warning."""
        if self.calls is not None:
            self.calls.warn(doing, error)

    def _guarded(self, observe: Callable[[Conventions], Iterable[Observation]]) -> Callback:
        def callback(_options: CallbackOptions) -> list[Observation]:
            chosen = self.conventions
            try:
                return [] if chosen is None else list(observe(chosen))
            except Exception as error:
                self.warn("observe connection pools", error)
                return []

        return callback

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
            limit = read(pool) if callable(getattr(pool, "size", None)) else None
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


def _by_name(values: dict[str, int]) -> list[Observation]:
    return [
        Observation(value, {names.DB_CLIENT_CONNECTION_POOL_NAME: name}) for name, value in values.items()
    ]
