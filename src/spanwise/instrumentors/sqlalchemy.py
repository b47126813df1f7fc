"""SQLAlchemy 1.4, 2.0 and 2.1: a span and a duration for each cursor execution.

Listens to SQLAlchemy's public events on the Engine class, so that engines made before and after,
synchronous and asynchronous, are covered alike, and nothing of SQLAlchemy's is wrapped or patched.
SQLAlchemy itself is not imported here: the listeners are set when the application imports it.

There is no span for connecting, pool check-out, BEGIN, COMMIT or ROLLBACK: they carry no statement, and
one span for each would double a request's spans to say nothing.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakKeyDictionary

import wrapt
from opentelemetry.instrumentation.instrumentor import BaseInstrumentor  # type: ignore[attr-defined,unused-ignore]
from opentelemetry.metrics import get_meter
from opentelemetry.trace import get_tracer
from opentelemetry.util.types import AttributeValue

from spanwise import names
from spanwise.instrumentors._call import NO_CALL, Call, Calls, end_abandoned, message_of
from spanwise.privacy.sql import TEXT_LIMIT, describe, redact_message

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection, Engine, ExceptionContext, ExecutionContext

__all__ = ["DURATION_BUCKETS", "SQLAlchemyInstrumentor", "conventions"]

DURATION_BUCKETS: Final = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0)
"""Seconds; the boundaries the conventions ask of db.client.operation.duration."""

_SCHEMA: Final = "https://opentelemetry.io/schemas/1.37.0"
_HELD_AS: Final = "_spanwise_call"
# Names and labels of the last so many (target, statement) pairs. An application has some hundred statements;
# an entry holds the statement's text, so memory is bounded by this times sql.TEXT_LIMIT.
_MEMO: Final = 512

# SQLAlchemy's dialect name to db.system.name; any other dialect keeps its own name.
_SYSTEMS: Final = {
    "mssql": "microsoft.sql_server",
    "oracle": "oracle.db",
    "db2": "ibm.db2",
    "ibm_db_sa": "ibm.db2",
    "hana": "sap.hana",
    "redshift": "aws.redshift",
    "spanner+spanner": "gcp.spanner",
    "firebird": "firebirdsql",
}


@dataclass(frozen=True)
class Conventions:
    """Which attribute names to write."""

    stable: bool
    old: bool


def conventions(opt_in: str | None = None) -> Conventions:
    """What OTEL_SEMCONV_STABILITY_OPT_IN asks for databases.

    Unset or empty: the stable names, which is this distribution's default (the stock one's is the old
    names). ``database``: the stable ones; ``database/dup``: both; a list without either, such as
    ``http``: the old ones only, as everywhere.

    Args:
        opt_in: the variable's value; read from the environment by default.
    """
    value = os.environ.get("OTEL_SEMCONV_STABILITY_OPT_IN", "") if opt_in is None else opt_in
    asked = {part.strip() for part in value.split(",") if part.strip()}
    if "database/dup" in asked:
        return Conventions(stable=True, old=True)
    stable = not asked or "database" in asked
    return Conventions(stable=stable, old=not stable)


@dataclass(frozen=True, eq=False)
class _Target:
    """A database as engines name it. Compared by identity, which is fast: it is the key of the memo."""

    system: str
    old_system: str
    namespace: str
    address: str
    port: int
    user: str
    conventions: Conventions


# engine.execution_options() makes a new engine each time: those of one address must share one target.
_shared_target: Final = lru_cache(maxsize=_MEMO)(_Target)


@dataclass(frozen=True, slots=True)
class _Described:
    name: str
    attributes: Mapping[str, AttributeValue]
    labels: Mapping[str, AttributeValue]


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
        self._targets: WeakKeyDictionary[Engine, _Target] = WeakKeyDictionary()

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
                target = self._targets[conn.engine] = _target(conn, cursor, self._conventions)
            size = _batch_size(parameters, context) if executemany else 0
            text = statement if len(statement) <= TEXT_LIMIT else statement[: TEXT_LIMIT + 1]
            about = _describe(target, text, size > 1)
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
            code = "" if failure.sqlalchemy_exception is None else _status_code(raised)
            call.fail(
                raised,
                error_type=code,
                message=redact_message(message_of(raised)),
                attributes={names.DB_RESPONSE_STATUS_CODE: code} if code else None,
            )
        except Exception as error:
            self._calls.warn("describe a failed statement", error)


class SQLAlchemyInstrumentor(BaseInstrumentor):  # type: ignore[misc,unused-ignore]
    """Traces SQLAlchemy. Used like any OpenTelemetry instrumentor::

        SQLAlchemyInstrumentor().instrument(tracer_provider=…, meter_provider=…)

    Engines need not be named: all of the process are observed.
    """

    _listeners: _Listeners | None = None
    _listening: tuple[tuple[str, Any], ...] = ()

    def instrumentation_dependencies(self) -> Collection[str]:
        """The versions that are traced."""
        return ("sqlalchemy >= 1.4",)

    def _instrument(self, **kwargs: Any) -> None:
        tracer = get_tracer(__name__, tracer_provider=kwargs.get("tracer_provider"), schema_url=_SCHEMA)
        meter = get_meter(__name__, meter_provider=kwargs.get("meter_provider"), schema_url=_SCHEMA)
        metric = names.DB_CLIENT_OPERATION_DURATION
        duration = meter.create_histogram(
            metric.name,
            unit=metric.unit,
            description=metric.description,
            explicit_bucket_boundaries_advisory=DURATION_BUCKETS,
        )
        calls = Calls("sqlalchemy", tracer, duration)
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
        wrapt.register_post_import_hook(listen, "sqlalchemy")

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

    def _uninstrument(self, **_: Any) -> None:
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


@lru_cache(maxsize=_MEMO)
def _describe(target: _Target, statement: str, batch: bool) -> _Described:
    """Name, attributes and labels, the same for every execution of a statement on an engine."""
    found = describe(statement, target.system)
    prefix = "BATCH " if batch else ""
    operation = f"{prefix}{found.operation}" if found.operation else prefix.strip()
    summary = f"{prefix}{found.summary}" if found.summary else prefix.strip()
    labels: dict[str, AttributeValue] = {
        names.DB_SYSTEM_NAME: target.system,
        names.DB_NAMESPACE: target.namespace,
        names.DB_OPERATION_NAME: operation,
        names.DB_COLLECTION_NAME: found.collection,
        names.DB_QUERY_SUMMARY: summary,
        names.SERVER_ADDRESS: target.address,
        names.SERVER_PORT: target.port,
    }
    labels = {key: value for key, value in labels.items() if value}
    attributes: dict[str, AttributeValue] = {}
    if target.conventions.stable:
        attributes = {**labels, names.DB_QUERY_TEXT: found.text}
    if target.conventions.old:
        old: dict[str, AttributeValue] = {
            names.OLD_DB_SYSTEM: target.old_system,
            names.OLD_DB_NAME: target.namespace,
            names.OLD_DB_STATEMENT: found.text,
            names.OLD_DB_OPERATION: found.operation,
            names.OLD_DB_SQL_TABLE: found.collection,
            names.OLD_DB_USER: target.user,
            names.OLD_NET_PEER_NAME: target.address,
            names.OLD_NET_PEER_PORT: target.port,
        }
        attributes.update((key, value) for key, value in old.items() if value)
    return _Described(summary or operation or target.system, attributes, labels)


def _target(conn: Connection, cursor: Any, chosen: Conventions) -> _Target:
    """Read an engine's address, once. Where its URL has no host, a PostgreSQL driver knows it."""
    url = conn.engine.url
    dialect = conn.dialect.name
    if dialect == "mysql" and getattr(conn.dialect, "is_mariadb", False):
        dialect = "mariadb"
    address, port, namespace = url.host or "", url.port or 0, url.database or ""
    in_query = url.query.get("host")
    if not address and isinstance(in_query, str):
        address = in_query
    info = getattr(getattr(cursor, "connection", None), "info", None)
    if not address and dialect == "postgresql" and info is not None:
        address = str(getattr(info, "host", "") or "")
        namespace = namespace or str(getattr(info, "dbname", "") or "")
        port = port or int(getattr(info, "port", 0) or 0)
    return _shared_target(
        system=_SYSTEMS.get(dialect, dialect),
        old_system=dialect,
        namespace=namespace,
        address=address,
        port=port,
        user=url.username or "",
        conventions=chosen,
    )


def _status_code(error: BaseException) -> str:
    """The database's own code: SQLSTATE, SQLite's result name, an ORA- code or an error number; or ""."""
    for name in ("sqlstate", "pgcode", "sqlite_errorname"):
        code = getattr(error, name, None)
        if isinstance(code, str) and code:
            return code
    first = error.args[0] if error.args else None
    full = getattr(first, "full_code", None)  # oracledb
    if isinstance(full, str) and full:
        return full
    # MySQL's drivers and pymssql give the number first.
    return str(first) if isinstance(first, int) and not isinstance(first, bool) else ""
