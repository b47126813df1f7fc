"""Statements as SQLAlchemy hands them to the driver: a span and a duration each; slow and repeated ones.

SQLAlchemy lets a listener of ``do_execute`` carry out the execution itself
(https://docs.sqlalchemy.org/en/20/core/events.html#sqlalchemy.events.DialectEvents). Ours does what
SQLAlchemy would do, and has its beginning, its end and its error at hand. The events before and after an
execution would have SQLAlchemy dispatch every other event of each connection too, for nobody: as much as the
span costs. SQLAlchemy calls these events semi-public: tests/integration/test_sqlalchemy_versions.py runs them
on each version.

Listeners of the application's for the same events are asked as ever, and each once: those before ours by
SQLAlchemy, those after it by ours, within the span. SQLAlchemy asks in the order in which they were added,
those for all engines first. One before ours that carries out the execution itself ends the asking: such a
statement has no span, no duration and no comment, and ours could not be put before it, since these events
know no ``insert=True``. A statement that a listener refuses before the driver's turn has none either.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any, Final

from opentelemetry.context import Context
from opentelemetry.util.types import AttributeValue

from spanwise import names
from spanwise.context import REQUEST_KEY, get_context, surely_observed
from spanwise.instrumentors._call import NO_CALL, Call
from spanwise.instrumentors._calls import Calls
from spanwise.instrumentors._contrib import Contrib
from spanwise.instrumentors._database import Conventions
from spanwise.instrumentors._failure import message_of
from spanwise.instrumentors._request import request_of
from spanwise.instrumentors._scope import scope_of
from spanwise.instrumentors._slow import SlowStatements
from spanwise.instrumentors._sqlalchemy import (
    Described,
    described,
    initializes,
    listens,
    raised_by_driver,
    status_code,
    target_of,
)
from spanwise.instrumentors._sqlalchemy_database import HELD_AS, Database
from spanwise.instrumentors._sqlalchemy_pool import Pools, pools_of
from spanwise.instrumentors._sqlcommenter import Commenter, with_comment
from spanwise.instrumentors._traceback import passed_over
from spanwise.instruments import make
from spanwise.privacy.sql import TEXT_LIMIT, redact_message

if TYPE_CHECKING:
    from sqlalchemy.engine import ExecutionContext

__all__ = ["Statements"]

_THEIRS: Final = "opentelemetry.instrumentation.sqlalchemy"

# Seconds beyond which a statement is slow where nobody says otherwise: critical by the shipped thresholds.
_SLOW: Final = 1.0
# Runs of one statement in a request that flag it. A page of ten is what one query more would have fetched.
_OFTEN: Final = 10
# Some of MySQL's drivers say 2^64 - 1 for "not known".
_ROWS_UNKNOWN: Final = 1 << 63

_EXECUTIONS: Final = ("do_execute", "do_executemany", "do_execute_no_params")
"""Events and methods of a dialect that hand a statement to the driver."""

Begun = tuple[Call | None, Described, Database, str, Context, int]
"""A call, or None where it is told of when it is over; what is said of its statement, the database, the
statement as it is to be executed, the context and a clock's reading."""


class Statements:
    """Observes the statements of one `instrument()`.

    Args:
        scope: the instrumentor's module.
        chosen: which names to write.
        options: the instrumentor's.

    Attributes:
        calls: starts the spans.
        pools: observes connections.
        events: the listeners, by SQLAlchemy's names of the events.
    """

    def __init__(self, scope: str, chosen: Conventions, options: Mapping[str, Any]) -> None:
        tracer, meter = scope_of(scope, options)
        self.calls = Calls("sqlalchemy", tracer, make(meter, names.DB_CLIENT_OPERATION_DURATION))
        self._conventions = chosen
        self._rows = make(meter, names.DB_CLIENT_RESPONSE_RETURNED_ROWS)
        slow = self._number(options, "slow_statement", _SLOW, 0)
        self._slow = SlowStatements(make(meter, names.DB_SLOW_STATEMENTS), slow)
        self._slow_ns = slow * 1e9
        self._often = self._number(options, "repeated_statements", _OFTEN, 2)
        self._options = options
        self._commenter: Commenter | None = None
        # Nothing needs a span while a statement runs, or labels other than the usual ones.
        self._plain = chosen.stable
        self._contrib = Contrib("sqlalchemy", "SQLAlchemyInstrumentor")
        self.pools: Pools = pools_of(meter)
        self.pools.begin(self.calls, chosen, use_times=bool(options.get("pool_use_time")))
        self.events: tuple[tuple[str, Callable[..., Any]], ...] = (
            *((name, self._carries_out(name)) for name in _EXECUTIONS),
            ("handle_error", self.pools.lost),
            *self.pools.events,
        )

    def _number(self, options: Mapping[str, Any], name: str, default: float, least: float) -> float:
        given = options.get(name)
        if given is None:
            return default
        if isinstance(given, (int, float)) and not isinstance(given, bool) and given >= least:
            return given
        problem = ValueError(f"{name}={given!r} is no number from {least:g}; {default:g} holds")
        self.calls.warn(f"use the option {name}", problem)
        return default

    def imported(self) -> None:
        """SQLAlchemy is there: what needs it can be made."""
        if self._options.get("enable_commenter"):
            shown = bool(self._options.get("enable_attribute_commenter"))
            self._commenter = Commenter(self._options.get("commenter_options") or {}, shown)
            self._plain = False

    @passed_over
    def _carries_out(self, name: str) -> Callable[..., bool]:
        """The listener of one of the events: true where it has carried out the execution."""
        many = name == "do_executemany"
        begin, end, fail = self._begin, self._end, self._fail

        # The arguments after the statement: the parameters, where there are any, and the context.
        def listener(cursor: Any, statement: str, *rest: Any) -> bool:
            begun = begin(cursor, statement, rest, many)
            if begun is None:
                return False
            context = rest[-1]
            try:
                listeners = getattr(context.dialect.dispatch, name)
                if len(listeners) == 1 or not _carried_out(listeners, listener, cursor, begun[3], rest):
                    getattr(context.dialect, name)(cursor, begun[3], *rest)
            except BaseException as error:
                fail(begun, error, context)
                raise
            end(begun, cursor)
            return True

        return listener

    def _begin(self, cursor: Any, statement: str, rest: tuple[Any, ...], many: bool) -> Begun | None:
        """None where nothing is observed. Never raises."""
        try:
            context: ExecutionContext | None = rest[-1]
            if context is None:
                return None
            conn = context.root_connection
            if initializes(conn):
                return None
            if self._contrib.instrumentor is not None and self._contrib.on and listens(conn, _THEIRS):
                self._contrib.stand_back()
                return None
            engine = conn.engine
            database: Database | None = engine.__dict__.get(HELD_AS)
            if database is None or database.era is not self.pools.era:
                database = self.pools.of(engine)
            size = _batch_size(rest[0]) if many else 0
            about = database.known.get(statement) if size <= 1 else None
            if about is None:
                about = self._describe(database, conn, cursor, statement, size > 1)
            here = get_context()
            call: Call | None = None
            if not (self._plain and self.calls.quick and size <= 1 and surely_observed(here)):
                call = self._start(about, here, size=size)
                if call is NO_CALL:
                    return None
        except Exception as error:
            self.calls.warn("observe a statement", error)
            return None
        # A call that is there has to end, whatever fails from here on.
        try:
            request: Any = here.get(REQUEST_KEY) or request_of(here)
            if request is not None:
                request.count(about.repeated, self._often)
            if self._commenter is not None and call is not None:
                statement = self._comment(self._commenter, statement, about, call, context)
        except Exception as error:
            self.calls.warn("count or comment a statement", error)
        return call, about, database, statement, here, perf_counter_ns()

    def _describe(self, database: Database, conn: Any, cursor: Any, statement: str, batch: bool) -> Described:
        target = database.target
        if target is None:
            target = database.target = target_of(conn, cursor, self._conventions)
        short = len(statement) <= TEXT_LIMIT
        about = described(target, statement if short else statement[: TEXT_LIMIT + 1], batch)
        if short and not batch:
            database.remember(statement, about)
        return about

    def _comment(
        self, commenter: Commenter, statement: str, about: Described, call: Call, context: ExecutionContext
    ) -> str:
        comment = commenter.comment(context.root_connection, statement, call, context)
        if not comment:
            return statement
        if commenter.shown:
            text = with_comment(about.text, comment)
            chosen = self._conventions
            shown = {names.DB_QUERY_TEXT: text} if chosen.stable else {}
            if chosen.old:
                shown[names.OLD_DB_STATEMENT] = text
            call.span.set_attributes(shown)
        return with_comment(statement, comment)

    def _start(self, about: Described, here: Context, *, size: int = 0, took: int | None = None) -> Call:
        attributes: Mapping[str, AttributeValue] = about.attributes
        stable = self._conventions.stable
        if size > 1 and stable:
            attributes = {**attributes, names.DB_OPERATION_BATCH_SIZE: size}
        labels = about.labels if stable else None
        return self.calls.start(about.name, attributes, metric_attributes=labels, context=here, took=took)

    def _end(self, begun: Begun, cursor: Any) -> None:
        try:
            call, about, database, _, here, clock = begun
            if call is None:
                took = perf_counter_ns() - clock
                if took <= self._slow_ns:
                    self.calls.over(about.name, about.attributes, about.labels, here, took)
                else:
                    call = self._start(about, here, took=took)
            if call is not None:
                seconds = call.end()
                if seconds > self._slow.limit:
                    self._slow.tell(seconds, about.text, about.labels, call.span)
            if database.down != 0:
                database.down = 0
            if about.counts_rows:
                rows = cursor.rowcount
                if 0 <= rows < _ROWS_UNKNOWN:
                    self._rows.record(rows, about.labels)
        except Exception as error:
            self.calls.warn("end a statement's span", error)

    def _fail(self, begun: Begun, raised: BaseException, context: ExecutionContext) -> None:
        try:
            call, about, _, _, here, clock = begun
            took = perf_counter_ns() - clock
            if call is None and isinstance(raised, GeneratorExit):
                self.calls.abandoned(about.name, about.attributes, about.labels, here, took, raised)
                return
            call = call or self._start(about, here, took=took)
            # Else it is a listener's, or a cancellation.
            code = status_code(raised) if raised_by_driver(raised, context.dialect) else ""
            seconds = call.fail(
                raised,
                error_type=code,
                message=redact_message(message_of(raised)),
                attributes={names.DB_RESPONSE_STATUS_CODE: code} if code else None,
            )
            if seconds > self._slow.limit:
                self._slow.tell(seconds, about.text, about.labels, call.span)
        except Exception as error:
            self.calls.warn("describe a failed statement", error)


def _carried_out(
    listeners: Any, ours: Callable[..., bool], cursor: Any, statement: str, rest: tuple[Any, ...]
) -> bool:
    """Asks the listeners after ours, as SQLAlchemy would: whether one has carried out the execution."""
    after = False
    for each in tuple(listeners):  # one of them may switch ours off
        if after and each(cursor, statement, *rest):
            return True
        after = after or each is ours
    return False


def _batch_size(parameters: Any) -> int:
    return len(parameters) if isinstance(parameters, (list, tuple)) else 0
