"""OpenTelemetry's own instrumentors, called by the application while ours are on: one span a call."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
import sqlalchemy as sa
from opentelemetry.instrumentation.redis import RedisInstrumentor as TheirRedis
from opentelemetry.instrumentation.sqlalchemy import SQLAlchemyInstrumentor as TheirSQLAlchemy
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

sys.path.insert(0, str(Path(__file__).parent))

from redis_stub import client, client_async

from spanwise.instrumentors.redis import RedisInstrumentor
from spanwise.instrumentors.sqlalchemy import SQLAlchemyInstrumentor

Scopes = Callable[[], list[str]]


@pytest.fixture
def provider() -> TracerProvider:
    return TracerProvider(shutdown_on_exit=False)


@pytest.fixture
def scopes(provider: TracerProvider) -> Scopes:
    """Whose the spans since the last call are, those of connecting aside, which ours makes none of."""
    exporter = InMemorySpanExporter()
    provider.add_span_processor(SimpleSpanProcessor(exporter))

    def read() -> list[str]:
        spans = exporter.get_finished_spans()
        exporter.clear()
        scopes = [span.instrumentation_scope.name for span in spans if span.name != "connect"]
        return [name.split(".")[0] for name in scopes]

    return read


@pytest.fixture(autouse=True)
def ours(provider: TracerProvider) -> Iterator[None]:
    RedisInstrumentor().instrument(tracer_provider=provider, info=False)
    SQLAlchemyInstrumentor().instrument(tracer_provider=provider)
    yield
    for theirs in (TheirRedis(), TheirSQLAlchemy()):
        if theirs.is_instrumented_by_opentelemetry:
            theirs.uninstrument()
    RedisInstrumentor().uninstrument()
    SQLAlchemyInstrumentor().uninstrument()


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [each.getMessage() for each in caplog.records if each.levelno >= logging.WARNING]


def run(engine: sa.engine.Engine) -> None:
    with engine.connect() as connection:
        connection.execute(sa.text("SELECT 1"))
        connection.execution_options(stream_results=False).execute(sa.text("SELECT 2"))


def test_an_engine_that_theirs_was_given(
    provider: TracerProvider, scopes: Scopes, caplog: pytest.LogCaptureFixture
) -> None:
    given, other = sa.create_engine("sqlite://"), sa.create_engine("sqlite://")
    TheirSQLAlchemy().instrument(engine=given, tracer_provider=provider, skip_dep_check=True)
    run(given)
    run(given.execution_options(logging_token="x"))
    assert scopes() == ["opentelemetry"] * 4
    run(other)
    assert scopes() == ["spanwise"] * 2
    (warning,) = warnings(caplog)
    assert "sqlalchemy" in warning
    TheirSQLAlchemy().uninstrument()
    run(given)
    assert scopes() == ["spanwise"] * 2


def use(one: redis.Redis) -> None:
    one.get("key")
    one.get("key")
    one.pipeline(transaction=False).get("a").get("b").execute()


def test_redis_of_the_process(
    provider: TracerProvider, scopes: Scopes, caplog: pytest.LogCaptureFixture
) -> None:
    one, other = client(), client_async()
    use(one)
    assert scopes() == ["spanwise"] * 3
    TheirRedis().instrument(tracer_provider=provider, skip_dep_check=True)
    use(one)
    use(client())

    async def work() -> None:
        await other.get("key")

    asyncio.run(work())
    assert scopes() == ["opentelemetry"] * 7
    (warning,) = warnings(caplog)
    assert "redis" in warning


def test_ours_turned_off_beneath_theirs_says_nothing(
    provider: TracerProvider, scopes: Scopes, caplog: pytest.LogCaptureFixture
) -> None:
    TheirRedis().instrument(tracer_provider=provider, skip_dep_check=True)
    RedisInstrumentor().uninstrument()
    use(client())
    assert scopes() == ["opentelemetry"] * 3
    assert warnings(caplog) == []
    RedisInstrumentor().instrument(tracer_provider=provider, info=False)
    use(client())
    assert scopes() == ["opentelemetry"] * 3
    assert len(warnings(caplog)) == 1, "the one that is on says so, not the one of before beneath theirs"


def test_a_client_that_theirs_was_given(
    provider: TracerProvider, scopes: Scopes, caplog: pytest.LogCaptureFixture
) -> None:
    given, other = client(), client()
    TheirRedis.instrument_client(given, tracer_provider=provider)
    use(given)
    assert scopes() == ["opentelemetry"] * 3
    use(other)
    assert scopes() == ["spanwise"] * 3
    assert len(warnings(caplog)) == 1


def test_one_that_is_imported_and_not_called(scopes: Scopes, caplog: pytest.LogCaptureFixture) -> None:
    own: Any = client()
    use(own)
    run(sa.create_engine("sqlite://"))
    assert scopes() == ["spanwise"] * 5
    assert warnings(caplog) == []
