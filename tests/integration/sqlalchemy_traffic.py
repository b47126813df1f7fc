"""The traffic that the oracle test of SQLAlchemy runs: ``python sqlalchemy_traffic.py WHOSE URL ASYNC_URL``.

WHOSE is ``ours``, ``contrib`` or ``switched``: spanwise told by its setting to use contrib's. Prints the
recorder's steps as JSON.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
import sys
from typing import Any

import sqlalchemy as sa
from opentelemetry import metrics, trace
from opentelemetry.instrumentation.utils import suppress_instrumentation
from opentelemetry.trace import SpanKind
from sqlalchemy.orm import Session, declarative_base
from sqlalchemy.pool import NullPool, QueuePool

from oracle_compare import Recorder

WHOSE, URL, ASYNC_URL = sys.argv[1:4]
SMALL = {"poolclass": QueuePool, "pool_size": 2, "max_overflow": 1}


def settle() -> None:
    if WHOSE == "ours":
        from spanwise.instrumentors import _abandoned

        _abandoned.end_abandoned()


recorder = Recorder(settle)
tracer = recorder.tracer_provider.get_tracer("traffic")
early = sa.create_engine(URL, **SMALL)
executed: list[str] = []


def instrument(**options: Any) -> Any:
    if WHOSE == "switched":
        from spanwise.instrumentors.load import load
        from spanwise.settings import Settings

        trace.set_tracer_provider(recorder.tracer_provider)
        metrics.set_meter_provider(recorder.meter_provider)
        settings = Settings(
            enabled_instrumentations=("sqlalchemy",), contrib_instrumentations=("sqlalchemy",)
        )
        outcomes = load(settings, lambda _: {**options, "engine": early})
        (outcome,) = [each for each in outcomes if each.name == "sqlalchemy"]
        assert outcome.state == "instrumented", outcome
        assert "opentelemetry-instrumentation-sqlalchemy" in outcome.detail, outcome
        return None
    if WHOSE == "ours":
        from spanwise.instrumentors.sqlalchemy import SQLAlchemyInstrumentor
    else:
        from opentelemetry.instrumentation.sqlalchemy import SQLAlchemyInstrumentor

        options["engine"] = early
    made = SQLAlchemyInstrumentor()
    made.instrument(
        tracer_provider=recorder.tracer_provider, meter_provider=recorder.meter_provider, **options
    )
    return made


instrumentor = instrument()
late = sa.create_engine(URL, **SMALL)
unpooled = sa.create_engine(URL, poolclass=NullPool)
Base: Any = declarative_base()


class Album(Base):
    __tablename__ = "albums"
    id = sa.Column(sa.Integer, primary_key=True)
    title = sa.Column(sa.String, unique=True)


albums: Any = Album.__table__


def synchronous() -> None:
    with recorder.step("connect"), late.connect():
        pass
    with recorder.step("create table"), early.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE albums (id INTEGER PRIMARY KEY, title VARCHAR(40) UNIQUE)")
    for name, engine in (("early", early), ("late", late), ("unpooled", unpooled)):
        with recorder.step(f"select, {name} engine"), engine.connect() as connection:
            connection.execute(sa.select(albums.c.title).where(albums.c.id == 1)).all()
    with late.connect() as connection:
        statements(connection)
    with recorder.step("session"), tracer.start_as_current_span("request"), Session(late) as session:
        album = session.get(Album, 1)
        album.title = "un"
        session.commit()
    with recorder.step("held connections"):
        held = [early.connect(), early.connect()]
        for each in held:
            each.execute(sa.text("SELECT 1")).all()
    with recorder.step("given back"):
        for each in held:
            each.close()
    with (
        recorder.step("options"),
        late.execution_options(isolation_level="AUTOCOMMIT").connect() as connection,
    ):
        connection.execute(sa.text("SELECT 1")).all()
    with recorder.step("drop table"), early.begin() as connection:
        connection.exec_driver_sql("DROP TABLE albums")
    with recorder.step("disposed"):
        for engine in (early, late):
            engine.dispose()


def statements(connection: Any) -> None:
    def run(step: str, statement: Any, *parameters: Any, request: bool = True) -> None:
        with recorder.step(step):
            if request:
                with tracer.start_as_current_span("request", kind=SpanKind.SERVER):
                    result = connection.execute(statement, *parameters)
            else:
                result = connection.execute(statement, *parameters)
            if result.returns_rows:
                recorder.note("rows", [list(row) for row in result.all()])

    def failing(step: str, statement: Any, *parameters: Any) -> None:
        with recorder.step(step), tracer.start_as_current_span("request"):
            savepoint = connection.begin_nested() if connection.in_transaction() else connection.begin()
            try:
                connection.execute(statement, *parameters)
            except sa.exc.DBAPIError as error:
                recorder.note("raised", type(error).__name__)
            savepoint.rollback()

    run("insert", albums.insert(), {"id": 1, "title": "one"})
    run("batch", albums.insert(), [{"id": 2, "title": "two"}, {"id": 3, "title": "three"}])
    run("select", sa.select(albums.c.title).where(albums.c.id == 1))
    run("select outside", sa.select(albums.c.title).where(albums.c.id == 1), request=False)
    run("literal", sa.text("SELECT 'literal' FROM albums a JOIN albums b ON a.id = b.id"))
    run("comment", sa.text("/* by hand */ SELECT count(*) FROM albums"))
    run("lower case", sa.text("select id from albums order by id"))
    run("common table expression", sa.text("WITH few AS (SELECT id FROM albums) SELECT count(*) FROM few"))
    run("update", albums.update().where(albums.c.id == 2).values(title="deux"))
    run("delete", albums.delete().where(albums.c.id == 3))
    connection.commit()
    failing("fails: no table", sa.text("SELECT * FROM missing"))
    failing("fails: not unique", albums.insert(), {"id": 4, "title": "one"})
    connection.rollback()
    with recorder.step("savepoint"), connection.begin(), connection.begin_nested():
        pass
    with recorder.step("suppressed"), suppress_instrumentation():
        connection.execute(sa.text("SELECT 1")).all()
        tracer.start_span("something else").end()
    connection.rollback()
    with recorder.step("many in one request"), tracer.start_as_current_span("request", kind=SpanKind.SERVER):
        for number in range(12):
            connection.execute(sa.select(albums.c.title).where(albums.c.id == number)).all()
    connection.rollback()


async def asynchronous() -> None:
    # After instrumenting: contrib's replaces the function.
    from sqlalchemy.ext.asyncio import create_async_engine

    engine = create_async_engine(ASYNC_URL)
    with recorder.step("asynchronous"), tracer.start_as_current_span("request"):
        async with engine.connect() as connection:
            await connection.execute(sa.text("SELECT 1"))
            try:
                await connection.execute(sa.text("SELECT * FROM missing"))
            except sa.exc.DBAPIError as error:
                recorder.note("raised", type(error).__name__)
    await engine.dispose()


def commented(step: str, **options: Any) -> None:
    """Statements as the driver gets them, without the ids, which are never the same."""
    instrumentor.uninstrument()
    executed.clear()
    instrument(enable_commenter=True, **options)
    engine = sa.create_engine(URL)

    # What is left to the driver: the comment is there by then, whoever adds it.
    @sa.event.listens_for(engine, "do_execute")
    def last(_cursor: Any, statement: str, *_: Any) -> None:
        executed.append(statement)

    with recorder.step(step):
        with engine.connect() as connection:
            for statement in ("SELECT 1", "SELECT 2;", "/* by hand */ SELECT 3"):
                connection.exec_driver_sql(statement)
        recorder.note("executed", [without_ids(each) for each in executed])
    for span in recorder.steps[step]["spans"]:
        for key in {"db.statement", "db.query.text"} & span["attributes"].keys():
            span["attributes"][key] = without_ids(span["attributes"][key])
    engine.dispose()


def without_ids(statement: str) -> str:
    return re.sub("00-[0-9a-f]{32}-[0-9a-f]{16}-0[0-9]", "TRACEPARENT", statement)


logging.disable(logging.CRITICAL)
synchronous()
if WHOSE != "switched":
    commented("comments")
    commented("some comments", commenter_options={"db_driver": False, "opentelemetry_values": False})
    commented("comments shown", enable_attribute_commenter=True)
    instrumentor.uninstrument()
    instrument()
asyncio.run(asynchronous())  # last: contrib's cannot be switched off when it has seen an asynchronous engine
print(json.dumps(recorder.steps))
