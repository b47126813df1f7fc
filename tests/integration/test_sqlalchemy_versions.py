"""SQLAlchemy 1.4, 2.0 and 2.1, with and without greenlet, give the same spans and pool metrics.

Each set of requirements gets an environment of its own in the user's cache, made once. What contrib's
instrumentor tells of the same traffic is compared in test_sqlalchemy_oracle.py.
"""

from __future__ import annotations

import functools
import json
import sys
from typing import Any

import pytest

from environments import environment, run

VERSIONS = ("1.4", "2.0", "2.1")

# 0.22 turned aiosqlite's connection from a thread into an object that holds one; SQLAlchemy 1.4 sets
# an attribute of threads on it.
COMMON = ("aiosqlite>=0.19,<0.22",)

PROBE = """
import asyncio, json, sys
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

exporter, provider = InMemorySpanExporter(), TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(exporter))
tracer = provider.get_tracer("probe")

import sqlalchemy as sa
from sqlalchemy.orm import Session, declarative_base

early = sa.create_engine("sqlite:///:memory:")
from spanwise.instrumentors.sqlalchemy import SQLAlchemyInstrumentor
SQLAlchemyInstrumentor().instrument(tracer_provider=provider)
late = sa.create_engine("sqlite:///:memory:")
Base = declarative_base()

class Album(Base):
    __tablename__ = "albums"
    id = sa.Column(sa.Integer, primary_key=True)
    title = sa.Column(sa.String, unique=True)

albums = Album.__table__
CREATE = "CREATE TABLE albums (id INTEGER PRIMARY KEY, title VARCHAR UNIQUE)"

def work(engine):
    with engine.connect() as connection:
        connection.exec_driver_sql(CREATE)
        with tracer.start_as_current_span("request"):
            connection.execute(albums.insert(), {"title": "one"})
            connection.execute(albums.insert(), [{"title": "two"}, {"title": "three"}])
            connection.execute(sa.select(albums.c.title).where(albums.c.id == 1)).all()
            connection.execute(sa.text("SELECT 'literal' FROM albums a JOIN albums b ON a.id = b.id")).all()
            connection.execute(albums.update().where(albums.c.id == 2).values(title="deux"))
            connection.execute(albums.delete().where(albums.c.id == 3))
            try:
                connection.execute(albums.insert(), {"title": "one"})
            except sa.exc.IntegrityError:
                pass
        with tracer.start_as_current_span("orm"), Session(connection) as session:
            album = session.get(Album, 1)
            album.title = "un"
            session.flush()

async def asynchronous():
    from sqlalchemy.ext.asyncio import create_async_engine
    engine = create_async_engine("sqlite+aiosqlite:///:memory:")

    async def request(number):
        with tracer.start_as_current_span("request %d" % number):
            async with engine.connect() as connection:
                await asyncio.sleep(0)
                await connection.execute(sa.text("SELECT 1"))
                try:
                    await connection.execute(sa.text("SELECT * FROM missing"))
                except sa.exc.OperationalError:
                    pass

    await asyncio.gather(*(request(number) for number in range(3)))
    await engine.dispose()

async def cancelled():
    from sqlalchemy.ext.asyncio import create_async_engine
    engine = create_async_engine("sqlite+aiosqlite:///:memory:")
    executing = asyncio.Event()
    loop = asyncio.get_running_loop()

    async def work():
        async with engine.connect() as connection:
            # A function that the driver's thread calls while it executes.
            raw = await connection.get_raw_connection()
            def tell():
                loop.call_soon_threadsafe(executing.set)
                return 1
            await raw.driver_connection.create_function("now_executing", 0, tell)
            await connection.execute(sa.text(
                "WITH RECURSIVE n(i) AS (SELECT now_executing() UNION ALL SELECT i + 1 FROM n LIMIT 300000) "
                "SELECT count(*) FROM n"
            ))

    task = asyncio.ensure_future(work())
    await asyncio.wait_for(executing.wait(), 30)
    task.cancel()
    try:
        await task
    except asyncio.CancelledError:
        pass
    await engine.dispose()

def told():
    spans = exporter.get_finished_spans()
    by_id = {span.context.span_id: span.name for span in spans}
    found = [
        {
            "name": span.name,
            "kind": span.kind.name,
            "parent": by_id.get(span.parent.span_id) if span.parent else None,
            "status": span.status.status_code.name,
            "description": span.status.description,
            "attributes": dict(span.attributes),
            "events": [dict(event.attributes) for event in span.events],
        }
        for span in spans
        if span.kind.name == "CLIENT"
    ]
    exporter.clear()
    return found

result = {"version": sa.__version__}
for name, engine in (("early", early), ("late", late)):
    work(engine)
    result[name] = told()
try:
    import greenlet
except ImportError:
    result["async"] = None
else:
    asyncio.run(asynchronous())
    result["async"] = sorted(told(), key=lambda span: (span["parent"], span["name"]))
    asyncio.run(cancelled())
    result["cancelled"] = told()
print(json.dumps(result))
"""


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
        run(_environment(version, greenlet), "-c", PROBE, env={"OTEL_SEMCONV_STABILITY_OPT_IN": "database"})
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
