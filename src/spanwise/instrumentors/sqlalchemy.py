"""SQLAlchemy 1.4, 2.0 and 2.1: a span and a duration for each cursor execution.

Listens to SQLAlchemy's public events on the Engine class, so that engines made before and after,
synchronous and asynchronous, are covered alike, and nothing of SQLAlchemy's is wrapped or patched.
SQLAlchemy itself is not imported here: the listeners are set when the application imports it.

There is no span for connecting, pool check-out, BEGIN, COMMIT or ROLLBACK: they carry no statement, and
one span for each would double a request's spans to say nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final
from weakref import WeakKeyDictionary

from opentelemetry.metrics import get_meter
from opentelemetry.trace import get_tracer

from spanwise import names
from spanwise.instrumentors._base import Instrumentor
from spanwise.instrumentors._call import NO_CALL, Call, Calls, end_abandoned, message_of
from spanwise.instrumentors._database import Conventions, conventions
from spanwise.instrumentors._imports import when_imported
from spanwise.instrumentors._sqlalchemy import Target, described, status_code, target_of
from spanwise.instruments import make
from spanwise.privacy.sql import TEXT_LIMIT, redact_message

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection, Engine, ExceptionContext, ExecutionContext

__all__ = ["SQLAlchemyInstrumentor", "conventions"]

_SCHEMA: Final = "https://opentelemetry.io/schemas/1.37.0"
_HELD_AS: Final = "_spanwise_call"


class _Execution:
    """A call with the cursor it belongs to, and the execution that was under way when it began."""

    __slots__ = ("call", "cursor", "outer")

    def __init__(self, call: Call, cursor: object, outer: _Execution | None) -> None:
        self.call = call
        self.cursor = cursor
        self.outer = outer


class _Listeners:
    """The event listeners of one `instrument()`."""

    def __init__(self, calls: Calls, chosen: Conventions) -> None:
        self._calls = calls
        self._conventions = chosen
        self._targets: WeakKeyDictionary[Engine, Target] = WeakKeyDictionary()

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
            target = self._targets.get(conn.engine)
            if target is None:
                target = self._targets[conn.engine] = target_of(conn, cursor, self._conventions)
            size = _batch_size(parameters, context) if executemany else 0
            text = statement if len(statement) <= TEXT_LIMIT else statement[: TEXT_LIMIT + 1]
            about = described(target, text, size > 1)
            attributes = about.attributes
            if size > 1 and target.conventions.stable:
                attributes = {**attributes, names.DB_OPERATION_BATCH_SIZE: size}
            call = self._calls.start(
                about.name, attributes, metric_attributes=about.labels if target.conventions.stable else None
            )
            if call is not NO_CALL:
                _hold(call, cursor, conn if context is None else context)
        except Exception as error:
            self._calls.warn("observe a statement", error)
        return statement, parameters

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
            call = _release(cursor, conn if context is None else context)
            if call is not None:
                call.end()
        except Exception as error:
            self._calls.warn("end a statement's span", error)

    def error(self, failure: ExceptionContext) -> None:
        try:
            owner: Any = failure.execution_context
            if owner is None:
                owner = failure.connection
            # A failed connect has neither. The cursor is documented, but 2.0 and 2.1 leave it unset.
            call = None if owner is None else _release(getattr(failure, "cursor", None), owner)
            if call is None:
                return
            raised = failure.original_exception
            # None where the driver didn't raise it: a listener, a cancellation.
            code = "" if failure.sqlalchemy_exception is None else status_code(raised)
            call.fail(
                raised,
                error_type=code,
                message=redact_message(message_of(raised)),
                attributes={names.DB_RESPONSE_STATUS_CODE: code} if code else None,
            )
        except Exception as error:
            self._calls.warn("describe a failed statement", error)


class SQLAlchemyInstrumentor(Instrumentor):
    """Traces SQLAlchemy. Used like any OpenTelemetry instrumentor::

        SQLAlchemyInstrumentor().instrument(tracer_provider=…, meter_provider=…)

    Engines need not be named: all of the process are observed.
    """

    library = "sqlalchemy"
    since = (1, 4)
    _listeners: _Listeners | None = None
    _listening: tuple[tuple[str, Any], ...] = ()

    def _instrument(self, **kwargs: Any) -> None:
        tracer = get_tracer(__name__, tracer_provider=kwargs.get("tracer_provider"), schema_url=_SCHEMA)
        meter = get_meter(__name__, meter_provider=kwargs.get("meter_provider"), schema_url=_SCHEMA)
        calls = Calls("sqlalchemy", tracer, make(meter, names.DB_CLIENT_OPERATION_DURATION))
        if kwargs.get("enable_commenter"):
            calls.warn("add SQL comments", ValueError("enable_commenter is not supported here"))
        self._listeners = listeners = _Listeners(calls, conventions())

        def listen(_module: Any) -> None:
            # The hook stays after uninstrument(), so it asks whether it is still wanted. What it raises
            # would fail the application's import.
            if self._listeners is listeners:
                try:
                    self._listen(listeners)
                except Exception as error:
                    calls.warn("listen to SQLAlchemy's events", error)

        # Runs at once where SQLAlchemy is imported already.
        when_imported("sqlalchemy", listen)

    def _listen(self, listeners: _Listeners) -> None:
        from sqlalchemy import event
        from sqlalchemy.engine import Engine

        wanted: tuple[tuple[str, Any, dict[str, Any]], ...] = (
            ("before_cursor_execute", listeners.before, {"retval": True}),
            ("after_cursor_execute", listeners.after, {}),
            ("handle_error", listeners.error, {}),
        )
        for identifier, function, options in wanted:
            event.listen(Engine, identifier, function, **options)
            self._listening = (*self._listening, (identifier, function))

    def _uninstrument(self) -> None:
        if self._listeners is not None:
            self._listeners._calls.open = False
        self._listeners = None
        if self._listening:
            from sqlalchemy import event
            from sqlalchemy.engine import Engine

            for identifier, function in self._listening:
                event.remove(Engine, identifier, function)
        self._listening = ()
        end_abandoned()


def _hold(call: Call, cursor: object, owner: Any) -> None:
    """Keep the call with its owner: the execution, which dies with the statement, or the connection.

    A listener of the application may run a statement within a statement, so executions nest.
    """
    outer: _Execution | None = getattr(owner, _HELD_AS, None)
    while outer is not None and outer.cursor is cursor:
        outer = outer.outer  # a cursor runs one statement at a time: that one never told its end
    setattr(owner, _HELD_AS, _Execution(call, cursor, outer))


def _release(cursor: object | None, owner: Any) -> Call | None:
    """The call that the cursor's statement began (the innermost, for None); it is held no longer."""
    held: _Execution | None = getattr(owner, _HELD_AS, None)
    while held is not None and cursor is not None and held.cursor is not cursor:
        held = held.outer
    if held is None:
        return None
    setattr(owner, _HELD_AS, held.outer)
    return held.call


def _batch_size(parameters: Any, context: ExecutionContext | None) -> int:
    """How many parameter sets executemany() runs; 0 for one INSERT of many rows, which is one operation."""
    style = getattr(getattr(context, "execute_style", None), "name", "")
    if style == "INSERTMANYVALUES" or not isinstance(parameters, (list, tuple)):
        return 0
    return len(parameters)
