"""SQLAlchemy 1.4, 2.0 and 2.1: a span and a duration an execution; pools, slow and repeated statements.

Listens to SQLAlchemy's documented events on the Engine class, so that engines made before and after,
synchronous and asynchronous, are covered alike. One public method is wrapped: `_sqlalchemy_pool` says why.
Statements are carried out by our listener: `_sqlalchemy_statements` says why, and what that cannot see.
SQLAlchemy itself is not imported here: the listeners are set when the application imports it.

There is no span for connecting, pool check-out, BEGIN, COMMIT or ROLLBACK: they carry no statement, and
one span for each would double a request's spans to say nothing.
"""

from __future__ import annotations

from typing import Any

from spanwise.instrumentors._abandoned import end_abandoned
from spanwise.instrumentors._base import Instrumentor
from spanwise.instrumentors._database import conventions
from spanwise.instrumentors._imports import when_imported
from spanwise.instrumentors._sqlalchemy import forget
from spanwise.instrumentors._sqlalchemy_statements import Statements

__all__ = ["SQLAlchemyInstrumentor"]


class SQLAlchemyInstrumentor(Instrumentor):
    """Traces SQLAlchemy. Used like any OpenTelemetry instrumentor::

        SQLAlchemyInstrumentor().instrument(tracer_provider=…, meter_provider=…)

    Engines need not be named: all of the process are observed. A statement that an earlier listener of the
    application's for ``do_execute`` carries out itself is not: SQLAlchemy then asks nobody else. Options:

    - ``slow_statement``: seconds beyond which a statement is counted and logged as slow; 1 by default.
    - ``repeated_statements``: so many runs of one statement in a request flag it; 10 by default.
    - ``enable_commenter``, ``commenter_options``, ``enable_attribute_commenter``: SQL comments, as with
      OpenTelemetry's instrumentor. A comment makes every statement's text another one, which defeats
      drivers that prepare statements by their text. It is added last: neither ``echo`` nor listeners of
      ``before_cursor_execute`` nor SQLAlchemy's errors show it.
    - ``pool_use_time``: whether the time between check-out and check-in is measured; False by default.
    """

    library = "sqlalchemy"
    since = (1, 4)
    _statements: Statements | None = None
    _listening: tuple[tuple[str, Any], ...] = ()
    _raw: tuple[Any, Any] | None = None

    def _instrument(self, **kwargs: Any) -> None:
        self._statements = statements = Statements(__name__, conventions(), kwargs)

        def listen(_module: Any) -> None:
            # The hook stays after uninstrument(), so it asks whether it is still wanted. What it raises
            # would fail the application's import.
            if self._statements is statements:
                try:
                    self._listen(statements)
                except Exception as error:
                    statements.calls.warn("listen to SQLAlchemy's events", error)

        # Runs at once where SQLAlchemy is imported already.
        when_imported("sqlalchemy", listen)

    def _listen(self, statements: Statements) -> None:
        from sqlalchemy import event
        from sqlalchemy.engine import Engine
        from sqlalchemy.exc import TimeoutError as GaveUp

        statements.imported()
        for identifier, function in statements.events:
            event.listen(Engine, identifier, function)
            self._listening = (*self._listening, (identifier, function))
        original = Engine.raw_connection
        observed = statements.pools.observed(original, GaveUp)
        Engine.raw_connection = observed  # type: ignore[method-assign]
        self._raw = (original, observed)

    def _uninstrument(self) -> None:
        if self._statements is not None:
            self._statements.calls.open = False
            self._statements.pools.end()
        self._statements = None
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
        forget()
