"""Standard-library logging: records are exported with their trace, and carry its ids.

contrib's instrumentor puts a handler on the root logger. With it there, ``logging.basicConfig()``
and Python's handler of last resort do nothing, so an application's warnings vanish from its
terminal. This one hooks in before the handlers instead and leaves them alone.
"""

from __future__ import annotations

import functools
import logging
import os
from collections.abc import Callable
from typing import Any, Final

from opentelemetry.trace import format_span_id, format_trace_id, get_tracer_provider

from spanwise import names
from spanwise.context import SPAN_KEY, get_context
from spanwise.instrumentors._base import Instrumentor
from spanwise.instrumentors._log_records import CORRELATION_FIELDS, RecordExport
from spanwise.log import Log

__all__ = ["LoggingInstrumentor"]

_logger = Log("spanwise.instrumentors.logging")

# contrib's variables: https://opentelemetry-python-contrib.readthedocs.io/en/latest/instrumentation/logging/
# Written out: importing them imports all of contrib's instrumentor, 10 ms of a start without logs. So is its
# default format, below.
_LOG: Final = "OTEL_PYTHON_LOG_"

_FORMAT: Final = (
    "%(asctime)s %(levelname)s [%(name)s] [%(filename)s:%(lineno)d] [trace_id=%(otelTraceID)s "
    "span_id=%(otelSpanID)s resource.service.name=%(otelServiceName)s trace_sampled=%(otelTraceSampled)s] "
    "- %(message)s"
)

_Hook = Callable[[Any, logging.LogRecord], None]


class LoggingInstrumentor(Instrumentor):
    """Exports what is logged and puts the trace's ids on every record.

    The record attributes are contrib's (``otelTraceID``, ``otelSpanID``, ``otelTraceSampled``,
    ``otelServiceName``), for use in a format of the application's own; ``OTEL_PYTHON_LOG_CORRELATION=true``
    sets such a format. The options are contrib's too: ``set_logging_format``, ``logging_format``,
    ``log_level``, ``log_hook``, ``log_handler_level``, ``log_code_attributes`` and
    ``enable_log_auto_instrumentation``.
    """

    _replaced: tuple[_Replaced, ...] = ()
    _take: Callable[[logging.LogRecord], None] | None = None

    def take(self, record: logging.LogRecord) -> None:
        """Does with a record that came before this was switched on what is done with all."""
        if self._on and self._take is not None:
            self._take(record)

    def _instrument(self, **kwargs: Any) -> None:
        correlation = _Correlation(kwargs.get("tracer_provider"), kwargs.get("log_hook"))
        export: RecordExport | None = None
        if kwargs.get("enable_log_auto_instrumentation", _true("AUTO_INSTRUMENTATION", "true")):
            level = kwargs.get("log_handler_level")
            export = RecordExport(
                kwargs.get("logger_provider"),
                _level("HANDLER_LEVEL", logging.NOTSET) if level is None else level,
                code_attributes=kwargs.get("log_code_attributes", _true("CODE_ATTRIBUTES", "false")),
            )
        self._replace(correlation, export)
        # Once records have what it shows.
        if kwargs.get("set_logging_format", _true("CORRELATION", "false")):
            _set_format(
                kwargs.get("logging_format") or os.environ.get(f"{_LOG}FORMAT") or _FORMAT,
                kwargs.get("log_level") or _level("LEVEL", logging.INFO),
            )

    def _replace(self, correlation: _Correlation, export: RecordExport | None) -> None:
        # Whatever makes a record, a factory of the application's or `makeLogRecord`, comes here.
        made = _Replaced(logging.LogRecord, "__init__")
        called = _Replaced(logging.Logger, "callHandlers")
        begin, call = made.before, called.before

        def take(record: logging.LogRecord) -> None:
            if CORRELATION_FIELDS[0] not in getattr(record, "__dict__", ()):  # made before
                correlation.put_on(record)
            if export is not None:
                export.take(record)

        self._take = take

        @functools.wraps(begin)
        def init(self: logging.LogRecord, *args: Any, **kwargs: Any) -> None:
            begin(self, *args, **kwargs)
            if made.on:
                correlation.put_on(self)

        @functools.wraps(call)
        def call_handlers(self: logging.Logger, record: logging.LogRecord) -> None:
            if called.on:
                take(record)
            call(self, record)

        LoggingInstrumentor._replaced = made, called
        made.by(init)
        called.by(call_handlers)

    def _uninstrument(self) -> None:
        for each in LoggingInstrumentor._replaced:
            each.restore()
        LoggingInstrumentor._replaced = ()


class _Replaced:
    """A method of a class of logging's. What others put on top of ours stays, and ours then does nothing."""

    def __init__(self, owner: type, name: str) -> None:
        self._owner, self._name = owner, name
        self.before: Any = getattr(owner, name)
        self._ours: Any = None
        self.on = False

    def by(self, ours: Any) -> None:
        self._ours, self.on = ours, True
        setattr(self._owner, self._name, ours)

    def restore(self) -> None:
        self.on = False
        if getattr(self._owner, self._name) is self._ours:
            setattr(self._owner, self._name, self.before)


class _Correlation:
    """Puts on a record what a format may show of its trace. Never raises."""

    def __init__(self, tracer_provider: Any, hook: _Hook | None) -> None:
        self._provider = tracer_provider
        self._hook = hook if callable(hook) else None
        self._service: str | None = None

    def put_on(self, record: logging.LogRecord) -> None:
        try:
            fields = record.__dict__
            fields["otelTraceID"] = fields["otelSpanID"] = "0"
            fields["otelTraceSampled"] = False
            fields["otelServiceName"] = self._service or self._service_name()
            span: Any = get_context().get(SPAN_KEY)
            if span is None:
                return
            context = span.get_span_context()
            if not context.is_valid:
                return
            fields["otelTraceID"] = format_trace_id(context.trace_id)
            fields["otelSpanID"] = format_span_id(context.span_id)
            fields["otelTraceSampled"] = context.trace_flags.sampled
            if self._hook is not None:
                self._hook(span, record)
        except Exception:
            pass  # to log about a failure to log would come back here

    def _service_name(self) -> str:
        resource = getattr(self._provider or get_tracer_provider(), "resource", None)
        if resource is None:  # not started yet
            return ""
        self._service = str(resource.attributes.get(names.SERVICE_NAME) or "")
        return self._service


class _LineKeptFormatter(logging.Formatter):
    """Where a record lacks a field of the format, its line has the default format: no line is lost."""

    _default = logging.Formatter(_FORMAT, defaults=dict.fromkeys(CORRELATION_FIELDS, "0"))

    def formatMessage(self, record: logging.LogRecord) -> str:
        try:
            return super().formatMessage(record)
        except (KeyError, TypeError, ValueError) as error:
            _logger.seldom(
                "%sFORMAT does not go with a record (%s: %s), which is printed in the default format",
                _LOG,
                type(error).__name__,
                error,
            )
            return self._default.formatMessage(record)

    def usesTime(self) -> bool:
        return True  # the default format shows it


def _set_format(wanted: str, level: int) -> None:
    """As contrib does: for an application that sets nothing up itself."""
    try:
        formatter = _LineKeptFormatter(wanted, defaults=dict.fromkeys(CORRELATION_FIELDS, "0"))
    except (TypeError, ValueError) as error:
        _logger.warning("%sFORMAT cannot be used, the default format is: %s", _LOG, error)
        formatter = _LineKeptFormatter(_FORMAT)
    handler = logging.StreamHandler()
    handler.setFormatter(formatter)
    logging.basicConfig(handlers=[handler], level=level)


def _true(name: str, default: str) -> bool:
    return os.environ.get(_LOG + name, default).strip().lower() == "true"


def _level(name: str, default: int) -> int:
    given = os.environ.get(_LOG + name, "").strip()
    level = logging.getLevelName(given.upper())
    if isinstance(level, int):
        return level
    if given:
        _logger.warning(
            "%s%s=%s is no level; it is %s. Levels: debug, info, warning, error",
            _LOG,
            name,
            given,
            logging.getLevelName(default),
        )
    return default
