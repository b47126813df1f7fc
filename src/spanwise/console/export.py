"""The stored spans, for whoever works through all of them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from spanwise.console.schema import open_for_reading

if TYPE_CHECKING:
    import duckdb

__all__ = ["StoredSpan", "spans_of"]

StoredSpan: TypeAlias = tuple[str, str, str, int, int, str, str, int]
"""Trace id in hexadecimal, name, kind, start and end in nanoseconds, status, attributes as JSON, and the
bytes of its texts."""

_PAGE: Final = 10_000  # rows in memory at a time, some 10 MB
# Not in the order of arrival: sorting would need room for all of them.
_SPANS: Final = (
    "select trace_id, name, kind, start_ns, end_ns, status, attributes,"
    " strlen(name) + strlen(attributes) + strlen(events) + strlen(links), resource_id from spans"
)


def spans_of(path: Path) -> tuple[int, Iterator[tuple[dict[str, Any], list[StoredSpan]]]]:
    """How many spans there are, and all of them in pages, each with its resource's attributes.

    Args:
        path: the console's file, which no process may have open for writing.

    Raises:
        ConfigurationError: it cannot be read.
    """
    connection = open_for_reading(path)
    counted = connection.execute("select count(*) from spans").fetchone()
    return (counted[0] if counted else 0), _pages(connection)


def _pages(connection: duckdb.DuckDBPyConnection) -> Iterator[tuple[dict[str, Any], list[StoredSpan]]]:
    try:
        resources = {
            resource_id: json.loads(attributes)
            for resource_id, attributes in connection.execute(
                "select resource_id, attributes from resources"
            ).fetchall()
        }
        rows = connection.cursor().execute(_SPANS)
        while page := rows.fetchmany(_PAGE):
            by_resource: dict[str, list[StoredSpan]] = {}
            for row in page:
                by_resource.setdefault(row[-1], []).append(row[:-1])
            for resource_id, spans in by_resource.items():
                yield resources.get(resource_id, {}), spans
    finally:
        connection.close()
