"""The SQLAlchemy instrumentor on the installed SQLAlchemy and SQLite, and the call helper through it."""

from __future__ import annotations

import contextvars
import gc
import logging
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from time import perf_counter_ns
from types import SimpleNamespace
from typing import Any

import pytest
import sqlalchemy as sa
from opentelemetry import trace
from opentelemetry.instrumentation.utils import suppress_instrumentation
from opentelemetry.sdk.trace import SpanProcessor
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import SpanKind, StatusCode
from sqlalchemy import event
from sqlalchemy.engine import Engine

sys.path.insert(0, str(Path(__file__).parent))

from sqlalchemy_parts import TRACKS, Observed, execute_at, new_engine, run

from spanwise import names
from spanwise.instrumentors import _call, _calls, _sqlalchemy_statements
from spanwise.instrumentors._database import Conventions, conventions
from spanwise.instrumentors.sqlalchemy import SQLAlchemyInstrumentor


@pytest.fixture
def engine() -> Iterator[Engine]:
    made = new_engine()
    yield made
    made.dispose()


@pytest.fixture
def observed(monkeypatch: pytest.MonkeyPatch) -> Iterator[Observed]:
    monkeypatch.delenv("OTEL_SEMCONV_STABILITY_OPT_IN", raising=False)
    made = Observed()
    made.instrument()
    yield made
    if SQLAlchemyInstrumentor().is_instrumented_by_opentelemetry:
        SQLAlchemyInstrumentor().uninstrument()


Listen = Callable[..., None]


@pytest.fixture
def listen() -> Iterator[Listen]:
    """Adds a listener for the test's time."""
    added: list[tuple[Any, str, Any]] = []

    def add(target: Any, identifier: str, function: Any, **options: Any) -> None:
        event.listen(target, identifier, function, **options)
        added.append((target, identifier, function))

    yield add
    for target, identifier, function in added:
        event.remove(target, identifier, function)


# -- what a span says -------------------------------------------------------------------------


def test_a_select(engine: Engine, observed: Observed) -> None:
    run(engine, sa.select(TRACKS.c.id).where(TRACKS.c.name == "one"))
    span = observed.one()
    assert (span.name, span.kind, span.status.status_code) == (
        "SELECT tracks",
        SpanKind.CLIENT,
        StatusCode.UNSET,
    )
    assert dict(span.attributes or {}) == {
        names.DB_SYSTEM_NAME: "sqlite",
        names.DB_OPERATION_NAME: "SELECT",
        names.DB_COLLECTION_NAME: "tracks",
        names.DB_QUERY_SUMMARY: "SELECT tracks",
        names.DB_QUERY_TEXT: "SELECT tracks.id \nFROM tracks \nWHERE tracks.name = ?",
    }


def test_the_database_file_is_the_namespace(observed: Observed, tmp_path: Any) -> None:
    made = sa.create_engine(f"sqlite:///{tmp_path}/a.db")
    run(made, "SELECT 1")
    made.dispose()
    assert (observed.one().attributes or {})[names.DB_NAMESPACE] == f"{tmp_path}/a.db"


def test_literals_do_not_leave(engine: Engine, observed: Observed) -> None:
    run(engine, "SELECT id FROM tracks WHERE name = 'secret' AND id = 4711")
    assert (observed.one().attributes or {})[
        names.DB_QUERY_TEXT
    ] == "SELECT id FROM tracks WHERE name = ? AND id = ?"


@pytest.mark.parametrize(
    ("statement", "name"),
    [
        ("SELECT 1", "SELECT"),
        ("SELECT a.id FROM tracks a JOIN tracks b ON a.id = b.id", "SELECT tracks"),
        ("PRAGMA table_info(tracks)", "PRAGMA"),
        ("SAVEPOINT one", "SAVEPOINT"),
        ("/* nothing */", "sqlite"),
    ],
)
def test_names_fall_back(engine: Engine, observed: Observed, statement: str, name: str) -> None:
    with engine.connect() as connection:
        connection.exec_driver_sql(statement)
    assert observed.names() == [name]


def test_a_batch(engine: Engine, observed: Observed) -> None:
    run(engine, TRACKS.insert(), [{"name": "a"}, {"name": "b"}, {"name": "c"}])
    span = observed.one()
    attributes = span.attributes or {}
    assert span.name == "BATCH INSERT tracks"
    assert attributes[names.DB_OPERATION_BATCH_SIZE] == 3
    assert attributes[names.DB_OPERATION_NAME] == "BATCH INSERT"
    assert attributes[names.DB_COLLECTION_NAME] == "tracks"


def test_a_batch_of_one_is_no_batch(engine: Engine, observed: Observed) -> None:
    with engine.connect() as connection:
        connection.exec_driver_sql("INSERT INTO tracks (name) VALUES (?)", [("a",)])
    span = observed.one()
    assert span.name == "INSERT tracks"
    assert names.DB_OPERATION_BATCH_SIZE not in (span.attributes or {})


def test_one_insert_of_many_rows_is_no_batch(engine: Engine, observed: Observed) -> None:
    # RETURNING makes SQLAlchemy send all rows in one statement: executemany says True, and it isn't.
    run(engine, TRACKS.insert().returning(TRACKS.c.id), [{"name": "a"}, {"name": "b"}])
    span = observed.one()
    assert span.name == "INSERT tracks"
    assert "VALUES (?), ... RETURNING" in str((span.attributes or {})[names.DB_QUERY_TEXT])
    assert names.DB_OPERATION_BATCH_SIZE not in (span.attributes or {})


def test_no_span_for_connecting_and_transactions(observed: Observed) -> None:
    made = sa.create_engine("sqlite://")
    with made.begin():
        pass
    with made.connect() as connection:
        connection.rollback()
    made.dispose()
    assert observed.names() == []


def test_two_executions_are_two_spans(engine: Engine, observed: Observed) -> None:
    with engine.connect() as connection:
        connection.execute(sa.text("SELECT 1"))
        connection.execute(sa.text("SELECT 1"))
    assert observed.names() == ["SELECT", "SELECT"]


def test_an_engine_with_options_is_seen_once(engine: Engine, observed: Observed) -> None:
    with engine.execution_options(isolation_level="SERIALIZABLE").connect() as connection:
        connection.execution_options(yield_per=1).execute(sa.text("SELECT 1"))
    assert observed.names().count("SELECT") == 1


# -- parents ----------------------------------------------------------------------------------


def test_the_parent_is_the_span_current_at_execution(engine: Engine, observed: Observed) -> None:
    with engine.connect() as connection:  # checked out outside
        for name in ("first", "second"):
            with observed.tracer.start_as_current_span(name) as parent:
                connection.execute(sa.text("SELECT 1"))
                assert trace.get_current_span() is parent
    first_query, first, second_query, second = observed.spans()
    for query, parent_span in ((first_query, first), (second_query, second)):
        assert query.parent == parent_span.get_span_context()


def test_threads_keep_their_own_parent(observed: Observed, tmp_path: Any) -> None:
    made = sa.create_engine(f"sqlite:///{tmp_path}/a.db")

    def work(number: int) -> None:
        with observed.tracer.start_as_current_span(f"parent {number}"), made.connect() as connection:
            connection.execute(sa.text("SELECT 1"))

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    made.dispose()
    spans = observed.spans()
    parents = {s.get_span_context().span_id for s in spans if s.name.startswith("parent")}
    assert {s.parent.span_id for s in spans if s.name == "SELECT" and s.parent} == parents
    assert len(parents) == 8


def test_a_statement_within_a_statement(engine: Engine, observed: Observed, listen: Listen) -> None:
    def nested(_cursor: Any, statement: str, _parameters: Any, context: Any) -> None:
        if "tracks" in statement:
            context.root_connection.exec_driver_sql("SELECT 1")

    listen(engine, "do_execute", nested)
    with observed.tracer.start_as_current_span("request") as request:
        run(engine, "SELECT id FROM tracks")
    inner, outer, _ = observed.spans()
    assert (inner.name, outer.name) == ("SELECT", "SELECT tracks")
    assert inner.parent == outer.parent == request.get_span_context()
    assert outer.start_time <= inner.start_time <= inner.end_time <= outer.end_time


def test_a_statement_before_a_statement(engine: Engine, observed: Observed, listen: Listen) -> None:
    def first(conn: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if "tracks" in statement:
            conn.exec_driver_sql("SELECT 1")

    listen(engine, "before_cursor_execute", first)
    with observed.tracer.start_as_current_span("request") as request:
        run(engine, "SELECT id FROM tracks")
    one, other, _ = observed.spans()
    assert (one.name, other.name) == ("SELECT", "SELECT tracks")
    assert one.parent == other.parent == request.get_span_context()


# -- failures ---------------------------------------------------------------------------------


def test_a_failing_statement(engine: Engine, observed: Observed) -> None:
    with pytest.raises(sa.exc.IntegrityError):
        run(engine, TRACKS.insert(), {"name": "one"})
    span = observed.one()
    attributes = span.attributes or {}
    assert span.status.status_code is StatusCode.ERROR
    assert span.status.description == "UNIQUE constraint failed: tracks.name"
    # Python 3.10's sqlite3 has no result names.
    expected = "SQLITE_CONSTRAINT_UNIQUE" if sys.version_info >= (3, 11) else "sqlite3.IntegrityError"
    assert attributes[names.ERROR_TYPE] == expected
    assert attributes.get(names.DB_RESPONSE_STATUS_CODE) == (
        expected if sys.version_info >= (3, 11) else None
    )
    (raised,) = span.events
    assert raised.name == names.EXCEPTION_EVENT
    assert dict(raised.attributes or {}) == {
        names.EXCEPTION_TYPE: "sqlite3.IntegrityError",
        names.EXCEPTION_MESSAGE: "UNIQUE constraint failed: tracks.name",
    }


def test_an_error_message_does_not_carry_values(engine: Engine, observed: Observed) -> None:
    with pytest.raises(sa.exc.OperationalError):
        run(engine, "SELECT 'secret' FROM tracks WHERE nonesuch('secret')")
    with pytest.raises(sa.exc.OperationalError):
        run(engine, "SELECT * FROM tracks WHERE 'secret' 'secret' ''")
    for span in observed.spans():
        assert span.status.status_code is StatusCode.ERROR
        assert "secret" not in span.to_json()


class Sqlstate(sqlite3.Error):
    sqlstate = "23505"


class Numbered(sqlite3.Error):
    pass


@pytest.mark.parametrize(
    ("error", "code", "error_type"),
    [
        (Sqlstate("duplicate key"), "23505", "23505"),
        (Numbered(1062, "Duplicate entry"), "1062", "1062"),
        (Numbered(SimpleNamespace(full_code="ORA-00942")), "ORA-00942", "ORA-00942"),
        (OSError(104, "reset"), None, "ConnectionResetError"),
        (KeyboardInterrupt(), None, "KeyboardInterrupt"),
    ],
)
def test_the_databases_code(
    engine: Engine,
    observed: Observed,
    listen: Listen,
    error: BaseException,
    code: str | None,
    error_type: str,
) -> None:
    def refuse(*_: Any) -> None:
        raise error

    listen(engine, "do_execute_no_params", refuse)
    listen(engine, "do_execute", refuse)
    with pytest.raises((sa.exc.DBAPIError, OSError, KeyboardInterrupt)):
        run(engine, "SELECT 1")
    attributes = observed.one().attributes or {}
    assert attributes.get(names.DB_RESPONSE_STATUS_CODE) == code
    assert attributes[names.ERROR_TYPE] == error_type


def test_another_listener_failing_before(engine: Engine, observed: Observed, listen: Listen) -> None:
    def refuse(*_: Any) -> None:
        raise ValueError("not today")

    listen(engine, "before_cursor_execute", refuse)
    with pytest.raises(ValueError, match="not today"):
        run(engine, "SELECT 1")
    # The driver never got the statement, so there is nothing that took its time, and nothing to tell.
    assert observed.spans() == []
    assert observed.points() == []


def test_another_listener_failing_after(engine: Engine, observed: Observed, listen: Listen) -> None:
    def refuse(*_: Any) -> None:
        raise ValueError("not today")

    listen(Engine, "after_cursor_execute", refuse)
    with pytest.raises(ValueError, match="not today"):
        run(engine, "SELECT 1")
    assert observed.names() == ["SELECT"]


def test_an_error_that_sqlalchemy_tells_nobody_is_told_all_the_same(
    engine: Engine, listen: Listen, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A listener before ours that raises: SQLAlchemy then asks nobody else.
    def broken(_: Any) -> None:
        raise ValueError("a handler's own failure")

    monkeypatch.delenv("OTEL_SEMCONV_STABILITY_OPT_IN", raising=False)
    listen(Engine, "handle_error", broken)
    observed = Observed()
    observed.instrument()
    try:
        with pytest.raises(ValueError, match="own failure"):
            run(engine, "SELECT * FROM missing")
        span = observed.one()
    finally:
        SQLAlchemyInstrumentor().uninstrument()
    assert span.status.status_code is StatusCode.ERROR
    assert str((span.attributes or {})[names.ERROR_TYPE]).startswith(("SQLITE_ERROR", "sqlite3."))
    assert span.status.description == "no such table: missing"


# -- switching on and off ---------------------------------------------------------------------


def test_engines_made_before_and_after(engine: Engine, observed: Observed) -> None:
    later = new_engine()
    run(engine, "SELECT 1")
    run(later, "SELECT 1")
    later.dispose()
    assert observed.names()[-2:] == ["SELECT", "SELECT"]


def test_off_and_on_again(engine: Engine, observed: Observed) -> None:
    SQLAlchemyInstrumentor().uninstrument()
    run(engine, "SELECT 1")
    assert observed.names() == []
    with pytest.raises(sa.exc.OperationalError):
        run(engine, "SELECT * FROM missing")
    observed.instrument()
    run(engine, "SELECT 1")
    with pytest.raises(sa.exc.OperationalError):
        run(engine, "SELECT * FROM missing")
    assert [s.status.status_code for s in observed.spans()] == [StatusCode.UNSET, StatusCode.ERROR]


def test_off_in_the_middle_of_a_statement(engine: Engine, observed: Observed, listen: Listen) -> None:
    def off(*_: Any) -> None:
        SQLAlchemyInstrumentor().uninstrument()

    # For all engines, as ours: it takes ours out of the very collection that is gone through.
    asked: list[str] = []
    listen(Engine, "do_execute", off)
    listen(Engine, "do_execute", lambda *_: asked.append("after"))
    run(engine, "SELECT 1")
    span = observed.one()
    assert span.status.status_code is StatusCode.UNSET
    assert asked == ["after"]


def test_off_before_the_driver_gets_the_statement(engine: Engine, observed: Observed, listen: Listen) -> None:
    def off(*_: Any) -> None:
        SQLAlchemyInstrumentor().uninstrument()

    listen(engine, "before_cursor_execute", off)
    with engine.connect() as connection:
        assert connection.execute(sa.text("SELECT count(*) FROM tracks")).scalar() == 2
    assert observed.spans() == []


def test_suppressed(engine: Engine, observed: Observed) -> None:
    with suppress_instrumentation():
        run(engine, "SELECT 1")
    assert observed.names() == []
    assert observed.points() == []


def test_sqlalchemy_is_not_imported_for_an_application_without_it() -> None:
    script = """
import sys
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from spanwise.instrumentors.sqlalchemy import SQLAlchemyInstrumentor
exporter, provider = InMemorySpanExporter(), TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(exporter))
SQLAlchemyInstrumentor().instrument(tracer_provider=provider)
print("sqlalchemy" in sys.modules)
import sqlalchemy
with sqlalchemy.create_engine("sqlite://").connect() as connection:
    connection.execute(sqlalchemy.text("SELECT 1"))
print([span.name for span in exporter.get_finished_spans()])
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stdout.splitlines() == ["False", "['SELECT']"], done.stderr


def test_versions() -> None:
    assert tuple(SQLAlchemyInstrumentor().instrumentation_dependencies()) == ("sqlalchemy >= 1.4",)


# -- the metric -------------------------------------------------------------------------------


def test_duration(engine: Engine, observed: Observed) -> None:
    run(engine, "SELECT id FROM tracks")
    with pytest.raises(sa.exc.OperationalError):
        run(engine, "SELECT * FROM missing")
    points = {point.attributes[names.DB_QUERY_SUMMARY]: point for point in observed.points()}
    good, bad = points["SELECT tracks"], points["SELECT missing"]
    assert good.explicit_bounds == names.DB_CLIENT_OPERATION_DURATION.buckets
    assert (good.count, bad.count) == (1, 1)
    assert dict(good.attributes) == {
        names.DB_SYSTEM_NAME: "sqlite",
        names.DB_OPERATION_NAME: "SELECT",
        names.DB_COLLECTION_NAME: "tracks",
        names.DB_QUERY_SUMMARY: "SELECT tracks",
    }
    assert bad.attributes[names.ERROR_TYPE]
    span = observed.spans()[0]
    assert span.end_time is not None
    assert span.start_time is not None
    assert good.sum == pytest.approx((span.end_time - span.start_time) / 1e9, abs=1e-9)


def test_duration_counts_what_is_not_sampled(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OTEL_SEMCONV_STABILITY_OPT_IN", raising=False)
    observed = Observed(ALWAYS_OFF)
    observed.instrument()
    try:
        run(engine, "SELECT 1")
        with pytest.raises(sa.exc.OperationalError):
            run(engine, "SELECT * FROM missing")
    finally:
        SQLAlchemyInstrumentor().uninstrument()
    assert observed.names() == []
    assert sum(point.count for point in observed.points()) == 2


def test_a_stepping_clock_gives_no_negative_duration(
    engine: Engine, observed: Observed, monkeypatch: pytest.MonkeyPatch
) -> None:
    times = iter([2_000_000_000_000_000_000] + [1] * 100)
    monkeypatch.setattr(_calls, "time_ns", lambda: next(times))
    run(engine, "SELECT 1")
    span = observed.one()
    assert span.start_time == 2_000_000_000_000_000_000
    assert span.end_time is not None
    assert span.end_time > span.start_time


# -- conventions ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("opt_in", "stable", "old"),
    [
        ("", True, False),
        ("database", True, False),
        ("http, database", True, False),
        ("http,database/dup", True, True),
        ("database,database/dup", True, True),
        ("http", False, True),
        (" , ", True, False),
    ],
)
def test_what_the_variable_asks_for(opt_in: str, stable: bool, old: bool) -> None:
    assert conventions(opt_in) == Conventions(stable=stable, old=old)


OLD = {
    names.OLD_DB_SYSTEM: "sqlite",
    names.OLD_DB_STATEMENT: "SELECT id FROM tracks",
    names.OLD_DB_OPERATION: "SELECT",
    names.OLD_DB_SQL_TABLE: "tracks",
}
STABLE = {
    names.DB_SYSTEM_NAME: "sqlite",
    names.DB_QUERY_TEXT: "SELECT id FROM tracks",
    names.DB_QUERY_SUMMARY: "SELECT tracks",
    names.DB_OPERATION_NAME: "SELECT",
    names.DB_COLLECTION_NAME: "tracks",
}


@pytest.mark.parametrize(
    ("opt_in", "expected", "metrics"),
    [("database", STABLE, 1), ("database/dup", {**STABLE, **OLD}, 1), ("http", OLD, 0)],
)
def test_attributes_by_convention(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, opt_in: str, expected: dict[str, str], metrics: int
) -> None:
    monkeypatch.setenv("OTEL_SEMCONV_STABILITY_OPT_IN", opt_in)
    observed = Observed()
    observed.instrument()
    try:
        run(engine, "SELECT id FROM tracks")
    finally:
        SQLAlchemyInstrumentor().uninstrument()
    assert dict(observed.one().attributes or {}) == expected
    assert len(observed.points()) == metrics


@pytest.mark.parametrize(
    ("url", "system", "address", "port", "namespace"),
    [
        ("postgresql://bob:pw@db.example:6432/shop", "postgresql", "db.example", 6432, "shop"),
        ("postgresql:///shop?host=/run/pg", "postgresql", "/run/pg", None, "shop"),
        ("mysql://db.example/shop", "mysql", "db.example", None, "shop"),
        ("mariadb://db.example/shop", "mariadb", "db.example", None, "shop"),
        ("mssql://db.example/shop", "microsoft.sql_server", "db.example", None, "shop"),
        ("oracle://db.example:1521/shop", "oracle.db", "db.example", 1521, "shop"),
        ("cockroachdb://db.example/shop", "cockroachdb", "db.example", None, "shop"),
    ],
)
def test_where_the_database_is(
    observed: Observed, url: str, system: str, address: str, port: int | None, namespace: str
) -> None:
    execute_at(url, "SELECT 1", SimpleNamespace())
    attributes = observed.one().attributes or {}
    assert attributes[names.DB_SYSTEM_NAME] == system
    assert attributes[names.SERVER_ADDRESS] == address
    assert attributes.get(names.SERVER_PORT) == port
    assert attributes[names.DB_NAMESPACE] == namespace
    assert "pw" not in str(dict(attributes))


# -- nothing of ours reaches the application --------------------------------------------------


class Raising(SpanProcessor):
    def __init__(self, when: str) -> None:
        self.when = when

    def on_start(self, span: Any, parent_context: Any = None) -> None:
        if self.when == "start":
            raise RuntimeError("processor")

    def on_end(self, span: Any) -> None:
        if self.when == "end":
            raise RuntimeError("processor")


@pytest.mark.parametrize("when", ["start", "end"])
def test_a_raising_processor(
    engine: Engine, observed: Observed, when: str, caplog: pytest.LogCaptureFixture
) -> None:
    observed.tracer_provider.add_span_processor(Raising(when))
    with caplog.at_level(logging.WARNING), engine.connect() as connection:
        for _ in range(3):
            assert connection.execute(sa.text("SELECT count(*) FROM tracks")).scalar() == 2
    (record,) = [r for r in caplog.records if r.name == "spanwise.instrumentors._calls"]
    assert "sqlalchemy" in record.getMessage()
    assert "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS=sqlalchemy" in record.getMessage()


@pytest.mark.parametrize("broken", ["described", "initializes", "request_of", "status_code"])
def test_our_own_failure(
    engine: Engine,
    observed: Observed,
    broken: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def explode(*_: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(_sqlalchemy_statements, broken, explode)
    with caplog.at_level(logging.WARNING):
        with engine.connect() as connection:
            assert connection.execute(sa.text("SELECT count(*) FROM tracks")).scalar() == 2
        with pytest.raises(sa.exc.OperationalError):
            run(engine, "SELECT * FROM missing")
    assert len([r for r in caplog.records if r.name == "spanwise.instrumentors._calls"]) == 1
    assert all(span.end_time for span in observed.spans())


def test_an_error_that_cannot_be_printed(engine: Engine, observed: Observed, listen: Listen) -> None:
    class Unprintable(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no")

    def refuse(*_: Any) -> None:
        raise Unprintable

    listen(engine, "do_execute", refuse)
    listen(engine, "do_execute_no_params", refuse)
    with pytest.raises(Unprintable):
        run(engine, "SELECT 1")
    span = observed.one()
    assert span.status.status_code is StatusCode.ERROR
    assert span.status.description == "<Unprintable whose message cannot be read>"
    assert str((span.attributes or {})[names.ERROR_TYPE]).endswith("Unprintable")


# -- the shared helper by itself --------------------------------------------------------------


@pytest.fixture
def calls() -> tuple[Observed, _calls.Calls]:
    observed = Observed()
    return observed, _calls.Calls("thing", observed.tracer)


def test_call_as_a_context_manager(calls: tuple[Observed, _calls.Calls]) -> None:
    observed, made = calls
    with made.start("outer", kind=SpanKind.INTERNAL) as outer, made.start("inner"):
        assert trace.get_current_span() is not outer.span
    with pytest.raises(ValueError, match="boom"), made.start("failing"):
        raise ValueError("boom")
    assert not trace.get_current_span().get_span_context().is_valid
    inner, outer_span, failing = observed.spans()
    assert inner.parent == outer_span.get_span_context()
    assert (outer_span.kind, inner.kind) == (SpanKind.INTERNAL, SpanKind.CLIENT)
    assert (failing.attributes or {})[names.ERROR_TYPE] == "ValueError"
    assert names.EXCEPTION_STACKTRACE in (failing.events[0].attributes or {})


@pytest.mark.parametrize("when", ["start", "end"])
def test_a_call_survives_a_raising_processor(
    calls: tuple[Observed, _calls.Calls], when: str, caplog: pytest.LogCaptureFixture
) -> None:
    observed, _ = calls
    observed.tracer_provider.add_span_processor(Raising(when))
    duration = observed.meter_provider.get_meter("test").create_histogram("d")
    made = _calls.Calls("thing", observed.tracer, duration)
    with caplog.at_level(logging.WARNING):
        made.start("operation", metric_attributes={}).end()
        made.start("operation", metric_attributes={}).fail(ValueError())
    assert len([r for r in caplog.records if r.name == "spanwise.instrumentors._calls"]) == 1
    # A span that could not be started is no call; one that could not end still counts.
    assert sum(point.count for point in observed.points("d")) == (2 if when == "end" else 0)


def test_a_call_survives_a_raising_histogram(
    calls: tuple[Observed, _calls.Calls], caplog: pytest.LogCaptureFixture
) -> None:
    class Broken:
        def record(self, *_: Any) -> None:
            raise RuntimeError("reader")

    observed, _ = calls
    made = _calls.Calls("thing", observed.tracer, Broken())  # type: ignore[arg-type]
    with caplog.at_level(logging.WARNING):
        made.start("operation", metric_attributes={}).end()
    assert observed.names() == ["operation"]
    assert len([r for r in caplog.records if r.name == "spanwise.instrumentors._calls"]) == 1


def test_no_call_does_nothing(calls: tuple[Observed, _calls.Calls]) -> None:
    observed, made = calls
    with suppress_instrumentation():
        call = made.start("never")
        assert call is _call.NO_CALL
        with call, pytest.raises(ValueError, match="through"), call:
            raise ValueError("through")
        assert call.end() == call.fail(ValueError()) == 0.0
    assert observed.spans() == []


def test_a_call_ends_once(calls: tuple[Observed, _calls.Calls]) -> None:
    observed, made = calls
    call = made.start("once")
    assert call.end() > 0
    assert call.end() == 0
    assert call.fail(ValueError()) == 0
    assert observed.one().status.status_code is StatusCode.UNSET


def test_a_dropped_call_ends_when_it_was_dropped(
    calls: tuple[Observed, _calls.Calls], monkeypatch: pytest.MonkeyPatch
) -> None:
    observed, made = calls
    call = made.start("dropped")
    del call
    gc.collect()
    assert observed.exporter.get_finished_spans() == ()  # not inside the collector: it may hold a lock
    an_hour = 3600 * 10**9
    monkeypatch.setattr(_call, "perf_counter_ns", lambda: perf_counter_ns() + an_hour)
    made.start("next").end()
    dropped, following = observed.spans()
    assert (dropped.name, following.name) == ("dropped", "next")
    assert dropped.status.status_code is StatusCode.ERROR
    assert dropped.end_time is not None
    assert dropped.start_time is not None
    assert dropped.end_time - dropped.start_time < an_hour


def test_a_call_made_in_another_context_has_that_parent(calls: tuple[Observed, _calls.Calls]) -> None:
    observed, made = calls
    with observed.tracer.start_as_current_span("parent") as parent:
        context = contextvars.copy_context()
    context.run(lambda: made.start("child").end())
    (child,) = [span for span in observed.spans() if span.name == "child"]
    assert child.parent == parent.get_span_context()
