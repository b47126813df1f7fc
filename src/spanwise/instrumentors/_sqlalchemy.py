"""What a span says of a SQLAlchemy engine and of a statement on it.

Names: https://opentelemetry.io/docs/specs/semconv/db/database-spans/
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from opentelemetry.util.types import AttributeValue

from spanwise import names
from spanwise.instrumentors._database import Conventions
from spanwise.privacy.sql import describe

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

__all__ = ["Described", "Target", "described", "status_code", "target_of"]

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


@dataclass(frozen=True, slots=True)
class Described:
    name: str
    attributes: Mapping[str, AttributeValue]
    labels: Mapping[str, AttributeValue]


@lru_cache(maxsize=_MEMO)
def described(target: Target, statement: str, batch: bool) -> Described:
    """Name, attributes and labels, the same for every execution of a statement on an engine."""
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
    return Described(summary or operation or target.system, attributes, labels)


def target_of(conn: Connection, cursor: Any, chosen: Conventions) -> Target:
    """Reads an engine's address, once. Where its URL has no host, a PostgreSQL driver knows it."""
    url = conn.engine.url
    dialect = conn.dialect.name
    if dialect == "mysql" and getattr(conn.dialect, "is_mariadb", False):
        dialect = "mariadb"
    address, port, namespace = url.host or "", url.port or 0, url.database or ""
    in_query = url.query.get("host")
    if not address and isinstance(in_query, str):
        address = in_query
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
