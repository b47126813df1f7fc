"""Slow operations: which are kept, which are logged, and that the thread which ends a span only appends."""

from __future__ import annotations

import itertools
import logging
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from opentelemetry.trace import SpanKind

from spanwise import names, slow_operations
from spanwise.alerts import slow
from spanwise.alerts.slow import LINES, WINDOW, SlowOperations
from spanwise.context import SUPPRESSION_KEYS, get_context
from spanwise.log import own_threads
from spanwise.rating import shipped
from spanwise.rating.verdict import verdicts
from spanwise.spans.provider import TracerProvider

MS = 1_000_000
Until = Callable[[Callable[[], Any]], None]
SHOP = {names.HTTP_REQUEST_METHOD: "GET", names.HTTP_ROUTE: "/shop"}


class Process:
    """A tracer whose spans are rated by the shipped thresholds."""

    def __init__(self, **options: Any) -> None:
        self.now = 0.0
        self.slow = SlowOperations(clock=lambda: self.now, **options)
        verdict = verdicts(shipped.CANDIDATES)
        verdict.told = self.slow.take  # type: ignore[attr-defined]
        self.provider = TracerProvider(shutdown_on_exit=False, verdict=verdict)

    def span(
        self, milliseconds: float, attributes: Any = SHOP, scope: str = "app", name: str = "GET /shop"
    ) -> Any:
        kind = SpanKind.SERVER if names.HTTP_ROUTE in attributes else SpanKind.CLIENT
        span = self.provider.get_tracer(scope).start_span(
            name, kind=kind, attributes=attributes, start_time=10**18
        )
        span.end(10**18 + round(milliseconds * MS))
        return span


@pytest.fixture
def lines() -> Iterator[list[str]]:
    found: list[str] = []

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            found.append(record.getMessage())

    handler = Handler()
    logger = logging.getLogger("spanwise.slow")
    logger.addHandler(handler)
    yield found
    logger.removeHandler(handler)


def test_poor_and_critical_spans_are_kept_slowest_first() -> None:
    process = Process()
    for milliseconds in (900, 1_500, 4_000, 6_000, 3_000, 3_001):
        process.span(milliseconds)
    found = process.slow.operations()
    assert [(each.duration, each.rating, each.limit) for each in found] == [
        (6.0, "critical", 5.0),
        (4.0, "poor", 3.0),
        (3.001, "poor", 3.0),
    ]
    first = found[0]
    assert (first.name, first.kind, first.rule) == ("GET /shop", "server", "http.server")
    assert first.time == 10**9 + 6
    assert first.as_dict()["attributes"] == SHOP


def test_it_names_the_trace() -> None:
    process = Process()
    context = process.span(4_000).get_span_context()
    (found,) = process.slow.operations()
    assert int(found.trace_id, 16) == context.trace_id
    assert (int(found.span_id, 16), len(found.span_id)) == (context.span_id, 16)


def test_what_may_be_secret_is_left_out_or_redacted() -> None:
    process = Process()
    process.span(
        4_000, {**SHOP, names.URL_PATH: "/shop/secret", names.URL_QUERY: "secret", "user.token": "secret"}
    )
    sql = "SELECT * FROM users WHERE password = 'secret'"
    process.span(
        4_001,
        {names.DB_SYSTEM_NAME: "postgresql", names.DB_QUERY_TEXT: sql, names.DB_OPERATION_NAME: "SELECT"},
    )
    process.span(4_002, {names.DB_SYSTEM_NAME: "redis", names.DB_QUERY_TEXT: "GET ?"})
    redis, statement, request = (each.attributes for each in process.slow.operations())
    assert request == SHOP
    assert statement[names.DB_QUERY_TEXT] == "SELECT * FROM users WHERE password = ?"
    assert statement[names.DB_OPERATION_NAME] == "SELECT"
    assert redis[names.DB_QUERY_TEXT] == "GET ?"


def test_the_newest_and_the_slowest_are_kept_and_no_more() -> None:
    process = Process(most=3)
    for milliseconds in (9_000, 8_000, 7_000, *range(3_001, 3_050)):
        process.span(milliseconds)
    assert [each.duration for each in process.slow.operations()] == [9, 8, 7, 3.049, 3.048, 3.047]
    process.span(9_500)
    assert [each.duration for each in process.slow.operations()] == [9.5, 9, 8, 3.049, 3.048]


def test_equally_slow_ones_do_not_confuse_it() -> None:
    process = Process(most=2)
    for _ in range(10):
        process.span(4_000)
    assert len(process.slow.operations()) == 4


def test_however_many_end_at_once_the_queue_is_bounded_and_the_rest_is_told(lines: list[str]) -> None:
    process = Process()
    for _ in range(slow._MOST_WAITING + 10):
        process.span(4_000)
    assert len(process.slow._waiting) == slow._MOST_WAITING
    assert len(process.slow.operations()) <= 200
    for _ in range(2):
        process.slow._turn()
    assert len([line for line in lines if line.startswith("10 slow operations are not listed")]) == 1


def test_a_span_that_is_good_or_acceptable_is_not_taken() -> None:
    process = Process()
    process.span(900)
    process.span(2_000)
    assert (len(process.slow._waiting), process.slow._wakeup.is_set()) == (0, False)
    process.span(4_000)
    assert (len(process.slow._waiting), process.slow._wakeup.is_set()) == (1, True)


def test_they_are_logged_on_a_thread_of_ours(lines: list[str], until: Until) -> None:
    process = Process()
    seen: list[tuple[str, bool]] = []

    class Where(logging.Filter):
        def filter(self, record: logging.LogRecord) -> bool:
            suppressed = all(get_context().get(key) for key in SUPPRESSION_KEYS)
            seen.append((own_threads.get(threading.get_ident()), suppressed))
            return True

    where = Where()
    logging.getLogger("spanwise.slow").addFilter(where)
    process.slow.begin()
    try:
        context = process.span(6_000).get_span_context()
        until(lambda: lines)
    finally:
        process.slow.end()
        logging.getLogger("spanwise.slow").removeFilter(where)
    (line,) = lines
    assert line == (
        "slow operation: GET /shop took 6.000 s, critical by http.server (limit 5 s), "
        f"trace {context.trace_id:032x}, span {context.span_id:016x}: "
        "http.request.method=GET, http.route=/shop"
    )
    assert seen == [("spanwise-slow", True)]


def test_asking_for_them_logs_nothing_on_the_asking_thread(lines: list[str]) -> None:
    process = Process()
    process.span(6_000)
    assert len(process.slow.operations()) == 1
    assert lines == []
    process.slow._turn()
    assert len(lines) == 1


def test_the_log_is_throttled_by_rule(lines: list[str]) -> None:
    process = Process()
    for _ in range(LINES + 7):
        process.span(6_000)
    process.span(6_000, {names.DB_SYSTEM_NAME: "postgresql"})
    process.slow._turn()
    assert [line.split(" by ")[1].split()[0] for line in lines] == [*["http.server"] * LINES, "db.client"]
    process.now += WINDOW
    process.span(6_000)
    process.slow._turn()
    assert lines[-1].endswith("[7 by http.server before were not logged]")


def test_a_statement_that_its_instrumentor_logs_is_kept_and_not_logged_again(lines: list[str]) -> None:
    process = Process(logged_by_others=lambda scope, seconds: scope == "sql" and seconds > 1)
    process.span(1_500, {names.DB_SYSTEM_NAME: "postgresql"}, "sql")
    process.span(900, {names.DB_SYSTEM_NAME: "postgresql"}, "sql")
    process.slow._turn()
    assert [each.duration for each in process.slow.operations()] == [1.5, 0.9]
    assert ["took 0.900 s" in line for line in lines] == [True]


def test_a_logging_handler_that_raises_stops_nothing(lines: list[str]) -> None:
    process = Process()

    class Raises(logging.Filter):
        def filter(self, record: logging.LogRecord) -> bool:
            raise RuntimeError("mine")

    raises = Raises()
    logging.getLogger("spanwise.slow").addFilter(raises)
    process.span(6_000)
    process.slow._turn()
    logging.getLogger("spanwise.slow").removeFilter(raises)
    process.span(6_000)
    process.slow._turn()
    assert len(lines) == 1


def test_a_forked_child_begins_with_none(until: Until, lines: list[str]) -> None:
    process = Process()
    process.span(6_000)
    assert len(process.slow.operations()) == 1
    process.slow.after_fork()
    assert process.slow.operations() == []
    process.span(7_000)
    until(lambda: lines)
    process.slow.end()
    assert [each.duration for each in process.slow.operations()] == [7.0]


def test_what_was_slow_just_before_the_end_is_logged(until: Until, lines: list[str]) -> None:
    process = Process()
    process.slow.begin()
    process.span(6_000)
    until(lambda: lines)
    process.span(7_000)  # while the thread rests
    process.slow.end()
    assert ["took 7.000 s" in line for line in lines] == [False, True]


def test_a_logging_handler_that_hangs_does_not_hold_up_the_end(until: Until) -> None:
    process, go_on, called = Process(), threading.Event(), threading.Event()

    class Hangs(logging.Filter):
        def filter(self, record: logging.LogRecord) -> bool:
            called.set()
            return go_on.wait(60)

    hangs = Hangs()
    logging.getLogger("spanwise.slow").addFilter(hangs)
    process.slow.begin()
    process.span(6_000)
    assert called.wait(60)
    process.slow.end()
    thread = process.slow._thread
    assert thread is not None
    assert thread.is_alive()
    go_on.set()
    until(lambda: not thread.is_alive())
    logging.getLogger("spanwise.slow").removeFilter(hangs)


def test_the_thread_ends_when_told(until: Until) -> None:
    process = Process()
    before = len(own_threads)
    process.slow.begin()
    until(lambda: len(own_threads) == before + 1)
    process.slow.end()
    until(lambda: len(own_threads) == before)


def test_a_taker_that_fails_costs_the_span_nothing() -> None:
    process = Process()
    numbers = itertools.count()

    def broken(*_: Any) -> None:
        next(numbers)
        raise RuntimeError("mine")

    process.provider._verdict.told = broken  # type: ignore[union-attr]
    span = process.span(6_000)
    assert span.attributes[names.RATING] == "critical"
    assert next(numbers) == 1


def test_without_telemetry_there_are_none() -> None:
    assert slow_operations() == []
