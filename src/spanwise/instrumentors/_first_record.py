"""Watches for the first log record of a process whose telemetry waits until it is needed.

Replaces one method of logging's, as the instrumentor of logging does, and makes room for that one.
"""

from __future__ import annotations

import functools
import logging
from typing import Any

from spanwise import pending

__all__ = ["watch"]


def watch() -> None:
    """Has telemetry start with the first record that a logger hands to its handlers, and export that too."""
    original = logging.Logger.callHandlers

    @functools.wraps(original)
    def call_handlers(self: logging.Logger, record: logging.LogRecord) -> None:
        if pending.waits():
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
        from spanwise.instrumentors.logging import LoggingInstrumentor

        LoggingInstrumentor().take(record)
    except Exception:
        pass  # to log about a failure to log would come back here
