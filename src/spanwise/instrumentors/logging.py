"""Standard-library logging: records are exported with their trace, and carry its ids.

contrib's instrumentor puts a handler on the root logger. With it there, ``logging.basicConfig()``
and Python's handler of last resort do nothing, so an application's warnings vanish from its
terminal. This one hooks in before the handlers instead and leaves them alone; the translation of a
record is contrib's.
"""

from __future__ import annotations

import copy
import logging
import os
from collections.abc import Callable
from typing import Any

from opentelemetry.trace import format_span_id, format_trace_id, get_current_span

from spanwise import names
from spanwise.instrumentors._base import Instrumentor
from spanwise.privacy.exceptions import redacted

__all__ = ["LoggingInstrumentor"]

# contrib's variables: https://opentelemetry-python-contrib.readthedocs.io/en/latest/instrumentation/logging/
# Written out: importing them imports all of contrib's instrumentor, 10 ms of a start without logs.
_LOG = "OTEL_PYTHON_LOG_"

# A warning that logs cannot be delivered is not itself a log record to be delivered.
_DELIVERY = "spanwise.deliver"

_CallHandlers = Callable[[logging.Logger, logging.LogRecord], None]


class LoggingInstrumentor(Instrumentor):
    """Exports what reaches the root logger and puts the trace's ids on every record.

    The record attributes are contrib's (``otelTraceID``, ``otelSpanID``, ``otelTraceSampled``), for
    use in a format of the application's own; ``OTEL_PYTHON_LOG_CORRELATION=true`` sets such a format.
    """

    _original: _CallHandlers | None = None

    def _instrument(self, **kwargs: Any) -> None:
        if _true("CORRELATION", "false"):
            from opentelemetry.instrumentation.logging.constants import DEFAULT_LOGGING_FORMAT

            logging.basicConfig(
                format=os.environ.get(f"{_LOG}FORMAT") or DEFAULT_LOGGING_FORMAT,
                level=_level("LEVEL", logging.INFO),
            )
        handler: logging.Handler | None = None
        if kwargs.get("enable_log_auto_instrumentation", _true("AUTO_INSTRUMENTATION", "true")):
            from opentelemetry.instrumentation.logging.handler import LoggingHandler

            handler = LoggingHandler(
                level=_level("HANDLER_LEVEL", logging.NOTSET),
                logger_provider=kwargs.get("logger_provider"),
                log_code_attributes=_true("CODE_ATTRIBUTES", "false"),
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
                    handler.handle(_told(record))
            except Exception:
                pass  # logging about a failure to log would come back here
            original(self, record)

        logging.Logger.callHandlers = call_handlers  # type: ignore[method-assign]

    def _uninstrument(self) -> None:
        if LoggingInstrumentor._original is not None:
            logging.Logger.callHandlers = LoggingInstrumentor._original  # type: ignore[method-assign, assignment]
            LoggingInstrumentor._original = None


def _correlate(record: logging.LogRecord) -> None:
    context = get_current_span().get_span_context()
    valid = context.is_valid
    record.otelTraceID = format_trace_id(context.trace_id) if valid else "0"
    record.otelSpanID = format_span_id(context.span_id) if valid else "0"
    record.otelTraceSampled = context.trace_flags.sampled


def _told(record: logging.LogRecord) -> logging.LogRecord:
    """The record as it is exported: its exception is told no otherwise than spans tell it."""
    error = record.exc_info[1] if record.exc_info else None
    safe = None if error is None else redacted(error)
    if error is None or safe is None:
        return record
    shown = copy.copy(record)
    shown.exc_info = shown.exc_text = None
    # What is no field of every record becomes an attribute.
    vars(shown)[names.EXCEPTION_TYPE] = type(error).__name__
    vars(shown)[names.EXCEPTION_MESSAGE] = safe.message
    vars(shown)[names.EXCEPTION_STACKTRACE] = safe.stacktrace
    return shown


def _reaches_root(logger: logging.Logger) -> bool:
    """What an application keeps from its root logger (``propagate = False``) is kept from us."""
    current: logging.Logger | None = logger
    while current is not None and current.parent is not None:
        if not current.propagate:
            return False
        current = current.parent
    return True


def _true(name: str, default: str) -> bool:
    return os.environ.get(_LOG + name, default).strip().lower() == "true"


def _level(name: str, default: int) -> int:
    level = logging.getLevelName(os.environ.get(_LOG + name, "").strip().upper())
    return level if isinstance(level, int) else default
