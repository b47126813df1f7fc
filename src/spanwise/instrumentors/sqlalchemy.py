"""SQLAlchemy 1.4, 2.0 and 2.1: a span and a duration an execution; pools, slow and repeated statements.

Listens to SQLAlchemy's public events on the Engine class, so that engines made before and after,
synchronous and asynchronous, are covered alike. One public method is wrapped: `_sqlalchemy_pool` says why.
SQLAlchemy itself is not imported here: the listeners are set when the application imports it.

There is no span for connecting, pool check-out, BEGIN, COMMIT or ROLLBACK: they carry no statement, and
one span for each would double a request's spans to say nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from spanwise import names
from spanwise.context import REQUEST_KEY
from spanwise.instrumentors._base import Instrumentor
from spanwise.instrumentors._call import NO_CALL, Call, Calls, end_abandoned
from spanwise.instrumentors._contrib import Contrib
from spanwise.instrumentors._database import Conventions, conventions
from spanwise.instrumentors._failure import message_of
from spanwise.instrumentors._imports import when_imported
from spanwise.instrumentors._request import request_of
from spanwise.instrumentors._scope import scope_of
from spanwise.instrumentors._slow import SlowStatements
from spanwise.instrumentors._sqlalchemy import (
    Described,
    described,
    listens,
    status_code,
    target_of,
)
from spanwise.instrumentors._sqlalchemy_database import HELD_AS, Database
from spanwise.instrumentors._sqlalchemy_pool import pools_of
from spanwise.instrumentors._sqlcommenter import Commenter, with_comment
from spanwise.instruments import make
from spanwise.privacy.sql import TEXT_LIMIT, redact_message

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection, ExceptionContext, ExecutionContext

__all__ = ["SQLAlchemyInstrumentor", "conventions"]

_HELD_AS: Final = "_spanwise_call"
_THEIRS: Final = "opentelemetry.instrumentation.sqlalchemy"

# Seconds beyond which a statement is slow where nobody says otherwise: critical by the shipped thresholds.
_SLOW: Final = 1.0
# Runs of one statement in a request that flag it. A page of ten is what one query more would have fetched.
_OFTEN: Final = 10
# Some of MySQL's drivers say 2^64 - 1 for "not known".
_ROWS_UNKNOWN: Final = 1 << 63


class _Execution:
    """A call with the cursor it belongs to, and the execution that was under way when it began."""

    __slots__ = ("about", "call", "cursor", "database", "outer")

    def __init__(self, call: Call, cursor: object, about: Described, database: Database) -> None:
        self.call = call
        self.cursor = cursor
        self.about = about
        self.database = database
        self.outer: _Execution | None = None


class _Listeners:
    """The event listeners of one `instrument()`.

    Attributes:
        calls: starts the spans.
        pools: observes connections.
        commenter: makes SQL comments; None where there are to be none.
    """

    def __init__(self, chosen: Conventions, options: Mapping[str, Any]) -> None:
        tracer, meter = scope_of(__name__, options)
        self.calls = Calls("sqlalchemy", tracer, make(meter, names.DB_CLIENT_OPERATION_DURATION))
        self._conventions = chosen
        self._rows = make(meter, names.DB_CLIENT_RESPONSE_RETURNED_ROWS)
        self._slower = self._number(options, "slow_statement", _SLOW, 0)
        self._slow = SlowStatements(make(meter, names.DB_SLOW_STATEMENTS), self._slower)
        self._often = self._number(options, "repeated_statements", _OFTEN, 2)
        self._options = options
        self.commenter: Commenter | None = None
        self._contrib = Contrib("sqlalchemy", "SQLAlchemyInstrumentor")
        self.pools = pools_of(meter)
        self.pools.begin(self.calls, chosen, use_times=bool(options.get("pool_use_time")))

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
            self.commenter = Commenter(self._options.get("commenter_options") or {}, shown)

    def before(
        self,
        conn: Connection,
        cursor: Any,
        statement: str,
        parameters: Any,
        context: ExecutionContext | None,
        executemany: bool,
    ) -> tuple[str, Any]:
        try:
            if self._contrib.instrumentor is not None and self._contrib.on and listens(conn, _THEIRS):
                self._contrib.stand_back()
                return statement, parameters
            engine = conn.engine
            database: Database | None = engine.__dict__.get(HELD_AS)
            if database is None or database.era is not self.pools.era:
                database = self.pools.of(engine)
            target = database.target
            if target is None:
                target = database.target = target_of(conn, cursor, self._conventions)
            size = _batch_size(parameters, context) if executemany else 0
            text = statement if len(statement) <= TEXT_LIMIT else statement[: TEXT_LIMIT + 1]
            about = described(target, text, size > 1)
            attributes = about.attributes
            if size > 1 and target.conventions.stable:
                attributes = {**attributes, names.DB_OPERATION_BATCH_SIZE: size}
            call = self.calls.start(
                about.name, attributes, metric_attributes=about.labels if target.conventions.stable else None
            )
            if call is not NO_CALL:
                execution = _Execution(call, cursor, about, database)
                _hold(execution, conn if context is None else context)
                request: Any = call.context.get(REQUEST_KEY) or request_of(call.context)
                if request is not None:
                    request.count(about.repeated, self._often)
                if self.commenter is not None:
                    statement = self._comment(self.commenter, conn, statement, execution, context)
        except Exception as error:
            self.calls.warn("observe a statement", error)
        return statement, parameters

    def _comment(
        self, commenter: Commenter, conn: Connection, statement: str, execution: _Execution, context: Any
    ) -> str:
        comment = commenter.comment(conn, statement, execution.call, context)
        if not comment:
            return statement
        if commenter.shown:
            text = with_comment(execution.about.text, comment)
            chosen = self._conventions
            shown = {names.DB_QUERY_TEXT: text} if chosen.stable else {}
            if chosen.old:
                shown[names.OLD_DB_STATEMENT] = text
            execution.call.span.set_attributes(shown)
        return with_comment(statement, comment)

    def after(
        self,
        conn: Connection,
        cursor: Any,
        _statement: str,
        _parameters: Any,
        context: ExecutionContext | None,
        _executemany: bool,
    ) -> None:
        try:
            held = _release(cursor, conn if context is None else context)
            if held is None:
                return
            seconds = held.call.end()
            if held.database.down != 0:
                held.database.down = 0
            if seconds > self._slower:
                self._tell_slow(held, seconds)
            if held.about.counts_rows:
                rows = cursor.rowcount
                if 0 <= rows < _ROWS_UNKNOWN:
                    self._rows.record(rows, held.about.labels)
        except Exception as error:
            self.calls.warn("end a statement's span", error)

    def error(self, failure: ExceptionContext) -> None:
        try:
            self.pools.lost(failure)
            owner: Any = failure.execution_context
            if owner is None:
                owner = failure.connection
            # A failed connect has neither. The cursor is documented, but 2.0 and 2.1 leave it unset.
            held = None if owner is None else _release(getattr(failure, "cursor", None), owner)
            if held is None:
                return
            raised = failure.original_exception
            # None where the driver didn't raise it: a listener, a cancellation.
            code = "" if failure.sqlalchemy_exception is None else status_code(raised)
            seconds = held.call.fail(
                raised,
                error_type=code,
                message=redact_message(message_of(raised)),
                attributes={names.DB_RESPONSE_STATUS_CODE: code} if code else None,
            )
            if seconds > self._slower:
                self._tell_slow(held, seconds)
        except Exception as error:
            self.calls.warn("describe a failed statement", error)

    def _tell_slow(self, held: _Execution, seconds: float) -> None:
        self._slow.tell(seconds, held.about.text, held.about.labels, held.call.span)


class SQLAlchemyInstrumentor(Instrumentor):
    """Traces SQLAlchemy. Used like any OpenTelemetry instrumentor::

        SQLAlchemyInstrumentor().instrument(tracer_provider=…, meter_provider=…)

    Engines need not be named: all of the process are observed. Options:

    - ``slow_statement``: seconds beyond which a statement is counted and logged as slow; 1 by default.
    - ``repeated_statements``: so many runs of one statement in a request flag it; 10 by default.
    - ``enable_commenter``, ``commenter_options``, ``enable_attribute_commenter``: SQL comments, as with
      OpenTelemetry's instrumentor. A comment makes every statement's text another one, which defeats
      drivers that prepare statements by their text.
    - ``pool_use_time``: whether the time between check-out and check-in is measured; False by default.
    """

    library = "sqlalchemy"
    since = (1, 4)
    _listeners: _Listeners | None = None
    _listening: tuple[tuple[str, Any], ...] = ()
    _raw: tuple[Any, Any] | None = None

    def _instrument(self, **kwargs: Any) -> None:
        self._listeners = listeners = _Listeners(conventions(), kwargs)

        def listen(_module: Any) -> None:
            # The hook stays after uninstrument(), so it asks whether it is still wanted. What it raises
            # would fail the application's import.
            if self._listeners is listeners:
                try:
                    self._listen(listeners)
                except Exception as error:
                    listeners.calls.warn("listen to SQLAlchemy's events", error)

        # Runs at once where SQLAlchemy is imported already.
        when_imported("sqlalchemy", listen)

    def _listen(self, listeners: _Listeners) -> None:
        from sqlalchemy import event
        from sqlalchemy.engine import Engine
        from sqlalchemy.exc import TimeoutError as GaveUp

        listeners.imported()
        wanted: tuple[tuple[str, Any, dict[str, Any]], ...] = (
            ("before_cursor_execute", listeners.before, {"retval": True}),
            ("after_cursor_execute", listeners.after, {}),
            ("handle_error", listeners.error, {}),
            *((identifier, function, {}) for identifier, function in listeners.pools.events),
        )
        for identifier, function, options in wanted:
            event.listen(Engine, identifier, function, **options)
            self._listening = (*self._listening, (identifier, function))
        original = Engine.raw_connection
        observed = listeners.pools.observed(original, GaveUp)
        Engine.raw_connection = observed  # type: ignore[method-assign]
        self._raw = (original, observed)

    def _uninstrument(self) -> None:
        if self._listeners is not None:
            self._listeners.calls.open = False
            self._listeners.pools.end()
        self._listeners = None
        if self._listening:
            from sqlalchemy import event
            from sqlalchemy.engine import Engine

            for identifier, function in self._listening:
                event.remove(Engine, identifier, function)
            # Where somebody wrapped it after us, ours stays below theirs, and only passes on.
            if self._raw is not None and Engine.raw_connection is self._raw[1]:
                Engine.raw_connection = self._raw[0]  # type: ignore[method-assign]
        self._listening, self._raw = (), None
        end_abandoned()


def _hold(execution: _Execution, owner: Any) -> None:
    """Keep the call with its owner: the execution, which dies with the statement, or the connection.

    A listener of the application may run a statement within a statement, so executions nest.
    """
    outer: _Execution | None = getattr(owner, _HELD_AS, None)
    while outer is not None and outer.cursor is execution.cursor:
        outer = outer.outer  # a cursor runs one statement at a time: that one never told its end
    execution.outer = outer
    setattr(owner, _HELD_AS, execution)


def _release(cursor: object | None, owner: Any) -> _Execution | None:
    """The execution that the cursor's statement began (the innermost, for None); it is held no longer."""
    held: _Execution | None = getattr(owner, _HELD_AS, None)
    while held is not None and cursor is not None and held.cursor is not cursor:
        held = held.outer
    if held is None:
        return None
    setattr(owner, _HELD_AS, held.outer)
    return held


def _batch_size(parameters: Any, context: ExecutionContext | None) -> int:
    """How many parameter sets executemany() runs; 0 for one INSERT of many rows, which is one operation."""
    style = getattr(getattr(context, "execute_style", None), "name", "")
    if style == "INSERTMANYVALUES" or not isinstance(parameters, (list, tuple)):
        return 0
    return len(parameters)
