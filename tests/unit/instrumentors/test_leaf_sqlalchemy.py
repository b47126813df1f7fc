"""Statements that are told of when they are over: the same as with a span from their beginning on.

A processor that cares for the start of spans has each of them be one.
"""

from __future__ import annotations

import sqlite3
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import sqlalchemy as sa
from opentelemetry.instrumentation.utils import suppress_instrumentation
from opentelemetry.trace import format_trace_id
from sqlalchemy.engine import Engine

sys.path.insert(0, str(Path(__file__).parent))

from leaf_parts import Clock, Pipe, Starts, at_once, measured, objects_made, of_child, told
from sqlalchemy_parts import execute_at, new_engine, run

from spanwise import names
from spanwise.context import REQUEST_KEY, SUPPRESSION_KEYS
from spanwise.instrumentors import _abandoned, _sqlalchemy_database, _sqlalchemy_statements
from spanwise.instrumentors._request import Request
from spanwise.instrumentors.sqlalchemy import SQLAlchemyInstrumentor
from spanwise.privacy.sql import TEXT_LIMIT

DURATION = names.DB_CLIENT_OPERATION_DURATION.name
SLOW = names.DB_SLOW_STATEMENTS.name
ROWS = names.DB_CLIENT_RESPONSE_RETURNED_ROWS.name
LOG = "spanwise.instrumentors.slow_statements"
TOOK = 250_000_000  # nanoseconds of each statement, where the clock is ours


class Driver:
    """Of an engine: how long a statement takes, and what was sent."""

    def __init__(self) -> None:
        self.sent: list[str] = []
        self.work: Callable[[int], None] = lambda _: None
        self.took = TOOK
        driver = self

        class Cursor(sqlite3.Cursor):
            def execute(self, statement: str, *rest: Any) -> Any:
                driver.sent.append(statement)
                driver.work(driver.took)
                return super().execute(statement, *rest)

            def executemany(self, statement: str, *rest: Any) -> Any:
                driver.sent.append(statement)
                driver.work(driver.took)
                return super().executemany(statement, *rest)

        class Connection(sqlite3.Connection):
            def cursor(self, factory: Any = Cursor) -> Any:
                return super().cursor(factory)

        self.connection = Connection


@pytest.fixture
def driver() -> Driver:
    return Driver()


@pytest.fixture
def engine(driver: Driver) -> Iterator[Engine]:
    made = new_engine(driver.connection)
    driver.sent.clear()
    yield made
    made.dispose()


@pytest.fixture
def clock(driver: Driver, monkeypatch: pytest.MonkeyPatch) -> Clock:
    """A statement takes a quarter of a second, and nothing else takes time."""
    made = Clock(monkeypatch, _sqlalchemy_statements)
    driver.work = made.work
    return made


@pytest.fixture
def objects(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    return objects_made(monkeypatch)


@pytest.fixture
def observed(
    tmp_path: Path, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., Pipe]]:
    """Instruments with a delivery of its own, in which it is known already who cares for spans."""
    monkeypatch.delenv("OTEL_SEMCONV_STABILITY_OPT_IN", raising=False)
    made: list[Pipe] = []

    def off() -> None:
        if SQLAlchemyInstrumentor().is_instrumented_by_opentelemetry:
            SQLAlchemyInstrumentor().uninstrument()

    def instrument(*, classic: bool = False, **options: Any) -> Pipe:
        off()
        made.append(Pipe(tmp_path, classic=classic))
        given = {"tracer_provider": made[-1].provider, "meter_provider": made[-1].meters}
        SQLAlchemyInstrumentor().instrument(**given, **options)
        with made[-1].request():
            run(engine, "SELECT 'first'")
        made[-1].arrived()
        return made[-1]

    yield instrument
    off()
    for each in made:
        each.source.discard()


def fails(engine: Engine, statement: str, *parameters: Any) -> str:
    with pytest.raises(sa.exc.DBAPIError) as caught:
        run(engine, statement, *parameters)
    return str(caught.value)


def select(engine: Engine) -> None:
    run(engine, "SELECT name FROM tracks WHERE id = :id", {"id": 1})


def unparametrized(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execution_options(no_parameters=True).exec_driver_sql("SELECT name FROM tracks")


# What is done, and whether each such statement has to be a span, and fails.
STEPS: dict[str, tuple[Callable[[Engine], object], bool, bool]] = {
    "select": (select, False, False),
    "update": (lambda engine: run(engine, "UPDATE tracks SET name = name WHERE id = 1"), False, False),
    "no parameters": (unparametrized, False, False),
    "one of many": (
        lambda engine: run(engine, "UPDATE tracks SET name = name WHERE id = :id", [{"id": 1}]),
        False,
        False,
    ),
    "a batch": (
        lambda engine: run(engine, "UPDATE tracks SET name = name WHERE id = :id", [{"id": 1}, {"id": 2}]),
        True,
        False,
    ),
    "a missing table": (lambda engine: fails(engine, "SELECT 'secret' FROM missing"), True, True),
    "not unique": (lambda engine: fails(engine, "INSERT INTO tracks (name) VALUES ('one')"), True, True),
}


@pytest.mark.parametrize("opted", ["", "database/dup", "http"])
@pytest.mark.parametrize("step", STEPS)
def test_the_same_spans_and_durations(
    engine: Engine,
    observed: Callable[..., Pipe],
    clock: Clock,
    objects: list[str],
    monkeypatch: pytest.MonkeyPatch,
    step: str,
    opted: str,
) -> None:
    if opted:
        monkeypatch.setenv("OTEL_SEMCONV_STABILITY_OPT_IN", opted)
    action, needs_span, failed = STEPS[step]
    found = []
    for classic in (False, True):
        clock.passed = 0
        pipe = observed(classic=classic)
        with pipe.request() as request:
            objects.clear()
            results = [action(engine) for _ in range(3)]
            made = list(objects)
        spans = pipe.spans()
        assert len(made) == (3 if classic or needs_span or opted == "http" else 0)
        assert pipe.starts.names.count("request") == 2 * classic
        durations = measured(pipe.points(DURATION), request)
        found.append((results, [told(span, request) for span in spans], durations))
        assert len({span.span_id for span in spans}) == len(spans) == 3
        start = Clock.START + TOOK  # after the first statement
        for number, span in enumerate(spans):
            assert span.start_time_unix_nano == start + number * TOOK
            assert span.end_time_unix_nano == start + (number + 1) * TOOK
            assert (span.status.code == 2) is failed
            assert ("exception" in {event.name for event in span.events}) is failed
            assert (names.ERROR_TYPE in {each.key for each in span.attributes}) is failed
    assert found[0] == found[1]
    _, _, durations = found[0]
    assert bool(durations) is (opted != "http")
    if durations and failed:
        assert any(names.ERROR_TYPE in dict(labels) for labels, *_ in durations)


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("classic", [False, True])
def test_what_is_suppressed_is_neither_observed_nor_counted(
    engine: Engine, observed: Callable[..., Pipe], classic: bool, step: str
) -> None:
    action, *_ = STEPS[step]
    pipe = observed(classic=classic, repeated_statements=2)
    (before,) = pipe.points(DURATION)
    with pipe.request() as span:
        for _ in range(4):
            with suppress_instrumentation():
                action(engine)
    assert pipe.spans() == []
    assert names.DB_REPEATED_COUNT not in (span.attributes or {})
    (after,) = pipe.points(DURATION)
    assert (after.count, after.attributes) == (before.count, before.attributes)


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("classic", [False, True])
def test_what_runs_many_times_in_a_request_is_flagged(
    engine: Engine, observed: Callable[..., Pipe], classic: bool, step: str
) -> None:
    action, *_ = STEPS[step]
    pipe = observed(classic=classic, repeated_statements=2)
    with pipe.request() as span, suppress_instrumentation():
        action(engine)
    with pipe.request() as span:
        for _ in range(4):
            action(engine)
    assert (span.attributes or {})[names.DB_REPEATED_COUNT] == 4
    noted = Request(span)
    for key in SUPPRESSION_KEYS:  # one that is there and false
        with pipe.request(**{key: False, REQUEST_KEY: noted}):
            action(engine)
    assert next(iter(noted._counts.values())) == len(SUPPRESSION_KEYS)
    assert len(pipe.spans()) == 4 + len(SUPPRESSION_KEYS)


@pytest.mark.parametrize("took", [0, 1, 2])
@pytest.mark.parametrize("failed", [False, True])
@pytest.mark.parametrize("classic", [False, True])
def test_a_slow_statement_is_logged_with_its_trace(
    engine: Engine,
    driver: Driver,
    clock: Clock,
    observed: Callable[..., Pipe],
    objects: list[str],
    classic: bool,
    failed: bool,
    took: int,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """From one nanosecond beyond its limit on."""
    clock.passed = 0
    pipe = observed(classic=classic, slow_statement=1)
    driver.took = 999_999_999 + took
    slow = took == 2
    with pipe.request() as request:
        objects.clear()
        STEPS["a missing table" if failed else "select"][0](engine)
        made = list(objects)
    (span,) = pipe.spans()
    assert len(made) == (classic or failed or slow)
    assert span.end_time_unix_nano - span.start_time_unix_nano == driver.took
    lines = [record.getMessage() for record in caplog.records if record.name == LOG]
    trace = format_trace_id(request.get_span_context().trace_id)
    text = "SELECT ? FROM missing" if failed else "SELECT name FROM tracks WHERE id = ?"
    assert lines == ([f"slow statement: 1.000 s (limit 1 s), trace {trace}: {text}"] if slow else [])
    assert [point.value for point in pipe.points(SLOW)] == ([1] if slow else [])
    assert span.parent_span_id == request.get_span_context().span_id.to_bytes(8, "big")


def test_a_slow_statement_s_span_and_duration_are_as_with_a_processor(
    engine: Engine, driver: Driver, clock: Clock, observed: Callable[..., Pipe]
) -> None:
    found = []
    for classic in (False, True):
        driver.took = 0
        clock.passed = 0
        pipe = observed(classic=classic, slow_statement=0.5)
        driver.took = 3 * TOOK
        with pipe.request() as request:
            select(engine)
            select(engine)
        spans = [told(span, request) for span in pipe.spans()]
        found.append((spans, measured(pipe.points(DURATION), request)))
    assert found[0] == found[1]
    assert len(found[0][0]) == 2


def test_a_processor_that_comes_sees_the_first_statement_after(
    engine: Engine, observed: Callable[..., Pipe], objects: list[str]
) -> None:
    pipe = observed()
    with pipe.request():
        select(engine)
        starts = Starts()
        pipe.provider.add_span_processor(starts)
        objects.clear()
        for _ in range(3):
            select(engine)
    assert starts.names == objects == ["SELECT tracks"] * 3
    assert [span.name for span in pipe.spans()] == ["SELECT tracks"] * 4


def test_who_cares_for_starts_is_told_before_anything_is_sent(
    engine: Engine, driver: Driver, observed: Callable[..., Pipe]
) -> None:
    pipe = observed(classic=True)
    seen: list[int] = []
    driver.work = lambda _: seen.append(len(pipe.starts.names))
    with pipe.request():
        pipe.starts.names.clear()
        for _ in range(3):
            select(engine)
    assert seen == [1, 2, 3]


def test_without_a_request_it_is_a_span(
    engine: Engine, observed: Callable[..., Pipe], objects: list[str]
) -> None:
    pipe = observed()
    objects.clear()
    select(engine)
    assert objects == ["SELECT tracks"]
    assert [span.parent_span_id for span in pipe.spans()] == [b""]


def test_a_comment_names_a_span_that_arrives(
    engine: Engine, driver: Driver, observed: Callable[..., Pipe], objects: list[str]
) -> None:
    pipe = observed(enable_commenter=True)
    driver.sent.clear()
    with pipe.request() as request:
        objects.clear()
        for _ in range(3):
            select(engine)
    spans = pipe.spans()
    assert objects == ["SELECT tracks"] * 3
    trace = format_trace_id(request.get_span_context().trace_id)
    for statement, span in zip(driver.sent, spans, strict=True):
        assert f"{trace}-{span.span_id.hex()}-" in statement
    assert len({span.span_id for span in spans}) == 3


def test_without_comments_the_driver_gets_the_statement_as_it_is(
    engine: Engine, driver: Driver, observed: Callable[..., Pipe]
) -> None:
    pipe = observed()
    driver.sent.clear()
    with pipe.request():
        select(engine)
    assert driver.sent == ["SELECT name FROM tracks WHERE id = ?"]


@pytest.mark.parametrize("classic", [False, True])
def test_rows_are_told(observed: Callable[..., Pipe], objects: list[str], classic: bool) -> None:
    pipe = observed(classic=classic)
    with pipe.request():
        objects.clear()
        for rowcount in (3, 4, -1):
            cursor = SimpleNamespace(rowcount=rowcount)
            execute_at("postgresql+psycopg://db.example/app", "SELECT name FROM tracks", cursor)
        made = list(objects)
    assert len(made) == 3 * classic
    assert [span.name for span in pipe.spans()] == ["SELECT tracks"] * 3
    (point,) = pipe.points(ROWS)
    assert (point.count, point.sum) == (2, 7)


@pytest.mark.parametrize("by", ["driver", "listener"])
def test_a_statement_that_is_thrown_away_ends_later(
    engine: Engine, driver: Driver, observed: Callable[..., Pipe], clock: Clock, objects: list[str], by: str
) -> None:
    """A driver whose statements are coroutines says so in a finalizer, which may run on top of anything."""

    def throw(took: int) -> None:
        clock.work(took)
        raise GeneratorExit

    def listener(*_: Any) -> None:
        throw(TOOK)

    pipe = observed()
    objects.clear()
    if by == "driver":
        driver.work = throw
    else:
        sa.event.listen(engine, "do_execute", listener)
    with pytest.raises(GeneratorExit):
        run(engine, "SELECT name FROM tracks")
    thrown_at = Clock.START + clock.passed
    assert (objects, pipe.spans()) == ([], [])
    clock.work(3 * TOOK)
    _abandoned.end_abandoned()
    (span,) = pipe.spans()
    assert (span.name, span.status.code) == ("SELECT tracks", 2)
    assert (span.start_time_unix_nano, span.end_time_unix_nano) == (thrown_at - TOOK, thrown_at)
    kinds = [each.value.string_value for each in span.attributes if each.key == names.ERROR_TYPE]
    assert kinds == ["GeneratorExit"]
    (point,) = [each for each in pipe.points(DURATION) if names.ERROR_TYPE in each.attributes]
    assert (point.count, point.sum) == (1, TOOK / 1e9)


# -- what an engine keeps of its statements -----------------------------------------------------


def known(engine: Engine) -> dict[str, Any]:
    found: dict[str, Any] = engine.__dict__[_sqlalchemy_database.HELD_AS].known
    return found


def test_what_an_engine_keeps_is_bounded(engine: Engine, observed: Callable[..., Pipe]) -> None:
    pipe = observed()
    most = _sqlalchemy_database._KNOWN
    with pipe.request():
        for number in range(most + 5):
            run(engine, f"SELECT id AS number_{number} FROM tracks")
            assert f"SELECT id AS number_{number} FROM tracks" in known(engine)
            assert len(known(engine)) <= most
        run(engine, "DELETE FROM tracks")
        run(engine, "SELECT id AS number_0 FROM tracks")
    assert [span.name for span in pipe.spans()] == [
        *["SELECT tracks"] * (most + 5),
        "DELETE tracks",
        "SELECT tracks",
    ]


@pytest.mark.parametrize("length", [_sqlalchemy_database._LONG, TEXT_LIMIT, TEXT_LIMIT + 1])
def test_a_long_statement_is_told_and_not_kept(
    engine: Engine, observed: Callable[..., Pipe], length: int
) -> None:
    pipe = observed()
    before = len(known(engine))
    start = "SELECT name FROM tracks WHERE id <> "
    for size in (length, length + 1):
        statement = start + "1" * (size - len(start))
        assert len(statement) == size
        with pipe.request():
            run(engine, statement)
        assert (statement in known(engine)) == (size <= _sqlalchemy_database._LONG)
    assert len(known(engine)) == before + (length == _sqlalchemy_database._LONG)
    assert [span.name for span in pipe.spans()] == ["SELECT tracks"] * 2


def test_a_text_that_is_cut_is_not_kept(
    engine: Engine, observed: Callable[..., Pipe], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever an engine may keep: what is said of it is said of others too, which have the same start."""
    pipe = observed()
    monkeypatch.setattr(_sqlalchemy_database, "_LONG", 2 * TEXT_LIMIT)
    start = "SELECT name FROM tracks WHERE id <> "
    texts = [start + "1" * (size - len(start)) for size in (TEXT_LIMIT, TEXT_LIMIT + 1)]
    with pipe.request():
        for text in texts:
            run(engine, text)
    assert [text in known(engine) for text in texts] == [True, False]


def test_switched_off_it_keeps_nothing(engine: Engine, observed: Callable[..., Pipe]) -> None:
    """Labels remember an instrument, and that its provider."""
    pipe = observed()
    with pipe.request():
        select(engine)
    kept = known(engine)
    assert kept
    SQLAlchemyInstrumentor().uninstrument()
    assert kept == {}
    assert _sqlalchemy_database.HELD_AS not in engine.__dict__


def test_a_statement_of_a_batch_is_another_one_alone(engine: Engine, observed: Callable[..., Pipe]) -> None:
    pipe = observed()
    insert = "INSERT INTO tracks (name) VALUES (:name)"
    with pipe.request():
        run(engine, insert, [{"name": "a"}, {"name": "b"}])
        run(engine, insert, {"name": "c"})
        run(engine, insert, [{"name": "d"}, {"name": "e"}])
        run(engine, insert, [{"name": "f"}])
    assert [span.name for span in pipe.spans()] == [
        "BATCH INSERT tracks",
        "INSERT tracks",
        "BATCH INSERT tracks",
        "INSERT tracks",
    ]


def test_threads_keep_their_parents(
    tmp_path: Path, observed: Callable[..., Pipe], objects: list[str]
) -> None:
    pipe, each = observed(), 60
    one = sa.create_engine(f"sqlite:///{tmp_path / 'threads'}")
    with one.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE tracks (id INTEGER PRIMARY KEY, name TEXT)")
    pipe.arrived()
    objects.clear()
    parents: list[bytes] = []

    def serve(_: int) -> None:
        with pipe.request() as request:
            parents.append(request.get_span_context().span_id.to_bytes(8, "big"))
            for _ in range(each):
                select(one)

    at_once(4, serve)
    one.dispose()
    spans = pipe.spans()
    assert objects == ["request"] * 4
    assert len({span.span_id for span in spans}) == len(spans) == 4 * each
    found = [span.parent_span_id for span in spans]
    assert {parent: found.count(parent) for parent in parents} == dict.fromkeys(parents, each)
    counts = {
        point.attributes[names.DB_QUERY_SUMMARY]: point.count
        for point in pipe.points(DURATION)
        if names.DB_QUERY_SUMMARY in point.attributes
    }
    assert counts["SELECT tracks"] == 4 * each


def test_a_forked_child_tells_of_its_own(
    engine: Engine, observed: Callable[..., Pipe], objects: list[str]
) -> None:
    pipe = observed()
    with pipe.request() as request:
        select(engine)
        objects.clear()

        def work() -> None:
            select(engine)
            select(engine)
            assert objects == []

        theirs = of_child(pipe, work)
        select(engine)
    ours = pipe.spans()
    assert ([span.name for span in ours], [span.name for span in theirs]) == (["SELECT tracks"] * 2,) * 2
    assert len({span.span_id for span in (*ours, *theirs)}) == 4
    parent = request.get_span_context().span_id.to_bytes(8, "big")
    assert {span.parent_span_id for span in (*ours, *theirs)} == {parent}


def test_after_uninstrument_nothing_is_told(engine: Engine, observed: Callable[..., Pipe]) -> None:
    pipe = observed()
    with pipe.request():
        select(engine)
        assert len(pipe.spans()) == 1
        SQLAlchemyInstrumentor().uninstrument()
        select(engine)
        assert pipe.spans() == []


def test_our_failure_at_the_end_executes_nothing_twice(
    engine: Engine,
    driver: Driver,
    observed: Callable[..., Pipe],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def explode(*_: Any, **__: Any) -> None:
        raise ZeroDivisionError

    pipe = observed()
    driver.sent.clear()
    monkeypatch.setattr(_sqlalchemy_statements.Calls, "over", explode)
    with pipe.request():
        run(engine, "INSERT INTO tracks (name) VALUES ('three')")
        monkeypatch.setattr(_sqlalchemy_statements.Calls, "start", explode)
        fails(engine, "INSERT INTO tracks (name) VALUES ('three')")
    assert len(driver.sent) == 2
    assert len([each for each in caplog.records if each.name == "spanwise.instrumentors._calls"]) == 1
