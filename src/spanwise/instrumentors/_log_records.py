"""Records of Python's logging become OpenTelemetry's, and nothing of that reaches the application.

contrib's handler does the same; its import costs every start 37 ms, a value that cannot be shown costs the
whole record, and a record that is logged meanwhile is skipped with a line on stderr. What a record says is
compared with it, attribute by attribute, in tests/unit/instrumentors/test_log_records.py. Nothing of
OpenTelemetry's logs is imported before the first record.
"""

from __future__ import annotations

import sys
import threading
from collections import deque
from collections.abc import Sequence
from contextvars import ContextVar
from time import time_ns
from typing import Any, Final

from opentelemetry.context import Context
from opentelemetry.trace import INVALID_SPAN

from spanwise import names
from spanwise.context import SPAN_KEY, get_context
from spanwise.encode.attributes import UNENCODABLE
from spanwise.encode.plain import plain_attributes, readable
from spanwise.instrumentors._first_record import TRACE_ID
from spanwise.log import Log

__all__ = ["CORRELATION_FIELDS", "RecordExport"]

_logger = Log("spanwise.instrumentors.logging")

CORRELATION_FIELDS: Final = (TRACE_ID, "otelSpanID", "otelTraceSampled", "otelServiceName")
"""What contrib puts on a record for formats. Never exported: the record's own fields say it."""

# https://docs.python.org/3/library/logging.html#logrecord-attributes; all others are the application's.
_FIELDS: Final = frozenset(
    (
        *("args", "asctime", "created", "exc_info", "exc_text", "filename", "funcName", "getMessage"),
        *("levelname", "levelno", "lineno", "message", "module", "msecs", "msg", "name", "pathname"),
        *("process", "processName", "relativeCreated", "stack_info", "taskName", "thread", "threadName"),
        *CORRELATION_FIELDS,
    )
)

# The data model's names: https://opentelemetry.io/docs/specs/otel/logs/data-model/#displaying-severity
_SEVERITY_TEXTS: Final = {"WARNING": "WARN", "CRITICAL": "FATAL"}
_HIGHEST_SEVERITY: Final = 24

# Warnings that logs cannot be delivered are not themselves log records to be delivered.
_DELIVERY: Final = "spanwise.deliver"

_MOST_LATER: Final = 256  # records of one thread that wait for another one of it
_MOST_LOGGERS: Final = 10_000  # by name; makeLogRecord takes any
_ATTRIBUTES: Final = 128  # of one record, by default
_MOST_SAID: Final = 200  # characters of what a bad argument raised

# How many records deep this code is in the export of one: what an exporter logs is exported, what comes of
# that is not.
_depth: ContextVar[int] = ContextVar("spanwise-log-depth", default=0)
_DEEPEST: Final = 2


_NO_SPAN: Final = Context({SPAN_KEY: INVALID_SPAN})


class _OfThread(threading.local):
    later: deque[tuple[Any, Any, int]] | None = None  # None: no record is under way


class RecordExport:
    """Hands records to a logger provider. It never raises, and never calls itself.

    A record may be logged while another one is under way on its thread: by a signal handler, a finalizer, the
    ``__str__`` of a value, a processor of the application's. It waits until that one is done, as the locks on
    the way are not reentrant.

    Args:
        provider: None: the global one at the first record.
        level: the least number that is exported.
        code_attributes: whether attributes tell file, function and line.
    """

    def __init__(self, provider: Any = None, level: int = 0, *, code_attributes: bool = False) -> None:
        self._provider = provider
        self._level = level
        self._code_attributes = code_attributes
        self._loggers: dict[str, Any] = {}
        self._thread = _OfThread()
        self._limits: tuple[int | None, int | None] | None = None

    def take(self, record: Any) -> None:
        """Exports a record, of any logger, however it was made."""
        try:
            if record.levelno < self._level or record.name.startswith(_DELIVERY):
                return
        except Exception:  # a number or a name that is none: still a record
            pass
        try:
            self._take(record, get_context(), _depth.get() + 1)
        except Exception as error:
            _logger.seldom("exporting a log record failed: %s: %s", type(error).__name__, error)

    def _take(self, record: Any, context: Any, depth: int) -> None:
        thread = self._thread
        if thread.later is not None:
            if depth <= _DEEPEST and len(thread.later) < _MOST_LATER:
                thread.later.append((record, context, depth))
            return
        later = thread.later = deque()
        try:
            self._emit(record, context, depth)
            while later:
                self._emit(*later.popleft())
        finally:
            thread.later = None
        for each in later:  # logged by a signal handler just now
            self._take(*each)

    def _emit(self, record: Any, context: Any, depth: int) -> None:
        token = _depth.set(depth)
        try:
            logger = self._logger(record)
            if logger is not None:
                # Of an empty one OpenTelemetry would take the current one instead.
                self._hand_on(logger, *self._translated(record, context or _NO_SPAN))
        except Exception as error:
            _logger.seldom("exporting a log record failed: %s: %s", type(error).__name__, error)
        finally:
            _depth.reset(token)

    def _logger(self, record: Any) -> Any:
        """OpenTelemetry's logger of that name; None where it records nothing."""
        name = _field(record, "name", "")
        name = name if isinstance(name, str) else readable(name)
        try:
            return self._loggers[name]
        except KeyError:
            from opentelemetry._logs import NoOpLogger, get_logger

            found: Any = get_logger(name, logger_provider=self._provider)
            if len(self._loggers) >= _MOST_LOGGERS:
                self._loggers.clear()
            if isinstance(found, NoOpLogger):
                found = None
            self._loggers[name] = found
            return found

    def _translated(self, record: Any, context: Any) -> tuple[Any, int]:
        """The record, and how many of its attributes were left out."""
        from opentelemetry._logs import LogRecord

        attributes, dropped = self._attributes(record)
        # otel.event.name is the stable name of the deprecated event.name.
        deprecated = attributes.pop(names.EVENT_NAME, None)
        event = attributes.pop(names.OTEL_EVENT_NAME, None)
        event = deprecated if event is None else event
        level_name = _field(record, "levelname", None)
        text = level_name if level_name is None or isinstance(level_name, str) else readable(level_name)
        return (
            LogRecord(
                timestamp=_nanoseconds(record),
                observed_timestamp=time_ns(),
                context=context,
                severity_text=None if text is None else _SEVERITY_TEXTS.get(text, text),
                severity_number=_severity(_field(record, "levelno", 0)),
                body=_body(record),
                attributes=attributes,
                event_name=event if event is None or isinstance(event, str) else readable(event),
            ),
            dropped,
        )

    def _attributes(self, record: Any) -> tuple[dict[str, Any], int]:
        most, longest = self._limits_of_records()
        extras = [
            (key, value)
            for key, value in list(_field(record, "__dict__", {}).items())
            if type(key) is not str or key not in _FIELDS
        ]
        told: list[tuple[Any, Any]] = [*_of_code(record)] if self._code_attributes else []
        told += _of_exception(record)
        dropped = 0
        if most is not None and len(extras) + len(told) > most:
            # The last ones are kept, as the SDK does, without a warning for each.
            dropped = len(extras) + len(told) - most
            extras = extras[dropped:]
            _logger.seldom("a log record has more than %d attributes: %d are left out", most, dropped)
        return plain_attributes((*extras, *told), longest), dropped

    def _limits_of_records(self) -> tuple[int | None, int | None]:
        """Attributes of a record, and characters of a value; None: any number."""
        if self._limits is None:
            try:
                from opentelemetry.sdk._logs import LogRecordLimits

                limits = LogRecordLimits()
                self._limits = limits.max_log_record_attributes, limits.max_log_record_attribute_length
            except Exception:  # a variable that is no number, which start-up says
                self._limits = _ATTRIBUTES, None
        return self._limits

    @staticmethod
    def _hand_on(logger: Any, record: Any, dropped: int) -> None:
        sdk: Any = sys.modules.get("opentelemetry.sdk._logs") if dropped else None
        if sdk is None or not isinstance(logger, sdk.Logger):
            logger.emit(record)
            return
        whole = sdk.ReadWriteLogRecord(record, logger.resource, logger.instrumentation_scope)
        whole.log_record.attributes.dropped += dropped
        logger.emit(whole)


def _field(record: Any, name: str, default: Any) -> Any:
    try:
        return getattr(record, name, default)
    except Exception:  # a property of a class of the application's
        return default


def _severity(level: Any) -> Any:
    """Python's 10, 20, ... 50 are the first of the five groups of four: DEBUG, INFO, WARN, ERROR, FATAL."""
    from opentelemetry._logs import SeverityNumber

    if not isinstance(level, int) or level < 10:
        return SeverityNumber.UNSPECIFIED
    return SeverityNumber(min(level // 10 * 4 + 1 + min(level % 10, 3), _HIGHEST_SEVERITY))


def _nanoseconds(record: Any) -> int:
    try:
        return max(int(record.created * 1e9), 0)
    except Exception:
        return time_ns()


def _body(record: Any) -> str:
    try:
        message = record.getMessage()
        return message if isinstance(message, str) else readable(message)
    except Exception as error:
        message = readable(_field(record, "msg", ""))
        said = readable(error)[:_MOST_SAID]
        why = f"{type(error).__name__}: {said}" if said else type(error).__name__
        return f"{message} <arguments that do not fit ({why})>"


def _of_code(record: Any) -> Sequence[tuple[str, Any]]:
    return (
        (names.CODE_FILE_PATH, _field(record, "pathname", None)),
        (names.CODE_FUNCTION_NAME, _field(record, "funcName", None)),
        (names.CODE_LINE_NUMBER, _field(record, "lineno", None)),
    )


def _of_exception(record: Any) -> Sequence[tuple[str, Any]]:
    """What the record's exception says, no otherwise than spans tell it."""
    given = _field(record, "exc_info", None)
    if not given:
        return ()
    if isinstance(given, BaseException):
        given = (type(given), given, given.__traceback__)
    if not isinstance(given, tuple) or len(given) != 3:
        return ()
    kind, error, trace = given
    told: list[tuple[str, Any]] = []
    if kind is not None:
        told.append((names.EXCEPTION_TYPE, getattr(kind, "__name__", None) or readable(kind)))
    try:
        safe = _redacted(error) if isinstance(error, BaseException) else None
        if safe is not None:
            told.append((names.EXCEPTION_MESSAGE, safe.message))
            told.append((names.EXCEPTION_STACKTRACE, safe.stacktrace))
            return told
    except Exception:  # whether it holds a secret is not known
        return told
    if error is not None and _field(error, "args", ()):
        told.append((names.EXCEPTION_MESSAGE, readable(error.args[0])))
    if trace is not None:
        told.append((names.EXCEPTION_STACKTRACE, _stacktrace(kind, error, trace)))
    return told


def _stacktrace(kind: Any, error: Any, trace: Any) -> str:
    import traceback

    try:
        return "".join(traceback.format_exception(kind, error, trace))
    except Exception:
        return UNENCODABLE


def _redacted(error: BaseException) -> Any:
    from spanwise.privacy.exceptions import redacted  # most processes that start see no exception

    return redacted(error)
