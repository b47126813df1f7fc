"""What a span says of a SQLAlchemy engine and of a statement on it.

Names: https://opentelemetry.io/docs/specs/semconv/db/database-spans/
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from opentelemetry.util.types import AttributeValue

from spanwise import names
from spanwise.fixed import Fixed
from spanwise.instrumentors._database import Conventions
from spanwise.privacy.sql import collapse, describe

if TYPE_CHECKING:
    from sqlalchemy.engine import URL, Connection

__all__ = [
    "Described",
    "Repeated",
    "Target",
    "address_of",
    "described",
    "forget",
    "initializes",
    "listens",
    "raised_by_driver",
    "status_code",
    "target_of",
]

# Names and labels of the last so many (target, statement) pairs. An application has some hundred statements;
# an entry holds the statement's text, so memory is bounded by this times sql.TEXT_LIMIT.
_MEMO: Final = 512

# SQLAlchemy's dialect name to db.system.name; any other dialect keeps its own name.
_SYSTEMS: Final = {
    "mssql": "microsoft.sql_server",
    "oracle": "oracle.db",
    "db2": "ibm.db2",
    "ibm_db_sa": "ibm.db2",
    "hana": "sap.hana",
    "redshift": "aws.redshift",
    "spanner+spanner": "gcp.spanner",
    "firebird": "firebirdsql",
}


# Systems whose usual drivers fetch all rows of a statement with it, so that the cursor knows their number.
# Others say -1, or, as oracledb, how many were fetched so far: 0.
_COUNTING: Final = frozenset(("postgresql", "mysql", "mariadb"))
_RETURNING: Final = frozenset(("SELECT", "WITH", "VALUES", "TABLE"))
_RETURNING_CLAUSE: Final = re.compile(r"\bRETURNING\b", re.IGNORECASE)


@dataclass(frozen=True, eq=False)
class Target:
    """A database as engines name it. Compared by identity, which is fast: it is the key of the memo."""

    system: str
    old_system: str
    namespace: str
    address: str
    port: int
    user: str
    conventions: Conventions


# engine.execution_options() makes a new engine each time: those of one address must share one target.
_shared: Final = lru_cache(maxsize=_MEMO)(Target)


class Repeated:
    """A statement as the server span of a request names it that runs it many times.

    Args:
        text: without literals, so that it is the same one with other values.
        summary: its summary.
    """

    __slots__ = ("_fingerprint", "_summary", "_text")

    def __init__(self, text: str, summary: str) -> None:
        self._text, self._summary, self._fingerprint = text, summary, ""

    def repeated(self, count: int) -> Mapping[str, AttributeValue]:
        """The span's attributes."""
        # Most are never repeated, and those that are, often.
        self._fingerprint = self._fingerprint or fingerprint(self._text)
        return {
            names.DB_REPEATED_COUNT: count,
            names.DB_REPEATED_SUMMARY: self._summary,
            names.DB_REPEATED_FINGERPRINT: self._fingerprint,
        }


def fingerprint(text: str) -> str:
    """16 hexadecimal digits that are the same for the same text, in every process."""
    from hashlib import blake2b  # SQLAlchemy has imported it

    return blake2b(text.encode("utf-8", "replace"), digest_size=8).hexdigest()


# The same text on different engines, or in different batches, is the same statement.
_repeated: Final = lru_cache(maxsize=_MEMO)(Repeated)


@dataclass(frozen=True, slots=True)
class Described:
    """What is the same for every execution of a statement.

    Attributes:
        name: the span's.
        attributes: the span's.
        labels: the duration's.
        text: without literals.
        repeated: what counts its runs in a request.
        counts_rows: whether the driver knows, right after it was executed, how many rows it returned.
    """

    name: str
    attributes: Fixed
    labels: Fixed
    text: str
    repeated: Repeated
    counts_rows: bool


@lru_cache(maxsize=_MEMO)
def described(target: Target, statement: str, batch: bool) -> Described:
    """Name, attributes and labels, the same for every execution of a statement on an engine.

    And the same for each length of a list in it: a new length costs some microseconds, not the analysis.
    """
    return _described(target, collapse(statement), batch)


@lru_cache(maxsize=_MEMO)
def _described(target: Target, statement: str, batch: bool) -> Described:
    found = describe(statement, target.system)
    prefix = "BATCH " if batch else ""
    operation = f"{prefix}{found.operation}" if found.operation else prefix.strip()
    summary = f"{prefix}{found.summary}" if found.summary else prefix.strip()
    labels: dict[str, AttributeValue] = {
        names.DB_SYSTEM_NAME: target.system,
        names.DB_NAMESPACE: target.namespace,
        names.DB_OPERATION_NAME: operation,
        names.DB_COLLECTION_NAME: found.collection,
        names.DB_QUERY_SUMMARY: summary,
        names.SERVER_ADDRESS: target.address,
        names.SERVER_PORT: target.port,
    }
    labels = {key: value for key, value in labels.items() if value}
    attributes: dict[str, AttributeValue] = {}
    if target.conventions.stable:
        attributes = {**labels, names.DB_QUERY_TEXT: found.text}
    if target.conventions.old:
        old: dict[str, AttributeValue] = {
            names.OLD_DB_SYSTEM: target.old_system,
            names.OLD_DB_NAME: target.namespace,
            names.OLD_DB_STATEMENT: found.text,
            names.OLD_DB_OPERATION: found.operation,
            names.OLD_DB_SQL_TABLE: found.collection,
            names.OLD_DB_USER: target.user,
            names.OLD_NET_PEER_NAME: target.address,
            names.OLD_NET_PEER_PORT: target.port,
        }
        attributes.update((key, value) for key, value in old.items() if value)
    name = summary or operation or target.system
    returns = found.operation.upper() in _RETURNING or _RETURNING_CLAUSE.search(found.text) is not None
    counts_rows = returns and not batch and target.conventions.stable and target.system in _COUNTING
    return Described(
        name, Fixed(attributes), Fixed(labels), found.text, _repeated(found.text, name), counts_rows
    )


def forget() -> None:
    """Lets go of what was described: labels remember an instrument, and that its provider."""
    described.cache_clear()
    _described.cache_clear()


def target_of(conn: Connection, cursor: Any, chosen: Conventions) -> Target:
    """Reads an engine's address, once. Where its URL has no host, a PostgreSQL driver knows it."""
    url = conn.engine.url
    dialect = conn.dialect.name
    if dialect == "mysql" and getattr(conn.dialect, "is_mariadb", False):
        dialect = "mariadb"
    address, port, namespace = address_of(url)
    info = getattr(getattr(cursor, "connection", None), "info", None)
    if not address and dialect == "postgresql" and info is not None:
        address = str(getattr(info, "host", "") or "")
        namespace = namespace or str(getattr(info, "dbname", "") or "")
        port = port or int(getattr(info, "port", 0) or 0)
    return _shared(
        system=_SYSTEMS.get(dialect, dialect),
        old_system=dialect,
        namespace=namespace,
        address=address,
        port=port,
        user=url.username or "",
        conventions=chosen,
    )


def address_of(url: URL) -> tuple[str, int, str]:
    """Host, port and database of an engine's URL; empty where it has none."""
    address, in_query = url.host or "", url.query.get("host")
    if not address and isinstance(in_query, str):
        address = in_query
    return address, url.port or 0, url.database or ""


def status_code(error: BaseException) -> str:
    """The database's own code: SQLSTATE, SQLite's result name, an ORA- code or an error number; or ""."""
    for name in ("sqlstate", "pgcode", "sqlite_errorname"):
        code = getattr(error, name, None)
        if isinstance(code, str) and code:
            return code
    first = error.args[0] if error.args else None
    full = getattr(first, "full_code", None)  # oracledb
    if isinstance(full, str) and full:
        return full
    # MySQL's drivers and pymssql give the number first.
    return str(first) if isinstance(first, int) and not isinstance(first, bool) else ""


def initializes(conn: Any) -> bool:
    """Whether a dialect asks a new database what it is: these statements are SQLAlchemy's own.

    The one place that tells: nothing public does. tests/integration/test_sqlalchemy_versions.py says for
    which versions that holds. A version that has neither mark would have these statements observed.
    """
    allowed = getattr(conn, "_allow_autobegin", None)
    if allowed is None:  # 1.4, where the mark is that such a connection is not to come back
        allowed = getattr(conn, "_Connection__can_reconnect", True)
    return not allowed


def raised_by_driver(error: BaseException, dialect: Any) -> bool:
    """Whether it is one of the errors that a driver declares (PEP 249)."""
    declared = getattr(getattr(dialect, "dbapi", None), "Error", None)
    return isinstance(declared, type) and isinstance(error, declared)


def listens(conn: Connection, package: str) -> bool:
    """Whether something of a package listens to the statements of a connection, or of its engine.

    The one place that reads an event's listeners: SQLAlchemy tells publicly of those that one can name only.
    tests/integration/test_sqlalchemy_versions.py says for which versions that holds.
    """
    dispatch: Any = conn.dispatch
    return any(getattr(each, "__module__", "").startswith(package) for each in dispatch.before_cursor_execute)
