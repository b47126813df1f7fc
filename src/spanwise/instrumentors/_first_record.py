"""Watches for the first log record of a process whose telemetry waits until it is needed.

Replaces one method of logging's, as the instrumentor of logging does, and makes room for that one.
"""

from __future__ import annotations

import functools
import logging
from contextvars import copy_context
from functools import partial
from typing import Any, Final

from spanwise import pending

__all__ = ["TRACE_ID", "watch"]

TRACE_ID: Final = "otelTraceID"
"""contrib's name of the trace's id on a record. The instrumentor puts it on each one that it sees."""


def watch() -> None:
    """Has telemetry start with the first record that a logger hands to its handlers, and export that too."""
    original = logging.Logger.callHandlers

    @functools.wraps(original)
    def call_handlers(self: logging.Logger, record: logging.LogRecord) -> None:
        # Also what came here while the instrumentor took this method's place: it has marked all others.
        if pending.waits() or TRACE_ID not in getattr(record, "__dict__", ()):
            _first(record)
        original(self, record)

    def restore() -> None:
        # Where another put its own on top, ours stays below it, and asks in vain.
        if logging.Logger.callHandlers is call_handlers:
            logging.Logger.callHandlers = original  # type: ignore[method-assign]

    logging.Logger.callHandlers = call_handlers  # type: ignore[method-assign]
    pending.then(restore)


def _first(record: Any) -> None:
    pending.now()
    try:
        if pending.waits():  # on another thread, or in this very call
            pending.then(partial(copy_context().run, _take, record))
        else:
            _take(record)
    except Exception:
        pass  # to log about a failure to log would come back here


def _take(record: Any) -> None:
    try:
        from spanwise.instrumentors.logging import LoggingInstrumentor

        LoggingInstrumentor().take(record)
    except Exception:
        pass  # as above
