"""What the tests of the SQLAlchemy instrumentor share."""

from __future__ import annotations

import gc
import sqlite3
from types import SimpleNamespace
from typing import Any

import sqlalchemy as sa
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from sqlalchemy.engine import Engine
from sqlalchemy.pool import StaticPool

from spanwise import names
from spanwise.instrumentors import _abandoned
from spanwise.instrumentors.sqlalchemy import SQLAlchemyInstrumentor

DURATION = names.DB_CLIENT_OPERATION_DURATION.name
TRACKS = sa.table("tracks", sa.column("id"), sa.column("name"))


class Observed:
    """An instrumented process: its spans and its metrics."""

    def __init__(self, sampler: Any = None) -> None:
        self.exporter = InMemorySpanExporter()
        self.tracer_provider = TracerProvider(sampler=sampler)
        self.tracer_provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.reader = InMemoryMetricReader()
        self.meter_provider = MeterProvider([self.reader])
        self.tracer = self.tracer_provider.get_tracer("test")

    def instrument(self, **options: Any) -> None:
        SQLAlchemyInstrumentor().instrument(
            tracer_provider=self.tracer_provider, meter_provider=self.meter_provider, **options
        )

    def spans(self) -> list[ReadableSpan]:
        gc.collect()
        _abandoned.end_abandoned()
        return list(self.exporter.get_finished_spans())

    def names(self) -> list[str]:
        return [span.name for span in self.spans()]

    def one(self) -> ReadableSpan:
        (span,) = self.spans()
        return span

    def points(self, wanted: str = DURATION) -> list[Any]:
        data = self.reader.get_metrics_data()
        if data is None:
            return []
        metrics = [m for r in data.resource_metrics for s in r.scope_metrics for m in s.metrics]
        return [point for metric in metrics if metric.name == wanted for point in metric.data.data_points]


def new_engine(driver: type[sqlite3.Connection] = sqlite3.Connection, **options: Any) -> Engine:
    engine = sa.create_engine(
        "sqlite://",
        poolclass=StaticPool,
        connect_args={"check_same_thread": False, "factory": driver},
        **options,
    )
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE tracks (id INTEGER PRIMARY KEY, name TEXT UNIQUE)")
        connection.exec_driver_sql("INSERT INTO tracks (name) VALUES ('one'), ('two')")
    return engine


def run(engine: Engine, statement: Any, *parameters: Any) -> None:
    with engine.begin() as connection:
        connection.execute(statement if not isinstance(statement, str) else sa.text(statement), *parameters)


def recording() -> tuple[type[sqlite3.Connection], list[str]]:
    """A driver's connection, and the statements that such ones were given."""
    given: list[str] = []

    class Cursor(sqlite3.Cursor):
        def execute(self, statement: str, *rest: Any) -> Any:
            given.append(statement)
            return super().execute(statement, *rest)

        def executemany(self, statement: str, *rest: Any) -> Any:
            given.append(statement)
            return super().executemany(statement, *rest)

    class Connection(sqlite3.Connection):
        def cursor(self, factory: Any = Cursor) -> Any:
            return super().cursor(factory)

    return Connection, given


def execute_at(url: str, statement: str, cursor: Any) -> None:
    """Has our listener carry out a statement of an engine whose driver isn't installed here."""

    class Holder:  # stands for the engine, its dialect, pool and connection
        pass

    held: Any = Holder()
    held.url, held.engine, held.dialect, held.pool = sa.make_url(url), held, held, held
    held.name = held.url.get_backend_name()
    done: list[str] = []
    held.do_execute = lambda _cursor, statement, _parameters, _context: done.append(statement)
    statements = SQLAlchemyInstrumentor()._statements
    assert statements is not None
    listener = dict(statements.events)["do_execute"]
    held.dispatch = SimpleNamespace(do_execute=(listener,))
    context = SimpleNamespace(root_connection=held, dialect=held)
    assert listener(cursor, statement, (), context)
    assert done == [statement]
