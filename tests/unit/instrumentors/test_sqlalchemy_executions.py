"""Our listener carries out statements: nobody notices, whoever else listens and whatever is executed."""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor
from opentelemetry.trace import StatusCode
from sqlalchemy import event
from sqlalchemy.engine import Engine
from sqlalchemy.orm import Session, declarative_base

sys.path.insert(0, str(Path(__file__).parent))

from sqlalchemy_parts import TRACKS, Observed, new_engine, recording, run

from spanwise import names
from spanwise.instrumentors import _sqlalchemy_statements
from spanwise.instrumentors.sqlalchemy import SQLAlchemyInstrumentor
from spanwise.spans.provider import TracerProvider

EXECUTIONS = ("do_execute", "do_executemany", "do_execute_no_params")

Driven = tuple[Engine, list[str]]
Listen = Callable[..., None]


@pytest.fixture
def driven() -> Iterator[Driven]:
    """An engine, and the statements that its driver got."""
    driver, sent = recording()
    made = new_engine(driver)
    sent.clear()
    yield made, sent
    made.dispose()


@pytest.fixture
def observed(monkeypatch: pytest.MonkeyPatch) -> Iterator[Observed]:
    """Not yet instrumented."""
    monkeypatch.delenv("OTEL_SEMCONV_STABILITY_OPT_IN", raising=False)
    yield Observed()
    off()


def off() -> None:
    if SQLAlchemyInstrumentor().is_instrumented_by_opentelemetry:
        SQLAlchemyInstrumentor().uninstrument()


@pytest.fixture
def listen() -> Iterator[Listen]:
    """Adds a listener for the test's time."""
    added: list[tuple[Any, str, Any]] = []

    def add(target: Any, identifier: str, function: Any) -> None:
        event.listen(target, identifier, function)
        added.append((target, identifier, function))

    yield add
    for each in added:
        event.remove(*each)


def no_parameters(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execution_options(no_parameters=True).exec_driver_sql("SELECT name FROM tracks")


# Each way of executing, what the driver gets, and the span.
WAYS: dict[str, tuple[Callable[[Engine], None], str, str]] = {
    "do_execute": (
        lambda engine: run(engine, "SELECT name FROM tracks WHERE id = :id", {"id": 1}),
        "SELECT name FROM tracks WHERE id = ?",
        "SELECT tracks",
    ),
    "do_executemany": (
        lambda engine: run(engine, "UPDATE tracks SET name = name WHERE id = :id", [{"id": 1}, {"id": 2}]),
        "UPDATE tracks SET name = name WHERE id = ?",
        "BATCH UPDATE tracks",
    ),
    "do_execute_no_params": (no_parameters, "SELECT name FROM tracks", "SELECT tracks"),
}


# -- other listeners --------------------------------------------------------------------------


class Other:
    """A listener of the application's, which may carry out the execution itself, as ours does."""

    def __init__(self, carries_out: bool, name: str) -> None:
        self.carries_out, self.name = carries_out, name
        self.asked: list[str] = []

    def __call__(self, cursor: Any, statement: str, *rest: Any) -> Any:
        self.asked.append(statement)
        if self.carries_out:
            getattr(rest[-1].dialect, self.name)(cursor, statement, *rest)
            return True
        return None if len(self.asked) % 2 else False


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("carry_out", [(False, False), (True, False), (False, True)])
@pytest.mark.parametrize("where", ["all engines", "one engine", "all engines, then one"])
@pytest.mark.parametrize("ours", [0, 1, 2])
def test_other_listeners_are_asked_as_without_ours(
    driven: Driven,
    observed: Observed,
    listen: Listen,
    ours: int,
    where: str,
    carry_out: tuple[bool, bool],
    way: str,
) -> None:
    """ours: how many of the others are there before it."""
    engine, sent = driven
    others = [Other(each, way) for each in carry_out]
    targets = {
        "all engines": (Engine, Engine),
        "one engine": (engine, engine),
        "all engines, then one": (Engine, engine),
    }
    execute, statement, name = WAYS[way]

    def told() -> tuple[list[str], ...]:
        found = (*(list(other.asked) for other in others), list(sent))
        for each in (*(other.asked for other in others), sent):
            each.clear()
        return found

    for number, (target, other) in enumerate(zip(targets[where], others, strict=True)):
        if number == ours:
            observed.instrument()
        listen(target, way, other)
    if ours == 2:
        observed.instrument()
    execute(engine)
    with_ours = told()
    # SQLAlchemy asks those for all engines first, and nobody after one that has done it.
    before = [other for other, target in zip(others[:ours], targets[where], strict=False) if target is Engine]
    expected = [] if any(other.carries_out for other in before) else [name]
    assert observed.names() == expected
    off()
    execute(engine)
    assert with_ours == told()
    assert with_ours[-1] == [statement]
    assert observed.names() == expected


@pytest.mark.parametrize("way", WAYS)
def test_another_listeners_time_is_in_the_span_and_its_error_on_it(
    driven: Driven, observed: Observed, listen: Listen, way: str
) -> None:
    engine, sent = driven
    execute, _, name = WAYS[way]

    def refuse(*_: Any) -> None:
        raise ValueError("not today")

    observed.instrument()
    listen(engine, way, refuse)
    with pytest.raises(ValueError, match="not today"):
        execute(engine)
    span = observed.one()
    assert sent == []
    assert (span.name, span.status.status_code) == (name, StatusCode.ERROR)
    assert (span.attributes or {})[names.ERROR_TYPE] == "ValueError"
    assert names.DB_RESPONSE_STATUS_CODE not in (span.attributes or {})


def test_what_a_listener_before_ours_refuses_is_none_of_the_databases(
    driven: Driven, observed: Observed, listen: Listen
) -> None:
    engine, sent = driven

    def refuse(*_: Any) -> None:
        raise ValueError("not today")

    listen(Engine, "do_execute", refuse)
    observed.instrument()
    with pytest.raises(ValueError, match="not today"):
        run(engine, "SELECT 1")
    assert sent == []
    assert observed.spans() == []
    assert observed.points() == []


def test_a_listener_gets_the_statement_with_its_comment(
    driven: Driven, observed: Observed, listen: Listen
) -> None:
    engine, sent = driven
    other, before = Other(True, "do_execute"), []
    observed.instrument(enable_commenter=True)
    listen(engine, "do_execute", other)
    listen(engine, "before_cursor_execute", lambda *args: before.append(args[2]))
    run(engine, "SELECT 1")
    assert before == ["SELECT 1"]  # it is added after the application's own have seen it
    assert other.asked == sent
    assert "traceparent=" in sent[0]


def test_uninstrument_takes_every_listener_away(driven: Driven, observed: Observed) -> None:
    engine, _ = driven
    observed.instrument(pool_use_time=True)
    statements = SQLAlchemyInstrumentor()._statements
    assert statements is not None
    assert {name for name, _ in statements.events} == {
        *EXECUTIONS,
        "handle_error",
        "do_connect",
        "connect",
        "checkin",
    }
    assert all(event.contains(Engine, *each) for each in statements.events)
    assert [len(getattr(engine.dialect.dispatch, name)) for name in EXECUTIONS] == [1, 1, 1]
    SQLAlchemyInstrumentor().uninstrument()
    assert not any(event.contains(Engine, *each) for each in statements.events)
    assert [len(getattr(engine.dialect.dispatch, name)) for name in EXECUTIONS] == [0, 0, 0]


def test_no_connection_has_events_for_us() -> None:
    # A guard of the cost: with this mark, SQLAlchemy 2 dispatches every event of every connection, to
    # nobody, which costs as much as the span. It stays where something listened once, so in a new process.
    script = """
import sqlalchemy as sa
from sqlalchemy.engine import Engine
from spanwise.instrumentors.sqlalchemy import SQLAlchemyInstrumentor
SQLAlchemyInstrumentor().instrument(pool_use_time=True, enable_commenter=True)
engine = sa.create_engine("sqlite://")
with engine.connect() as connection:
    connection.execute(sa.text("SELECT 1"))
    print(Engine._has_events, engine._has_events, connection._has_events)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stdout.split() == ["False"] * 3, done.stderr


# -- errors -----------------------------------------------------------------------------------


def the_error(engine: Engine, statement: Any, *parameters: Any) -> tuple[Any, ...]:
    """All that an application can tell of what it catches."""
    with pytest.raises(BaseException) as caught:  # noqa: PT011
        run(engine, statement, *parameters)
    error: Any = caught.value
    cause = error.__cause__
    return (
        type(error),
        str(error),
        type(getattr(error, "orig", None)),
        getattr(error, "statement", None),
        getattr(error, "params", None),
        getattr(error, "connection_invalidated", None),
        type(cause),
        type(error.__context__),
    )


class Gone(sqlite3.OperationalError):
    """By which a dialect knows that the connection broke."""


@pytest.mark.parametrize(
    "raised",
    [
        None,
        sqlite3.IntegrityError("not unique"),
        sqlite3.ProgrammingError("Cannot operate on a closed database."),
        Gone("away"),
        sqlite3.Warning("no error of PEP 249's"),
        OSError(104, "reset"),
        ValueError("a driver's own"),
        asyncio.CancelledError(),
        KeyboardInterrupt(),
        SystemExit(3),
    ],
    ids=lambda each: type(each).__name__,
)
@pytest.mark.parametrize("way", WAYS)
def test_errors_are_the_same_as_without_ours(
    driven: Driven,
    observed: Observed,
    raised: BaseException | None,
    way: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    engine, sent = driven
    disconnects: list[bool] = []

    def execute(*_: Any) -> None:
        assert raised is not None
        raised.__context__ = None
        raise raised

    def note(failure: Any) -> None:
        disconnects.append(failure.is_disconnect)

    if raised is not None:
        monkeypatch.setattr(engine.dialect, way, execute)
    monkeypatch.setattr(
        engine.dialect, "is_disconnect", lambda error, *_: isinstance(error, Gone), raising=True
    )
    event.listen(engine, "handle_error", note)
    statement: Any = "SELECT missing FROM tracks WHERE id = :id"
    given: tuple[Any, ...] = ({"id": 1},)
    if way == "do_executemany":
        statement, given = TRACKS.insert(), ([{"name": "one"}, {"name": "b"}],)
    if way == "do_execute_no_params":
        statement = sa.text("SELECT missing FROM tracks").execution_options(no_parameters=True)
        given = ()
    observed.instrument()
    with_ours = the_error(engine, statement, *given)
    span = observed.one()
    sent_with_ours = list(sent)
    off()
    sent.clear()
    assert the_error(engine, statement, *given) == with_ours
    assert sent_with_ours == sent
    assert len(disconnects) % 2 == 0
    assert disconnects[: len(disconnects) // 2] == disconnects[len(disconnects) // 2 :]
    assert observed.one() is span
    assert span.status.status_code is StatusCode.ERROR
    if raised is not None:
        told = str((span.attributes or {})[names.ERROR_TYPE])
        assert told.rpartition(".")[2] == type(raised).__name__
    else:
        assert names.ERROR_TYPE in (span.attributes or {})
    assert len(span.events) == 1


def test_an_error_after_the_execution_is_not_the_statements(
    driven: Driven, observed: Observed, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine, sent = driven

    def broken(_: Any) -> None:
        raise ValueError("in SQLAlchemy's part")

    observed.instrument()
    monkeypatch.setattr(engine.dialect.execution_ctx_cls, "post_exec", broken)
    with pytest.raises(ValueError, match="SQLAlchemy's part"):
        run(engine, "SELECT 1")
    assert sent == ["SELECT 1"]
    assert observed.one().status.status_code is StatusCode.UNSET


def test_our_failure_at_the_end_executes_nothing_twice(
    driven: Driven, observed: Observed, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    engine, sent = driven

    def explode(*_: Any, **__: Any) -> None:
        raise ZeroDivisionError

    observed.instrument()
    monkeypatch.setattr(_sqlalchemy_statements.Call, "end", explode)
    monkeypatch.setattr(_sqlalchemy_statements.Call, "fail", explode)
    run(engine, "INSERT INTO tracks (name) VALUES ('three')")
    with pytest.raises(sa.exc.IntegrityError):
        run(engine, "INSERT INTO tracks (name) VALUES ('three')")
    assert len(sent) == 2
    assert len([each for each in caplog.records if each.name == "spanwise.instrumentors._calls"]) == 1
    monkeypatch.undo()


# -- what is executed -------------------------------------------------------------------------


def test_the_first_connections_own_statements(observed: Observed, monkeypatch: pytest.MonkeyPatch) -> None:
    driver, sent = recording()
    observed.instrument(enable_commenter=True)
    engine = sa.create_engine("sqlite://", connect_args={"factory": driver})

    def initialize(connection: Any) -> None:
        connection.exec_driver_sql("SELECT 'which version'")
        connection.execute(sa.text("SELECT 'which schema'"))
        original(connection)

    original = engine.dialect.initialize
    monkeypatch.setattr(engine.dialect, "initialize", initialize)
    with engine.connect() as connection:
        assert observed.spans() == []
        assert observed.points() == []
        assert sent[:2] == ["SELECT 'which version'", "SELECT 'which schema'"]
        connection.execute(sa.text("SELECT 1"))
    assert observed.names() == ["SELECT"]
    engine.dispose()


def test_a_connection_from_before(driven: Driven, observed: Observed) -> None:
    engine, _ = driven
    with engine.connect() as connection:
        observed.instrument()
        connection.execute(sa.text("SELECT 1"))
        assert observed.names() == ["SELECT"]
        off()
        connection.execute(sa.text("SELECT 1"))
        assert observed.names() == ["SELECT"]


def test_rows_of_an_insert_in_parts(driven: Driven, observed: Observed) -> None:
    engine, sent = driven
    observed.instrument()
    rows = [{"name": str(number)} for number in range(5)]
    options = {"insertmanyvalues_page_size": 2}
    with engine.begin() as connection:
        found = connection.execute(
            TRACKS.insert().returning(TRACKS.c.name, sort_by_parameter_order=False),
            rows,
            execution_options=options,
        ).all()
    assert sorted(row.name for row in found) == ["0", "1", "2", "3", "4"]
    assert len(sent) == 3  # of two rows, two, and one
    assert observed.names() == ["INSERT tracks"] * 3


def test_an_insert_in_parts_is_asked_about_as_without_ours(
    driven: Driven, observed: Observed, listen: Listen
) -> None:
    engine, sent = driven
    other = Other(True, "do_execute")
    listen(engine, "do_execute", other)
    observed.instrument()
    with engine.begin() as connection:
        found = connection.execute(
            TRACKS.insert().returning(TRACKS.c.id), [{"name": str(number)} for number in range(5)]
        ).all()
    assert len(found) == 5
    assert other.asked == sent
    assert observed.names() == ["INSERT tracks"]


def test_a_default_that_the_database_makes(
    driven: Driven, observed: Observed, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine, sent = driven
    monkeypatch.setattr(engine.dialect, "insert_returning", False)  # as of databases without RETURNING
    table = sa.Table(
        "tracks",
        sa.MetaData(),
        sa.Column(
            "id", sa.Integer, primary_key=True, default=sa.select(sa.literal(40) + 2).scalar_subquery()
        ),
        sa.Column("name", sa.String),
    )
    observed.instrument()
    with engine.begin() as connection:
        done = connection.execute(table.insert(), {"name": "x"})
        assert done.inserted_primary_key == (42,)
    assert len(sent) == 2  # the default has to be known first
    assert observed.names() == ["SELECT SELECT", "INSERT tracks"]


Base: Any = declarative_base()


class Track(Base):
    __tablename__ = "tracks"
    id = sa.Column(sa.Integer, primary_key=True)
    name = sa.Column(sa.String)


def test_sessions(driven: Driven, observed: Observed) -> None:
    engine, sent = driven
    observed.instrument()
    with Session(engine) as session:
        session.add(Track(name="a"))
        session.flush()
        track = session.scalars(sa.select(Track).where(Track.name == "a")).one()
        track.name = "c"
        session.commit()
        assert session.get(Track, track.id) is track
        session.delete(track)
        session.rollback()
    assert len(observed.names()) == len(sent)
    assert observed.names()[:3] == ["INSERT tracks", "SELECT tracks", "UPDATE tracks"]
    assert sent[0].startswith("INSERT")
    assert {span.status.status_code for span in observed.spans()} == {StatusCode.UNSET}


def test_streamed_rows(driven: Driven, observed: Observed) -> None:
    engine, sent = driven
    observed.instrument()
    with engine.connect() as connection:
        options = {"stream_results": True, "yield_per": 1}
        found = connection.execution_options(**options).execute(sa.select(TRACKS.c.name))
        assert [row.name for row in found] == ["one", "two"]
    assert observed.names() == ["SELECT tracks"]
    assert len(sent) == 1


class Leaves(SpanProcessor):
    """Takes spans that are no objects, as our delivery does."""

    def __init__(self) -> None:
        self.leaves: list[tuple[str, int, int, int]] = []
        self.spans: list[ReadableSpan] = []

    def on_end(self, span: ReadableSpan) -> None:
        self.spans.append(span)

    def on_leaf(self, _resource: Any, _scope: Any, fields: tuple[Any, ...]) -> None:
        (trace_id, parent, *_), _id, name, _kind, start, end, _attributes = fields
        self.leaves.append((name, trace_id, parent, end - start))


def leaves_of(observed: Observed) -> tuple[TracerProvider, Leaves]:
    """A provider for what is instrumented from now on, and what takes its leaves and spans."""
    provider, processor = TracerProvider(), Leaves()
    provider.add_span_processor(processor)
    observed.tracer_provider = provider  # type: ignore[assignment]
    return provider, processor


def test_a_span_that_nobody_sees_is_none_until_it_fails_or_is_slow(
    driven: Driven, observed: Observed, caplog: pytest.LogCaptureFixture
) -> None:
    engine, _ = driven
    provider, processor = leaves_of(observed)
    observed.instrument()
    with provider.get_tracer("test").start_as_current_span("request") as request:
        for _ in range(3):  # the first one shows that nobody cares for it
            run(engine, "SELECT name FROM tracks")
        with pytest.raises(sa.exc.OperationalError):
            run(engine, "SELECT * FROM missing")
    parent = request.get_span_context()
    assert [leaf[:3] for leaf in processor.leaves] == [("SELECT tracks", parent.trace_id, parent.span_id)] * 2
    assert all(took > 0 for *_, took in processor.leaves)
    first, failed, _ = processor.spans
    assert (first.name, first.status.status_code) == ("SELECT tracks", StatusCode.UNSET)
    assert (failed.name, failed.status.status_code) == ("SELECT missing", StatusCode.ERROR)
    assert first.parent == failed.parent == parent
    assert [point.count for point in observed.points()] == [3, 1]
    assert not caplog.records


def test_where_every_statement_is_slow_each_is_a_span(
    driven: Driven, observed: Observed, caplog: pytest.LogCaptureFixture
) -> None:
    engine, _ = driven
    provider, processor = leaves_of(observed)
    observed.instrument(slow_statement=0)
    with provider.get_tracer("test").start_as_current_span("request") as request:
        for column in ("name", "id"):
            run(engine, f"SELECT {column} FROM tracks")
        with pytest.raises(sa.exc.OperationalError):
            run(engine, "SELECT * FROM missing")
    parent = request.get_span_context()
    assert processor.leaves == []
    assert [span.name for span in processor.spans] == ["SELECT tracks"] * 2 + ["SELECT missing", "request"]
    lines = [each.getMessage() for each in caplog.records if "slow statement" in each.getMessage()]
    assert len(lines) == 3
    assert all(f"trace {parent.trace_id:032x}" in line for line in lines)
    assert sorted(point.count for point in observed.points()) == [1, 2]
