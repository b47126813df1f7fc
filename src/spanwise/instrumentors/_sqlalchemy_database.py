"""A database that the application has an engine for: its pool, and whether it can be reached."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakKeyDictionary, ref

from opentelemetry.util.types import AttributeValue

from spanwise import names
from spanwise.fixed import Fixed
from spanwise.instrumentors._sqlalchemy import Described, Target, address_of
from spanwise.instrumentors._weak import living

if TYPE_CHECKING:
    from sqlalchemy.engine import Engine
    from sqlalchemy.pool import Pool

__all__ = ["HELD_AS", "Database", "Labels", "most"]

Labels = Mapping[str, AttributeValue]

HELD_AS: Final = "_spanwise_database"
"""The attribute of an engine that holds its `Database`: looking it up in a weak dictionary costs five times
as much."""


# An engine a tenant is usual: these bound what each keeps at 256 kB, and at a fifth of that as a rule. Longer
# statements, and those of an application that has more, are found in the memo of all engines.
_KNOWN: Final = 256
_LONG: Final = 1_024


class Database:
    """What is known of an engine and of those that were made from it with other options: they share a pool.

    Attributes:
        era: in which it was made; one of an earlier era is made anew.
        name: of the pool, for metrics.
        old_name: the same, before the stable conventions.
        target: what spans say of it; None before the first statement.
        known: statements, as they were written.
        labels: of its metrics.
        waiting: one item for each caller that waits for a connection.
        down: 1 after a failure, 0 after a success, None before either.
    """

    __slots__ = (
        "_engines",
        "_pool",
        "_records",
        "down",
        "era",
        "known",
        "labels",
        "name",
        "old_name",
        "target",
        "waiting",
    )

    def __init__(self, era: object, engine: Engine) -> None:
        self.era = era
        self.target: Target | None = None
        self.known: dict[str, Described] = {}
        self.waiting: list[None] = []
        self.down: int | None = None
        named = getattr(engine.pool, "logging_name", None)
        url = engine.url
        self.name: str = named or _name(engine)
        self.labels = Fixed({names.DB_CLIENT_CONNECTION_POOL_NAME: self.name})
        # As contrib's instrumentor has it.
        self.old_name: str = (
            named or f"{url.drivername}://{url.host or ''}:{url.port or ''}/{url.database or ''}"
        )
        self._engines: WeakKeyDictionary[Engine, None] = WeakKeyDictionary()
        self._records: WeakKeyDictionary[Any, None] = WeakKeyDictionary()
        self._pool: ref[Pool]
        self.belongs_to(engine)

    def belongs_to(self, engine: Engine) -> None:
        """One more engine has it."""
        self._engines[engine] = None
        self._pool = ref(engine.pool)

    def remember(self, statement: str, about: Described) -> None:
        """What is said of a statement from now on."""
        if len(statement) > _LONG:
            return
        if len(self.known) >= _KNOWN:
            self.known.clear()  # those that are always others make room
        self.known[statement] = about

    def opened(self, record: object) -> None:
        """A connection was opened."""
        self._records[record] = None
        self.down = 0

    def forget(self) -> None:
        """Takes it off its engines. Statements go: their labels remember an instrument, that its provider."""
        self.known.clear()
        for engine, _ in living(self._engines):
            engine.__dict__.pop(HELD_AS, None)

    @property
    def pool(self) -> Pool | None:
        """The pool now: an engine that is disposed of gets another one."""
        for engine, _ in living(self._engines):
            return engine.pool
        return self._pool()

    def counts(self, pool: Any) -> tuple[int, int]:
        """How many connections are idle and used."""
        if hasattr(pool, "checkedin") and hasattr(pool, "checkedout"):
            return pool.checkedin(), max(0, pool.checkedout())
        # The pools without a queue count nothing; their connections know whether they are in use.
        found = [each for each, _ in living(self._records)]
        used = [bool(each.in_use) for each in found if each.dbapi_connection is not None]
        return used.count(False), used.count(True)


def most(pool: Any) -> int | None:
    """Connections that a pool with a queue opens at most; None where there is no limit, or none is known.

    The one place that reads what SQLAlchemy has no public name for: how far a pool may grow beyond its size.
    tests/integration/test_sqlalchemy_versions.py says for which versions that holds.
    """
    beyond = getattr(pool, "_max_overflow", None)
    if not isinstance(beyond, int) or beyond < 0:
        return None
    return int(pool.size()) + beyond


def _name(engine: Engine) -> str:
    """As the conventions make one of an address: ``db.example:5432/store``. Nothing secret is in it."""
    address, port, namespace = address_of(engine.url)
    where = f"{address or engine.dialect.name}:{port}" if port else address or engine.dialect.name
    return f"{where}/{namespace}" if namespace else where
