"""SQLAlchemy 1.4, 2.0 and 2.1, with and without greenlet, give the same spans and pool metrics.

Each set of requirements gets an environment of its own in the user's cache, made once. What contrib's
instrumentor tells of the same traffic is compared in test_sqlalchemy_oracle.py.
"""

from __future__ import annotations

import functools
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from environments import environment, run

VERSIONS = ("1.4", "2.0", "2.1")

# 0.22 turned aiosqlite's connection from a thread into an object that holds one; SQLAlchemy 1.4 sets
# an attribute of threads on it.
COMMON = ("aiosqlite>=0.19,<0.22",)

PROBE = Path(__file__).with_name("sqlalchemy_probe.py")


def _environment(version: str, greenlet: bool) -> str:
    """The Python of an environment with this SQLAlchemy."""
    return environment(
        f"sqlalchemy-{version}-{'greenlet' if greenlet else 'plain'}",
        [*COMMON, f"sqlalchemy=={version}.*", *(["greenlet"] if greenlet else [])],
        without="" if greenlet else "greenlet",
        variant=greenlet,
    )


@functools.lru_cache
def _probe(version: str, greenlet: bool) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(
        run(_environment(version, greenlet), str(PROBE), env={"OTEL_SEMCONV_STABILITY_OPT_IN": "database"})
    )
    assert found["version"].startswith(version + ".")
    return found


# name, parent, query text
STATEMENTS = [
    ("CREATE TABLE albums", None, "CREATE TABLE albums (id INTEGER PRIMARY KEY, title VARCHAR UNIQUE)"),
    ("INSERT albums", "request", "INSERT INTO albums (title) VALUES (?)"),
    ("BATCH INSERT albums", "request", "INSERT INTO albums (title) VALUES (?)"),
    ("SELECT albums", "request", "SELECT albums.title \nFROM albums \nWHERE albums.id = ?"),
    ("SELECT albums", "request", "SELECT ? FROM albums a JOIN albums b ON a.id = b.id"),
    ("UPDATE albums", "request", "UPDATE albums SET title=? WHERE albums.id = ?"),
    ("DELETE albums", "request", "DELETE FROM albums WHERE albums.id = ?"),
    ("INSERT albums", "request", "INSERT INTO albums (title) VALUES (?)"),
    ("SELECT albums", "orm", "SELECT {columns} \nFROM albums \nWHERE albums.id = ?"),
    ("UPDATE albums", "orm", "UPDATE albums SET title=? WHERE albums.id = ?"),
]
FAILED = 7  # the second INSERT of a title that must be unique
CODE = "SQLITE_CONSTRAINT_UNIQUE" if sys.version_info >= (3, 11) else None  # 3.10's sqlite3 doesn't tell
MESSAGE = "UNIQUE constraint failed: albums.title"


def _expected(version: str) -> list[dict[str, Any]]:
    # 2.1's ORM no longer labels the columns.
    labelled = "albums.id AS albums_id, albums.title AS albums_title"
    columns = "albums.id, albums.title" if version == "2.1" else labelled
    spans = []
    for number, (name, parent, text) in enumerate(STATEMENTS):
        operation = name.rpartition(" ")[0]
        attributes: dict[str, Any] = {
            "db.system.name": "sqlite",
            "db.namespace": ":memory:",
            "db.operation.name": operation,
            "db.collection.name": "albums",
            "db.query.summary": name,
            "db.query.text": text.replace("{columns}", columns),
        }
        if operation.startswith("BATCH"):
            attributes["db.operation.batch.size"] = 2
        if number == FAILED:
            attributes["error.type"] = CODE or "sqlite3.IntegrityError"
            if CODE:
                attributes["db.response.status_code"] = CODE
        failed = number == FAILED
        spans.append(
            {
                "name": name,
                "kind": "CLIENT",
                "parent": parent,
                "status": "ERROR" if failed else "UNSET",
                "description": MESSAGE if failed else None,
                "attributes": attributes,
                "events": [{"exception.type": "sqlite3.IntegrityError", "exception.message": MESSAGE}]
                * failed,
            }
        )
    return spans


@pytest.mark.parametrize("greenlet", [True, False], ids=["greenlet", "no-greenlet"])
@pytest.mark.parametrize("version", VERSIONS)
def test_every_version_gives_the_same_spans(version: str, greenlet: bool) -> None:
    found = _probe(version, greenlet)
    assert found["early"] == _expected(version)
    assert found["late"] == _expected(version)
    if not greenlet:
        assert found["async"] is None
        return
    told = [(span["name"], span["parent"], span["status"], span["kind"]) for span in found["async"]]
    assert told == [
        expected
        for number in range(3)
        for expected in (
            ("SELECT", f"request {number}", "UNSET", "CLIENT"),
            ("SELECT missing", f"request {number}", "ERROR", "CLIENT"),
        )
    ]


@pytest.mark.parametrize("version", VERSIONS)
def test_a_cancelled_statement_ends_its_span(version: str) -> None:
    (span,) = _probe(version, True)["cancelled"]
    assert (span["name"], span["status"]) == ("SELECT SELECT SELECT", "ERROR")
    assert span["attributes"]["error.type"] == "asyncio.exceptions.CancelledError"


@pytest.mark.parametrize("version", VERSIONS)
def test_the_statements_of_a_dialect_are_not_observed(version: str) -> None:
    assert _probe(version, True)["initialized"] == {"asked": [1, 2, 3], "spans": []}


@pytest.mark.parametrize("version", VERSIONS)
def test_a_connection_opened_before_is_observed(version: str) -> None:
    assert _probe(version, True)["opened before"] == ["SELECT"]


@pytest.mark.parametrize("version", VERSIONS)
def test_other_listeners_and_ours(version: str) -> None:
    # How often the other one was asked, the rows that were inserted, and the spans.
    expected = {
        f"{identifier}, {of}, {carries_out}": [1, rows, [name]]
        for identifier, rows, name in (
            ("do_execute", 1, "INSERT numbers"),
            ("do_executemany", 2, "BATCH INSERT numbers"),
        )
        for of in ("engine", "all")
        for carries_out in (False, True)
    }
    assert _probe(version, True)["beside"] == expected
    assert _probe(version, True)["without parameters"] == ["SELECT"]


@pytest.mark.parametrize("version", VERSIONS)
def test_connections_have_no_events_for_us(version: str) -> None:
    # A guard of the cost, which this mark doubles. In 1.4 it is set by listening for errors.
    assert _probe(version, True)["events"] is (version == "1.4")


POOL = {"idle.max": 1, "idle.min": 0}


@pytest.mark.parametrize("greenlet", [True, False], ids=["greenlet", "no-greenlet"])
@pytest.mark.parametrize("version", VERSIONS)
def test_every_version_gives_the_same_pool_metrics(version: str, greenlet: bool) -> None:
    assert _probe(version, greenlet)["pooled"] == {
        "small": {
            **POOL,
            "max": 1,
            "count idle": 0,
            "count used": 1,
            "pending_requests": 0,
            "timeouts": 2,
            "create_time": 1,
            "wait_time": 3,
            "use_time": 2,
            "down": 0,
        },
        "missing": {
            "idle.max": 5,
            "idle.min": 0,
            "max": 15,
            "count idle": 0,
            "count used": 0,
            "pending_requests": 0,
            "down": 1,
        },
    }


@pytest.mark.parametrize("version", VERSIONS)
def test_asynchronous_pools(version: str) -> None:
    assert _probe(version, True)["asynchronously pooled"] == {
        **POOL,
        "max": 2,
        "count idle": 0,
        "count used": 2,
        "pending_requests": 0,
        "create_time": 2,
        "wait_time": 2,
        "down": 0,
    }
