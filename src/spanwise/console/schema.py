"""The console's tables, and how a DuckDB file is opened.

Every table starts with ``seq``, the order of arrival, which retention counts by. ``at`` is a reserved word in
DuckDB, so times are ``…_ns``. The schema carries a version: a file written by another one is refused.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from spanwise.console.rows import LogRow, PointRow, SpanRow
from spanwise.errors import ConfigurationError
from spanwise.shown import printable

if TYPE_CHECKING:
    import duckdb

__all__ = ["COLUMN_TYPES", "TABLES", "first_line", "open_database", "open_for_reading", "readable"]

_VERSION: Final = 1
_OTHER_FILE: Final = "Name another file with --database"
_CONSOLE_S: Final = "Name the console's database"

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
    place = str(path)
    if place != ":memory:":
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise _unusable(place, _OTHER_FILE, error.strerror or str(error)) from None
    connection = _connect(place, "Stop the other console or name another file with --database", _OTHER_FILE)
    try:
        with readable(place):
            _create(connection, place)
    except BaseException:
        connection.close()
        raise
    return connection


@contextmanager
def readable(place: str) -> Iterator[None]:
    """A block that reads the file; what DuckDB cannot read in it is an error that names it.

    Raises:
        ConfigurationError: the file is damaged, or holds something else than the console's tables.
    """
    import duckdb

    try:
        yield
    except (duckdb.Error, RuntimeError) as error:
        raise _unusable(place, _OTHER_FILE, f"DuckDB says: {first_line(error)}") from None


def open_for_reading(path: Path) -> duckdb.DuckDBPyConnection:
    """Open the console's file, which is there, and change nothing in it.

    Raises:
        ConfigurationError: as :func:`open_database`.
    """
    import duckdb

    place = str(path)
    connection = _connect(place, "Stop the console meanwhile", _CONSOLE_S, read_only=True)
    try:
        found = connection.execute("select version from console_schema").fetchall()
    except duckdb.Error:
        found = []
    if found != [(_VERSION,)]:
        connection.close()
        said = (
            f"has schema version {_shown(found[0][0])}, this reads {_VERSION}"
            if found
            else "is not the console's"
        )
        raise ConfigurationError(f"The database {said}", where=place, fix=f"{_CONSOLE_S}.")
    return connection


def _connect(place: str, if_open: str, if_bad: str, read_only: bool = False) -> duckdb.DuckDBPyConnection:
    import duckdb

    why = _no_file(place)
    if why:
        raise _unusable(place, if_bad, why)
    try:
        # Two threads: enough for one page, and an application shares this machine.
        # No extension is fetched from the network, whatever a query names.
        return duckdb.connect(
            place,
            read_only=read_only,
            config={
                "threads": "2",
                "memory_limit": "1GB",
                "autoinstall_known_extensions": "false",
            },
        )
    except (duckdb.Error, RuntimeError) as error:
        if "could not set lock" in str(error).lower():
            raise ConfigurationError(
                "The database is open in another process",
                where=place,
                fix=f"{if_open}.",
            ) from None
        raise _unusable(place, if_bad, f"DuckDB says: {first_line(error)}") from None


def _no_file(place: str) -> str:
    """Why there can be no database; empty where there can. A pipe would have us wait for ever."""
    try:
        kind = os.stat(place).st_mode
    except (OSError, ValueError):
        return ""  # there is none yet, or DuckDB tells
    return "" if stat.S_ISREG(kind) else "It is not a regular file"


def _unusable(place: str, fix: str, why: str) -> ConfigurationError:
    return ConfigurationError("The database cannot be opened", where=place, fix=f"{fix}. {why}")


def _shown(version: object) -> str:
    return printable(str(version)[:20])


def first_line(error: Exception) -> str:
    """The first line of an error's text, escaped and cut."""
    return printable((str(error).splitlines() or [""])[0][:200])


def _create(connection: duckdb.DuckDBPyConnection, place: str) -> None:
    tables = {row[0] for row in connection.execute("select table_name from duckdb_tables()").fetchall()}
    if tables and "console_schema" not in tables:
        raise _unusable(place, _OTHER_FILE, "It is another program's")
    connection.execute("create table if not exists console_schema (version BIGINT)")
    versions = {row[0] for row in connection.execute("select version from console_schema").fetchall()}
    if not versions:
        connection.execute("insert into console_schema values (?)", [_VERSION])
    elif versions != {_VERSION}:
        raise ConfigurationError(
            f"The database has schema version {_shown(max(versions))}, this console reads {_VERSION}",
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
