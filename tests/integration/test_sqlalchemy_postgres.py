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
            (line,) = [each.getMessage() for each in caplog.records if "slow statement" in each.getMessage()]
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
