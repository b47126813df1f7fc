"""Slow statements: every one is counted, some are logged."""

from __future__ import annotations

from collections.abc import Mapping
from time import monotonic
from typing import Final

from opentelemetry.metrics import Counter
from opentelemetry.trace import Span
from opentelemetry.util.types import AttributeValue

from spanwise.log import Log

__all__ = ["LINES", "WINDOW", "SlowStatements"]

_logger = Log("spanwise.instrumentors.slow_statements")

WINDOW: Final = 60.0
"""Seconds in which a statement is logged once at most."""
LINES: Final = 10
"""Statements that are logged within a window at most. Where a database is slow as a whole, each statement is:
without a limit the log would cost more than the statements, and hide what else is in it."""


class SlowStatements:
    """Counts and logs those of one instrumentor.

    Args:
        counter: of all that are slow.
        limit: seconds beyond which a statement is.
    """

    def __init__(self, counter: Counter, limit: float) -> None:
        self.limit = limit
        self._counter = counter
        self._until = 0.0
        self._logged: set[str] = set()
        self._left_out = 0

    def tell(self, seconds: float, text: str, labels: Mapping[str, AttributeValue], span: Span) -> None:
        """Takes note of one.

        Args:
            seconds: how long it took.
            text: the statement without its literals.
            labels: of the counter.
            span: of the statement; the line names its trace.
        """
        self._counter.add(1, labels)
        now = monotonic()
        if now >= self._until:
            self._until = now + WINDOW
            self._logged.clear()
        if text in self._logged or len(self._logged) >= LINES:
            self._left_out += 1
            return
        # First: a handler of the application may write to the database, and be slow at that.
        self._logged.add(text)
        left_out, self._left_out = self._left_out, 0
        _logger.warning(
            "slow statement: %.3f s (limit %g s), trace %032x: %s%s",
            seconds,
            self.limit,
            span.get_span_context().trace_id,
            text,
            f" [{left_out} slow ones before were counted and not logged]" if left_out else "",
        )
