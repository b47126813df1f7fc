"""The console's tables, and how a DuckDB file is opened.

Every table starts with ``seq``, the order of arrival, which retention counts by. ``at`` is a reserved word in
DuckDB, so times are ``…_ns``. The schema carries a version: a file written by another one is refused.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from spanwise.console.rows import LogRow, PointRow, SpanRow
from spanwise.errors import ConfigurationError

if TYPE_CHECKING:
    import duckdb

__all__ = ["COLUMN_TYPES", "TABLES", "open_database"]

_VERSION: Final = 1

TABLES: Final[dict[str, type[SpanRow] | type[PointRow] | type[LogRow]]] = {
    "spans": SpanRow,
    "points": PointRow,
    "logs": LogRow,
}
_TYPES: Final = {
    "start_ns": "BIGINT",
    "end_ns": "BIGINT",
    "time_ns": "BIGINT",
    "dropped": "BIGINT",
    "severity_number": "BIGINT",
    "observations": "BIGINT",
    "value": "DOUBLE",
    "total": "DOUBLE",
    "monotonic": "BOOLEAN",
    "attributes": "JSON",
    "events": "JSON",
    "links": "JSON",
    "detail": "JSON",
}
COLUMN_TYPES: Final = {
    table: {column: _TYPES.get(column, "VARCHAR") for column in row._fields} for table, row in TABLES.items()
}


def open_database(path: Path) -> duckdb.DuckDBPyConnection:
    """Open or create the console's file; ``:memory:`` keeps nothing on disk.

    Raises:
        ConfigurationError: the file is open elsewhere, is no DuckDB file, or was written by another version.
    """
    import duckdb

    place = str(path)
    if place != ":memory:":
        path.parent.mkdir(parents=True, exist_ok=True)
    try:
        # Two threads: enough for one page, and an application shares this machine.
        # No extension is fetched from the network, whatever a query names.
        connection = duckdb.connect(
            place,
            config={
                "threads": "2",
                "memory_limit": "1GB",
                "autoinstall_known_extensions": "false",
            },
        )
    except duckdb.Error as error:
        if "lock" in str(error).lower():
            raise ConfigurationError(
                "The database is open in another process",
                where=place,
                fix="Stop the other console or name another file with --database.",
            ) from None
        raise ConfigurationError(
            "The database cannot be opened",
            where=place,
            fix=f"Name another file with --database. DuckDB says: {_first_line(error)}",
        ) from None
    try:
        _create(connection, place)
    except BaseException:
        connection.close()
        raise
    return connection


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [""])[0][:200]


def _create(connection: duckdb.DuckDBPyConnection, place: str) -> None:
    connection.execute("create table if not exists console_schema (version BIGINT)")
    versions = {row[0] for row in connection.execute("select version from console_schema").fetchall()}
    if not versions:
        connection.execute("insert into console_schema values (?)", [_VERSION])
    elif versions != {_VERSION}:
        raise ConfigurationError(
            f"The database has schema version {max(versions)}, this console reads {_VERSION}",
            where=place,
            fix="Name another file with --database.",
        )
    for table, columns in COLUMN_TYPES.items():
        fields = ", ".join(f'"{name}" {kind}' for name, kind in columns.items())
        connection.execute(f"create table if not exists {table} (seq BIGINT, {fields})")
    connection.execute(
        "create table if not exists resources"
        " (resource_id VARCHAR primary key, service VARCHAR, instance VARCHAR, attributes JSON)"
    )
    # Spans that retention removed, so that the accounts of an instance still add up.
    connection.execute("create table if not exists evicted (service VARCHAR, instance VARCHAR, spans BIGINT)")
