"""Standard-library logging: records are exported with their trace, and carry its ids.

contrib's instrumentor puts a handler on the root logger. With it there, ``logging.basicConfig()``
and Python's handler of last resort do nothing, so an application's warnings vanish from its
terminal. This one hooks in before the handlers instead and leaves them alone; the translation of a
record is contrib's.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Collection
from typing import Any

from opentelemetry.instrumentation.instrumentor import BaseInstrumentor
from opentelemetry.instrumentation.logging.constants import DEFAULT_LOGGING_FORMAT
from opentelemetry.instrumentation.logging.environment_variables import (
    OTEL_PYTHON_LOG_AUTO_INSTRUMENTATION,
    OTEL_PYTHON_LOG_CODE_ATTRIBUTES,
    OTEL_PYTHON_LOG_CORRELATION,
    OTEL_PYTHON_LOG_FORMAT,
    OTEL_PYTHON_LOG_HANDLER_LEVEL,
    OTEL_PYTHON_LOG_LEVEL,
)
from opentelemetry.instrumentation.logging.handler import LoggingHandler
from opentelemetry.trace import format_span_id, format_trace_id, get_current_span

__all__ = ["LoggingInstrumentor"]

# A warning that logs cannot be delivered is not itself a log record to be delivered.
_DELIVERY = "spanwise.deliver"

_CallHandlers = Callable[[logging.Logger, logging.LogRecord], None]


class LoggingInstrumentor(BaseInstrumentor):  # type: ignore[misc]
    """Exports what reaches the root logger and puts the trace's ids on every record.

    The record attributes are contrib's (``otelTraceID``, ``otelSpanID``, ``otelTraceSampled``), for
    use in a format of the application's own; ``OTEL_PYTHON_LOG_CORRELATION=true`` sets such a format.
    """

    _original: _CallHandlers | None = None

    def instrumentation_dependencies(self) -> Collection[str]:
        """Nothing but Python itself."""
        return ()

    def _instrument(self, **kwargs: Any) -> None:
        if _true(OTEL_PYTHON_LOG_CORRELATION, "false"):
            logging.basicConfig(
                format=os.environ.get(OTEL_PYTHON_LOG_FORMAT) or DEFAULT_LOGGING_FORMAT,
                level=_level(OTEL_PYTHON_LOG_LEVEL, logging.INFO),
            )
        handler = None
        if kwargs.get("enable_log_auto_instrumentation", _true(OTEL_PYTHON_LOG_AUTO_INSTRUMENTATION, "true")):
            handler = LoggingHandler(
                level=_level(OTEL_PYTHON_LOG_HANDLER_LEVEL, logging.NOTSET),
                logger_provider=kwargs.get("logger_provider"),
                log_code_attributes=_true(OTEL_PYTHON_LOG_CODE_ATTRIBUTES, "false"),
            )
        original = logging.Logger.callHandlers
        LoggingInstrumentor._original = original

        def call_handlers(self: logging.Logger, record: logging.LogRecord) -> None:
            try:
                _correlate(record)
                if (
                    handler is not None
                    and record.levelno >= handler.level
                    and not record.name.startswith(_DELIVERY)
                    and _reaches_root(self)
                ):
                    handler.handle(record)
            except Exception:
                pass  # logging about a failure to log would come back here
            original(self, record)

        logging.Logger.callHandlers = call_handlers  # type: ignore[method-assign]

    def _uninstrument(self, **_: Any) -> None:
        if LoggingInstrumentor._original is not None:
            logging.Logger.callHandlers = LoggingInstrumentor._original  # type: ignore[method-assign, assignment]
            LoggingInstrumentor._original = None


def _correlate(record: logging.LogRecord) -> None:
    context = get_current_span().get_span_context()
    valid = context.is_valid
    record.otelTraceID = format_trace_id(context.trace_id) if valid else "0"
    record.otelSpanID = format_span_id(context.span_id) if valid else "0"
    record.otelTraceSampled = context.trace_flags.sampled


def _reaches_root(logger: logging.Logger) -> bool:
    """What an application keeps from its root logger (``propagate = False``) is kept from us."""
    current: logging.Logger | None = logger
    while current is not None and current.parent is not None:
        if not current.propagate:
            return False
        current = current.parent
    return True


def _true(variable: str, default: str) -> bool:
    return os.environ.get(variable, default).strip().lower() == "true"


def _level(variable: str, default: int) -> int:
    level = logging.getLevelName(os.environ.get(variable, "").strip().upper())
    return level if isinstance(level, int) else default
