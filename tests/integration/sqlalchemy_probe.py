"""Traffic on the SQLAlchemy that is installed, and what our instrumentor tells of it, as JSON."""

# ruff: noqa: E402, SIM105

import asyncio
import json
from importlib.util import find_spec
from typing import Any

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

exporter, provider = InMemorySpanExporter(), TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(exporter))
reader = InMemoryMetricReader()
meters = MeterProvider([reader])
tracer = provider.get_tracer("probe")

import sqlalchemy as sa
from sqlalchemy.orm import Session, declarative_base

early = sa.create_engine("sqlite:///:memory:")
opened_before = sa.create_engine("sqlite:///:memory:").connect()
from spanwise.instrumentors.sqlalchemy import SQLAlchemyInstrumentor

SQLAlchemyInstrumentor().instrument(tracer_provider=provider, meter_provider=meters, pool_use_time=True)
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
        with tracer.start_as_current_span(f"request {number}"):
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
            await connection.execute(
                sa.text(
                    "WITH RECURSIVE n(i) AS (SELECT now_executing() UNION ALL SELECT i + 1 FROM n"
                    " LIMIT 300000) SELECT count(*) FROM n"
                )
            )

    task = asyncio.ensure_future(work())
    await asyncio.wait_for(executing.wait(), 30)
    task.cancel()
    try:
        await task
    except asyncio.CancelledError:
        pass
    await engine.dispose()


def pool_metrics():
    """Of each pool: metric and state -> value, or how many were measured."""
    found: dict[str, dict[str, Any]] = {}
    for resource in reader.get_metrics_data().resource_metrics:
        for scope in resource.scope_metrics:
            for metric in scope.metrics:
                for point in metric.data.data_points:
                    pool = point.attributes.get("db.client.connection.pool.name")
                    if pool is not None:
                        state = point.attributes.get("db.client.connection.state", "")
                        key = f"{metric.name.removeprefix('db.client.connection.')} {state}".strip()
                        value = getattr(point, "count", getattr(point, "value", None))
                        found.setdefault(pool, {})[key] = value
    return found


def pooled():
    """A pool of one connection, which somebody waits for in vain, and a database that is not there."""
    engine = sa.create_engine(
        "sqlite://",
        poolclass=sa.pool.QueuePool,
        pool_size=1,
        max_overflow=0,
        pool_timeout=0.01,
        pool_logging_name="small",
        connect_args={"check_same_thread": False},
    )
    for _ in range(2):
        with engine.connect() as connection:
            connection.execute(sa.text("SELECT 1"))
            try:
                engine.connect()
            except sa.exc.TimeoutError:
                pass
    missing = sa.create_engine(
        "sqlite:////nowhere/a.db", poolclass=sa.pool.QueuePool, pool_logging_name="missing"
    )
    try:
        missing.connect()
    except sa.exc.OperationalError:
        pass
    held = engine.connect()
    found = pool_metrics()
    held.close()
    return found


def asynchronously_pooled():
    from sqlalchemy.ext.asyncio import create_async_engine

    async def measure():
        engine = create_async_engine(
            "sqlite+aiosqlite:///file:shared?mode=memory&cache=shared&uri=true",
            poolclass=sa.pool.AsyncAdaptedQueuePool,
            pool_size=1,
            max_overflow=1,
            pool_logging_name="async",
        )
        async with engine.connect() as connection:
            await connection.execute(sa.text("SELECT 1"))
            async with engine.connect():
                found = pool_metrics()
        await engine.dispose()
        return found

    return asyncio.run(measure())


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


def initialized():
    """A dialect that asks a new database what it is, in the ways in which dialects do."""
    engine = sa.create_engine("sqlite:///:memory:")
    original, asked = engine.dialect.initialize, []

    def initialize(connection):
        asked.append(connection.exec_driver_sql("SELECT 1 AS version").scalar())
        asked.append(connection.execute(sa.text("SELECT 2 AS schema")).scalar())
        cursor = connection.connection.cursor()
        connection._cursor_execute(cursor, "SELECT 3", ())
        asked.append(cursor.fetchone()[0])
        cursor.close()
        original(connection)

    engine.dialect.initialize = initialize
    with engine.connect():
        found = told()
    return {"asked": asked, "spans": found}


def beside():
    """How often other listeners are asked and statements executed, by what those listeners return."""
    found = {}
    for identifier, parameters in (("do_execute", (1,)), ("do_executemany", [(1,), (2,)])):
        for of in ("engine", "all"):
            for carries_out in (False, True):
                engine = sa.create_engine("sqlite:///:memory:")
                with engine.begin() as connection:
                    connection.exec_driver_sql("CREATE TABLE numbers (number INTEGER)")
                told()
                asked = []

                def listener(cursor, statement, given, context, identifier=identifier):
                    asked.append(statement)  # noqa: B023
                    if carries_out:  # noqa: B023
                        getattr(context.dialect, identifier)(cursor, statement, given, context)
                    return carries_out  # noqa: B023

                target = engine if of == "engine" else sa.engine.Engine
                sa.event.listen(target, identifier, listener)
                with engine.begin() as connection:
                    connection.exec_driver_sql("INSERT INTO numbers VALUES (?)", parameters)
                sa.event.remove(target, identifier, listener)
                names = [span["name"] for span in told()]
                with engine.connect() as connection:
                    rows = connection.execute(sa.text("SELECT count(*) FROM numbers")).scalar()
                told()
                found[f"{identifier}, {of}, {carries_out}"] = [len(asked), rows, names]
    return found


def without_parameters():
    engine = sa.create_engine("sqlite:///:memory:")
    with engine.connect() as connection:
        connection.execution_options(no_parameters=True).exec_driver_sql("SELECT 1")
    return [span["name"] for span in told()]


result = {"version": sa.__version__, "events": sa.engine.Engine._has_events}
opened_before.execute(sa.text("SELECT 1"))
opened_before.close()
result["opened before"] = [span["name"] for span in told()]
result["initialized"] = initialized()
result["beside"] = beside()
result["without parameters"] = without_parameters()
for name, engine in (("early", early), ("late", late)):
    work(engine)
    result[name] = told()
if find_spec("greenlet") is None:
    result["async"] = None
else:
    asyncio.run(asynchronous())
    result["async"] = sorted(told(), key=lambda span: (span["parent"], span["name"]))
    asyncio.run(cancelled())
    result["cancelled"] = told()
    result["asynchronously pooled"] = asynchronously_pooled()["async"]
result["pooled"] = {name: of for name, of in pooled().items() if name in ("small", "missing")}
print(json.dumps(result))
