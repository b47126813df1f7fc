"""Slow statements, statements repeated in a request, comments, and returned rows."""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import unquote

import flask
import pytest
import sqlalchemy as sa
from hypothesis import example, given
from hypothesis import strategies as st
from opentelemetry import context as contexts
from opentelemetry.instrumentation.utils import suppress_instrumentation
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import SpanKind, StatusCode, format_span_id, format_trace_id, set_span_in_context
from sqlalchemy.engine import Engine

sys.path.insert(0, str(Path(__file__).parent))

from sqlalchemy_parts import TRACKS, Observed, execute_at, new_engine, recording, run

from spanwise import names
from spanwise.context import REQUEST_KEY
from spanwise.instrumentors import _call, _calls, _request, _slow
from spanwise.instrumentors._request import Request
from spanwise.instrumentors._sqlalchemy import fingerprint
from spanwise.instrumentors._sqlcommenter import Commenter, with_comment
from spanwise.instrumentors.flask import FlaskInstrumentor
from spanwise.instrumentors.sqlalchemy import SQLAlchemyInstrumentor

SLOW = names.DB_SLOW_STATEMENTS.name
ROWS = names.DB_CLIENT_RESPONSE_RETURNED_ROWS.name
LOG = "spanwise.instrumentors.slow_statements"

Instrument = Callable[..., Observed]


@pytest.fixture
def driven() -> Iterator[tuple[Engine, list[str]]]:
    driver, sent = recording()
    made = new_engine(driver)
    sent.clear()
    yield made, sent
    made.dispose()


@pytest.fixture
def engine(driven: tuple[Engine, list[str]]) -> Engine:
    return driven[0]


@pytest.fixture
def instrument(monkeypatch: pytest.MonkeyPatch) -> Iterator[Instrument]:
    monkeypatch.delenv("OTEL_SEMCONV_STABILITY_OPT_IN", raising=False)

    def with_options(sampler: Any = None, **options: Any) -> Observed:
        made = Observed(sampler)
        made.instrument(**options)
        return made

    yield with_options
    SQLAlchemyInstrumentor().uninstrument()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Seconds that each statement takes, and that have passed for the log."""
    seconds = [0, 0]
    ticks = [0]

    def tick() -> int:
        ticks[0] += seconds[0] * 1_000_000_000
        return ticks[0]

    monkeypatch.setattr(_call, "perf_counter_ns", tick)
    monkeypatch.setattr(_slow, "monotonic", lambda: seconds[1])
    return seconds


def logged(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == LOG]


# -- slow statements --------------------------------------------------------------------------


def test_a_slow_statement_is_counted_and_logged(
    engine: Engine, instrument: Instrument, clock: list[int], caplog: pytest.LogCaptureFixture
) -> None:
    observed = instrument()
    clock[0] = 1
    run(engine, "SELECT id FROM tracks")  # as long as the limit: not beyond it
    assert observed.points(SLOW) == []
    clock[0] = 2
    run(engine, "SELECT id FROM tracks WHERE name = 'secret'")
    (point,) = observed.points(SLOW)
    assert point.value == 1
    assert point.attributes[names.DB_QUERY_SUMMARY] == "SELECT tracks"
    trace = format_trace_id(observed.spans()[-1].get_span_context().trace_id)
    assert logged(caplog) == [
        f"slow statement: 2.000 s (limit 1 s), trace {trace}: SELECT id FROM tracks WHERE name = ?"
    ]
    assert [record.levelname for record in caplog.records if record.name == LOG] == ["WARNING"]


def test_a_slow_statement_that_fails_is_slow_too(
    engine: Engine, instrument: Instrument, clock: list[int], caplog: pytest.LogCaptureFixture
) -> None:
    observed = instrument(slow_statement=0.5)
    clock[0] = 1
    with pytest.raises(sa.exc.OperationalError):
        run(engine, "SELECT * FROM missing")
    assert [point.value for point in observed.points(SLOW)] == [1]
    assert "(limit 0.5 s)" in logged(caplog)[0]


def test_a_storm_of_slow_statements_does_not_flood_the_log(
    engine: Engine, instrument: Instrument, clock: list[int], caplog: pytest.LogCaptureFixture
) -> None:
    observed = instrument()
    clock[0] = 5
    for _ in range(5):
        run(engine, "SELECT 1")
    assert len(logged(caplog)) == 1
    for number in range(2 * _slow.LINES):
        run(engine, f"SELECT id AS a{number} FROM tracks")
    assert len(logged(caplog)) == _slow.LINES
    left_out = [re.search(r"\[(\d+) slow", line) for line in logged(caplog)]
    assert [found and found[1] for found in left_out] == [None, "4", *[None] * (_slow.LINES - 2)]
    clock[1] = _slow.WINDOW  # type: ignore[call-overload]
    run(engine, "SELECT 1")
    assert logged(caplog)[-1].endswith(
        f"SELECT ? [{_slow.LINES + 1} slow ones before were counted and not logged]"
    )
    assert len(logged(caplog)) == _slow.LINES + 1
    assert sum(point.value for point in observed.points(SLOW)) == 5 + 2 * _slow.LINES + 1


def test_a_log_handler_that_is_slow_at_writing_to_the_database(
    engine: Engine, instrument: Instrument, clock: list[int]
) -> None:
    observed = instrument()
    clock[0] = 5

    class ToDatabase(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            run(engine, "SELECT id FROM tracks")

    handler = ToDatabase()
    logging.getLogger(LOG).addHandler(handler)
    try:
        run(engine, "SELECT 1")
    finally:
        logging.getLogger(LOG).removeHandler(handler)
    assert sum(point.value for point in observed.points(SLOW)) == 3


@pytest.mark.parametrize("option", ["slow_statement", "repeated_statements"])
@pytest.mark.parametrize("given", ["1", True, -1, float("nan")])
def test_a_limit_that_is_none_costs_a_warning(
    instrument: Instrument, option: str, given: Any, caplog: pytest.LogCaptureFixture
) -> None:
    instrument(**{option: given})
    (record,) = caplog.records
    assert f"could not use the option {option}" in record.getMessage()
    assert repr(given) in record.getMessage()


def test_without_a_limit_the_default_holds(instrument: Instrument, caplog: pytest.LogCaptureFixture) -> None:
    instrument(slow_statement=None)
    assert caplog.records == []


# -- repeated statements ----------------------------------------------------------------------

REPEATED = (names.DB_REPEATED_COUNT, names.DB_REPEATED_SUMMARY, names.DB_REPEATED_FINGERPRINT)
BY_ID = "SELECT tracks.id \nFROM tracks \nWHERE tracks.id = ?"


def flag(span: Any) -> tuple[Any, ...]:
    return tuple((span.attributes or {}).get(name) for name in REPEATED)


def by_id(engine: Engine, times: int) -> None:
    with engine.connect() as connection:
        for number in range(times):
            connection.execute(sa.select(TRACKS.c.id).where(TRACKS.c.id == number)).all()


@pytest.fixture
def client(engine: Engine, instrument: Instrument) -> Iterator[tuple[Any, Observed]]:
    """An application's client: /by_id/TIMES runs a statement that often."""
    observed = instrument()
    FlaskInstrumentor().instrument(
        tracer_provider=observed.tracer_provider, meter_provider=observed.meter_provider
    )
    app = flask.Flask("app")

    @app.route("/by_id/<int:times>")
    def look(times: int) -> str:
        with observed.tracer.start_as_current_span("a part of it"):
            by_id(engine, times)
        run(engine, "SELECT 1")
        return ""

    @app.route("/lists")
    def lists() -> str:
        with engine.connect() as connection:
            for number in range(1, 16):
                connection.execute(sa.select(TRACKS.c.id).where(TRACKS.c.id.in_(range(number)))).all()
        return ""

    @app.route("/streamed")
    def streamed() -> Any:
        def parts() -> Iterator[str]:
            for _ in range(10):
                by_id(engine, 1)
                yield "x"

        return app.response_class(parts())

    yield app.test_client(), observed
    FlaskInstrumentor().uninstrument()


def server_spans(observed: Observed) -> list[Any]:
    return [span for span in observed.spans() if span.kind is SpanKind.SERVER]


@pytest.mark.parametrize("times", [0, 1, 9, 10, 25])
def test_a_statement_many_times_in_a_request(client: tuple[Any, Observed], times: int) -> None:
    browser, observed = client
    browser.get(f"/by_id/{times}")
    (span,) = server_spans(observed)
    expected = (times, "SELECT tracks", fingerprint(BY_ID)) if times >= 10 else (None, None, None)
    assert flag(span) == expected


def test_what_an_application_within_another_runs_is_the_request_s(client: tuple[Any, Observed]) -> None:
    browser, observed = client
    outer = flask.Flask("outer")
    outer.wsgi_app = browser.application  # type: ignore[method-assign]
    outer.test_client().get("/by_id/12")
    (request,) = server_spans(observed)
    (within,) = [
        each for each in observed.spans() if each.name == "GET /by_id/<int:times>" and each is not request
    ]
    assert (flag(request)[0], flag(within)[0]) == (12, None)


def test_lists_of_different_lengths_are_one_statement(client: tuple[Any, Observed]) -> None:
    browser, observed = client
    browser.get("/lists")
    (span,) = server_spans(observed)
    assert flag(span)[:2] == (15, "SELECT tracks")


def test_requests_are_counted_apart(client: tuple[Any, Observed]) -> None:
    browser, observed = client
    for _ in range(3):
        browser.get("/by_id/9")
    assert [flag(span) for span in server_spans(observed)] == [(None, None, None)] * 3


def test_a_streamed_body_belongs_to_its_request(client: tuple[Any, Observed]) -> None:
    browser, observed = client
    assert browser.get("/streamed").data == b"x" * 10
    (span,) = server_spans(observed)
    assert flag(span)[0] == 10


def test_outside_of_requests_nothing_is_flagged(engine: Engine, instrument: Instrument) -> None:
    observed = instrument()
    with observed.tracer.start_as_current_span("a job"):
        by_id(engine, 30)
    assert flag(observed.spans()[-1]) == (None, None, None)


def test_a_server_span_of_another_instrumentor(engine: Engine, instrument: Instrument) -> None:
    observed = instrument(repeated_statements=3)
    for times in (3, 2):
        with observed.tracer.start_as_current_span("GET", kind=SpanKind.SERVER):
            by_id(engine, times)
    found = [flag(span)[0] for span in server_spans(observed)]
    assert found == [3, None]
    assert len(_request._of_spans) <= 2


def test_values_written_into_the_statement_make_no_other_one(engine: Engine, instrument: Instrument) -> None:
    observed = instrument()
    with observed.tracer.start_as_current_span("GET", kind=SpanKind.SERVER):
        for number in range(12):
            run(engine, f"SELECT name FROM tracks WHERE id = {number}")
    assert flag(server_spans(observed)[0]) == (
        12,
        "SELECT tracks",
        fingerprint("SELECT name FROM tracks WHERE id = ?"),
    )


def test_a_fingerprint_is_the_same_everywhere() -> None:
    # Dashboards and alerts are made with it: it must not change.
    assert fingerprint("SELECT 1") == "60e6b55ff57fdf38"


def test_a_thread_that_outlives_its_request(
    engine: Engine, instrument: Instrument, caplog: pytest.LogCaptureFixture
) -> None:
    observed = instrument()
    span = observed.tracer.start_span("GET", kind=SpanKind.SERVER)
    token = contexts.attach(contexts.set_value(REQUEST_KEY, Request(span), set_span_in_context(span)))
    try:
        span.end()
        by_id(engine, 12)
    finally:
        contexts.detach(token)
    assert caplog.records == []
    assert flag(server_spans(observed)[0]) == (None, None, None)


class One:
    """An operation."""

    def __init__(self, name: int) -> None:
        self.name = name

    def repeated(self, count: int) -> dict[str, Any]:
        return {"name": self.name, "count": count}


class Other(One):
    """One of another family."""

    def repeated(self, count: int) -> dict[str, Any]:
        return {"other": self.name}


def test_another_family_has_a_flag_of_its_own() -> None:
    span = Observed().tracer.start_span("GET")
    request, one, other = Request(span), One(1), Other(2)
    for _ in range(3):
        request.count(one, 3)
    for _ in range(2):
        request.count(other, 2)
    assert dict(span.attributes) == {"name": 1, "count": 3, "other": 2}  # type: ignore[attr-defined]


def test_a_request_of_countless_operations_is_bounded() -> None:
    span = Observed().tracer.start_span("GET")
    request = Request(span)
    for number in range(10_000):
        request.count(One(number), 2)
    assert len(request._counts) == _request._MOST
    first = next(iter(request._counts))
    request.count(first, 2)
    assert dict(span.attributes)["count"] == 2  # type: ignore[attr-defined]


@example([0, 0, 0, 1, 1], 2)  # the one that comes last is not the one that came most
@given(st.lists(st.integers(0, 4), max_size=60), st.integers(2, 12))
def test_the_flag_is_that_of_the_most_repeated(run_in_order: list[int], limit: int) -> None:
    span = Observed().tracer.start_span("GET")
    request, operations = Request(span), [One(number) for number in range(5)]
    for number in run_in_order:
        request.count(operations[number], limit)
    most = max((run_in_order.count(number) for number in range(5)), default=0)
    told = dict(span.attributes)  # type: ignore[attr-defined]
    assert told.get("count") == (most if most >= limit else None)
    if told:
        assert run_in_order.count(told["name"]) == most


# -- comments ---------------------------------------------------------------------------------


@pytest.fixture
def sent(driven: tuple[Engine, list[str]]) -> list[str]:
    """The statements that reach the driver."""
    return driven[1]


def parsed(statement: str) -> dict[str, str]:
    (comment,) = re.findall(r" /\*(.*)\*/;?$", statement)
    keys = [pair.partition("=")[0] for pair in comment.split(",")]
    assert keys == sorted(keys)
    return {
        unquote(key): unquote(quoted[1:-1])
        for key, _, quoted in (pair.partition("=") for pair in comment.split(","))
    }


def test_a_comment_names_the_statements_span(engine: Engine, instrument: Instrument, sent: list[str]) -> None:
    observed = instrument(enable_commenter=True)
    run(engine, "SELECT 1")
    span = observed.one()
    found = span.get_span_context()
    traceparent = (
        f"00-{format_trace_id(found.trace_id)}-{format_span_id(found.span_id)}-{found.trace_flags:02x}"
    )
    assert parsed(sent[0]) == {
        "db_driver": "pysqlite",
        "db_framework": f"sqlalchemy:{sa.__version__}",
        "traceparent": traceparent,
    }
    assert (span.attributes or {})[names.DB_QUERY_TEXT] == "SELECT ?"


def test_no_comments_by_default(engine: Engine, instrument: Instrument, sent: list[str]) -> None:
    instrument()
    run(engine, "SELECT 1")
    assert sent == ["SELECT 1"]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"db_driver": False, "db_framework": False}, {"traceparent"}),
        ({"opentelemetry_values": False}, {"db_driver", "db_framework"}),
        ({"traceparent": False, "db_framework": False}, {"db_driver"}),
    ],
)
def test_what_a_comment_holds_is_optional(
    engine: Engine, instrument: Instrument, sent: list[str], options: dict[str, bool], expected: set[str]
) -> None:
    instrument(enable_commenter=True, commenter_options=options)
    run(engine, "SELECT 1")
    assert set(parsed(sent[0])) == expected


def test_nothing_left_is_no_comment(engine: Engine, instrument: Instrument, sent: list[str]) -> None:
    instrument(
        enable_commenter=True,
        commenter_options={"db_driver": False, "db_framework": False, "opentelemetry_values": False},
    )
    run(engine, "SELECT 1")
    assert sent == ["SELECT 1"]


@pytest.mark.parametrize("statement", ["SELECT /* mine */ 1", "SELECT 1 -- mine"])
def test_a_statement_with_a_comment_is_left_alone(
    engine: Engine, instrument: Instrument, sent: list[str], statement: str
) -> None:
    instrument(enable_commenter=True)
    run(engine, statement)
    assert sent == [statement]


def test_unsampled_and_suppressed_statements_are_left_alone(
    engine: Engine, instrument: Instrument, sent: list[str]
) -> None:
    instrument(ALWAYS_OFF, enable_commenter=True)
    run(engine, "SELECT 1")
    SQLAlchemyInstrumentor().uninstrument()
    instrument(enable_commenter=True)
    with suppress_instrumentation():
        run(engine, "SELECT 1")
    assert sent == ["SELECT 1", "SELECT 1"]


@pytest.mark.parametrize(
    ("opt_in", "keys"),
    [
        ("database", [names.DB_QUERY_TEXT]),
        ("http", [names.OLD_DB_STATEMENT]),
        ("database/dup", [names.DB_QUERY_TEXT, names.OLD_DB_STATEMENT]),
    ],
)
def test_a_comment_may_be_shown(
    engine: Engine,
    instrument: Instrument,
    sent: list[str],
    monkeypatch: pytest.MonkeyPatch,
    opt_in: str,
    keys: Any,
) -> None:
    monkeypatch.setenv("OTEL_SEMCONV_STABILITY_OPT_IN", opt_in)
    observed = instrument(enable_commenter=True, enable_attribute_commenter=True)
    run(engine, "SELECT 'secret'")
    attributes = observed.one().attributes or {}
    assert [key for key in (names.DB_QUERY_TEXT, names.OLD_DB_STATEMENT) if key in attributes] == keys
    for key in keys:
        assert attributes[key] == sent[0].replace("'secret'", "?")


def test_a_comment_that_cannot_be_made_costs_a_warning(
    engine: Engine,
    instrument: Instrument,
    sent: list[str],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    observed = instrument(enable_commenter=True)

    def explode(*_: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(Commenter, "comment", explode)
    for _ in range(2):
        run(engine, "SELECT 1")
    assert sent == ["SELECT 1", "SELECT 1"]
    assert [span.status.status_code for span in observed.spans()] == [StatusCode.UNSET] * 2
    assert len([r for r in caplog.records if r.levelno >= logging.WARNING]) == 1


def commented(paramstyle: str, options: dict[str, Any], tags: dict[str, Any]) -> str:
    engine: Any = SimpleNamespace(driver="d%")
    conn: Any = SimpleNamespace(engine=engine, dialect=SimpleNamespace(paramstyle=paramstyle))
    execution: Any = SimpleNamespace(execution_options=options)
    token = contexts.attach(contexts.set_value("SQLCOMMENTER_ORM_TAGS_AND_VALUES", tags))
    try:
        call = _calls.Calls("t", Observed().tracer).start("SELECT")
        commenter = Commenter({"db_framework": False, "opentelemetry_values": False}, False)
        made = commenter.comment(conn, "SELECT 1", call, execution)
        call.end()
        return made
    finally:
        contexts.detach(token)


@pytest.mark.parametrize(
    ("paramstyle", "options", "expected"),
    [
        ("qmark", {}, "d%25"),
        ("numeric_dollar", {}, "d%25"),
        ("format", {}, "d%%25"),
        ("pyformat", {}, "d%%25"),
        ("pyformat", {"no_parameters": True}, "d%25"),
    ],
)
def test_a_percent_sign_is_no_parameter(paramstyle: str, options: dict[str, Any], expected: str) -> None:
    assert commented(paramstyle, options, {}) == f"/*db_driver='{expected}'*/"


@given(st.dictionaries(st.text(min_size=1), st.text() | st.integers() | st.none(), max_size=4))
def test_nothing_ends_a_comment_early(tags: dict[str, Any]) -> None:
    made = commented("qmark", {}, tags)
    inner = made.removeprefix("/*").removesuffix("*/")
    assert "*" not in inner
    assert not set(inner) - set("'=,") & set('"\\;\n\x00')
    wanted = {"db_driver": "d%", **{key: str(v) for key, v in tags.items()}}
    dropped = {key for key, v in tags.items() if v is None}
    assert parsed(f"SELECT 1 {made}") == {key: v for key, v in wanted.items() if key not in dropped}


@pytest.mark.parametrize(
    ("statement", "expected"),
    [("SELECT 1", "SELECT 1 /*a*/"), ("SELECT 1;", "SELECT 1 /*a*/;"), ("SELECT 1 ; \n", "SELECT 1  /*a*/;")],
)
def test_a_comment_goes_before_a_semicolon(statement: str, expected: str) -> None:
    assert with_comment(statement, "/*a*/") == expected


# -- returned rows ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "statement", "rows", "expected"),
    [
        ("postgresql://h/d", "SELECT id FROM tracks", 7, [7]),
        ("postgresql://h/d", "SELECT id FROM tracks", 0, [0]),
        ("mysql://h/d", "select id from tracks", 7, [7]),
        ("postgresql://h/d", "INSERT INTO tracks (name) VALUES ('a') RETURNING id", 1, [1]),
        ("postgresql://h/d", "UPDATE tracks SET name = 'a'", 7, []),  # affected, not returned
        ("postgresql://h/d", "SELECT id FROM tracks", -1, []),  # a cursor on the server
        ("mysql://h/d", "SELECT id FROM tracks", 2**64 - 1, []),
        ("oracle://h/d", "SELECT id FROM tracks", 0, []),  # so many were fetched so far
    ],
)
def test_returned_rows(
    instrument: Instrument,
    url: str,
    statement: str,
    rows: int,
    expected: list[int],
    caplog: pytest.LogCaptureFixture,
) -> None:
    observed = instrument()
    execute_at(url, statement, SimpleNamespace(rowcount=rows))
    points = observed.points(ROWS)
    assert [point.sum for point in points] == expected
    assert [point.count for point in points] == [1] * len(expected)
    assert caplog.records == []


def test_rows_of_a_batch_are_not_told(instrument: Instrument, engine: Engine) -> None:
    observed = instrument()
    run(engine, TRACKS.insert(), [{"name": "a"}, {"name": "b"}])
    assert observed.points(ROWS) == []
