"""What SQLAlchemy's instrumentor tells of a real PostgreSQL: rows, slow statements, comments, and its end."""

# ruff: noqa: E402  (the helpers are imported by path)

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from opentelemetry.trace import format_span_id, format_trace_id
from sqlalchemy import event
from sqlalchemy.ext.asyncio import create_async_engine

HERE = Path(__file__).resolve().parent
for folder in (HERE, HERE.parent / "unit" / "instrumentors"):
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))

from servers import free_port, postgres
from sqlalchemy_parts import Observed

from spanwise import names
from spanwise.instrumentors.sqlalchemy import SQLAlchemyInstrumentor

pytestmark = pytest.mark.real

DOWN = names.DB_CLIENT_CONNECTION_DOWN.name
ROWS = names.DB_CLIENT_RESPONSE_RETURNED_ROWS.name


@pytest.fixture
def observed(monkeypatch: pytest.MonkeyPatch) -> Iterator[Observed]:
    monkeypatch.delenv("OTEL_SEMCONV_STABILITY_OPT_IN", raising=False)
    made = Observed()
    made.instrument(slow_statement=0.02, enable_commenter=True)
    yield made
    SQLAlchemyInstrumentor().uninstrument()


def down(observed: Observed) -> list[Any]:
    return [point.value for point in observed.points(DOWN)]


def test_a_server_that_goes_away(
    observed: Observed, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with postgres(tmp_path) as url:
        engine = sa.create_engine(url)
        with engine.connect() as connection:
            rows = connection.execute(sa.text("SELECT * FROM generate_series(1, 7)")).all()
            assert [(point.count, point.sum) for point in observed.points(ROWS)] == [(1, len(rows))]

            # The server itself says what it was sent.
            seen = connection.execute(
                sa.text("SELECT query FROM pg_stat_activity WHERE pid = pg_backend_pid()")
            ).scalar_one()
            span = observed.spans()[-1].get_span_context()
            trace, own = format_trace_id(span.trace_id), format_span_id(span.span_id)
            assert f"traceparent='00-{trace}-{own}-" in seen

            with caplog.at_level(logging.WARNING):
                connection.execute(sa.text("SELECT pg_sleep(0.05), 'secret' WHERE 1 = :one"), {"one": 1})
            (line,) = [each.getMessage() for each in caplog.records if "pg_sleep" in each.getMessage()]
            assert "pg_sleep(?), ?" in line
            assert "secret" not in line
        assert down(observed) == [0]
        held = engine.connect()
    with pytest.raises(sa.exc.OperationalError):
        held.execute(sa.text("SELECT 1"))
    assert down(observed) == [1]
    held.close()
    with pytest.raises(sa.exc.OperationalError):
        engine.connect()
    assert down(observed) == [1]
    engine.dispose()


def test_no_server_at_all(observed: Observed) -> None:
    url = f"postgresql+psycopg://store@127.0.0.1:{free_port()}/postgres"
    engine = sa.create_engine(url)
    with pytest.raises(sa.exc.OperationalError):
        engine.connect()
    asynchronous = create_async_engine(url, pool_logging_name="asynchronous")

    async def connect() -> None:
        async with asynchronous.connect():
            pass

    with pytest.raises(sa.exc.OperationalError):
        asyncio.run(connect())
    assert down(observed) == [1, 1]
    assert observed.spans() == []


def test_what_the_dialect_asks_a_new_server_is_not_observed(observed: Observed, tmp_path: Path) -> None:
    asked: list[str] = []

    def note(_cursor: Any, statement: str, *_: Any) -> None:
        asked.append(statement)

    async def asynchronously(url: str) -> None:
        engine = create_async_engine(url)
        event.listen(engine.sync_engine, "do_execute", note)
        async with engine.connect() as connection:
            assert any("version()" in statement for statement in asked)
            assert observed.spans() == []
            await connection.execute(sa.text("SELECT 1"))
        await engine.dispose()

    with postgres(tmp_path) as url:
        engine = sa.create_engine(url)
        event.listen(engine, "do_execute", note)
        with engine.connect() as connection:
            assert any("version()" in statement for statement in asked)
            assert not any("traceparent" in statement for statement in asked)
            assert observed.spans() == []
            assert observed.points(names.DB_CLIENT_OPERATION_DURATION.name) == []
            connection.execute(sa.text("SELECT 1"))
        assert observed.names() == ["SELECT"]
        engine.dispose()
        asked.clear()
        observed.exporter.clear()
        asyncio.run(asynchronously(url))
        assert observed.names() == ["SELECT"]


def test_every_way_to_execute(observed: Observed, tmp_path: Path) -> None:
    songs = sa.Table(
        "songs",
        sa.MetaData(),
        sa.Column("id", sa.Integer, sa.Sequence("song_ids"), primary_key=True),
        sa.Column("name", sa.String, unique=True),
    )

    def work(connection: sa.Connection) -> list[str]:
        connection.exec_driver_sql("CREATE SEQUENCE song_ids")
        connection.exec_driver_sql("CREATE TABLE songs (id INTEGER PRIMARY KEY, name VARCHAR UNIQUE)")
        connection.commit()
        observed.exporter.clear()
        connection.execute(songs.insert(), {"name": "one"})
        rows = [{"name": str(number)} for number in range(3)]
        added = connection.execute(
            songs.insert().returning(songs.c.id), rows, execution_options={"insertmanyvalues_page_size": 2}
        )
        assert len(added.all()) == 3
        connection.execute(
            songs.update().where(songs.c.name == sa.bindparam("old")).values(name=sa.bindparam("new")),
            [{"old": "0", "new": "zero"}, {"old": "1", "new": "uno"}],
        )
        connection.exec_driver_sql("SELECT '100%'", execution_options={"no_parameters": True})
        streamed = connection.execute(sa.select(songs.c.name), execution_options={"stream_results": True})
        assert len(streamed.all()) == 4
        assert connection.scalar(songs.c.id.default.next_value()) == 5
        connection.commit()
        with pytest.raises(sa.exc.IntegrityError) as caught:
            connection.execute(songs.insert(), {"name": "one"})
        assert caught.value.statement is not None
        assert "traceparent" not in caught.value.statement
        connection.rollback()
        return observed.names()

    async def asynchronously(url: str) -> list[str]:
        engine = create_async_engine(url)
        async with engine.connect() as connection:
            found = await connection.run_sync(work)
        await engine.dispose()
        return found

    expected = [
        "INSERT songs",
        *["INSERT songs"] * 2,
        "BATCH UPDATE songs",
        "SELECT",
        "SELECT songs",
        "SELECT",
        "INSERT songs",
    ]
    with postgres(tmp_path) as url:
        engine = sa.create_engine(url)
        with engine.connect() as connection:
            assert work(connection) == expected
            assert observed.spans()[-1].attributes[names.DB_RESPONSE_STATUS_CODE] == "23505"  # type: ignore[index]
            connection.exec_driver_sql("DROP TABLE songs; DROP SEQUENCE song_ids")
            connection.commit()
        engine.dispose()
        assert asyncio.run(asynchronously(url)) == expected


def test_a_cancelled_statement(observed: Observed, tmp_path: Path) -> None:
    async def work(url: str) -> None:
        engine = create_async_engine(url)
        asked = asyncio.Event()
        event.listen(engine.sync_engine, "do_execute", lambda *_: asked.set())
        async with engine.connect() as connection:
            asked.clear()
            task = asyncio.ensure_future(connection.execute(sa.text("SELECT pg_sleep(60)")))
            await asyncio.wait_for(asked.wait(), 30)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        await engine.dispose()

    with postgres(tmp_path) as url:
        asyncio.run(work(url))
    span = observed.one()
    assert (span.attributes or {})[names.ERROR_TYPE] == "asyncio.exceptions.CancelledError"
    assert names.DB_RESPONSE_STATUS_CODE not in (span.attributes or {})
