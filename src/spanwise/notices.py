"""Two adjustments of the log: a prefix for our warnings where the application configures no logging, and a
limit on what propagators log about request headers."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Iterable

from spanwise.shown import printable

__all__ = ["bound_propagators", "speak"]

_LOGGER = "spanwise"

# Those of the API, and of the packages of propagators that OpenTelemetry has: b3, jaeger, ot_trace, aws.
_PROPAGATORS = (
    "opentelemetry.baggage",
    "opentelemetry.baggage.propagation",
    "opentelemetry.trace.span",
    "opentelemetry.trace.propagation.tracecontext",
    "opentelemetry.propagators.b3",
    "opentelemetry.propagators.jaeger",
    "opentelemetry.propagators.ot_trace",
    "opentelemetry.propagators.aws.aws_xray_propagator",
)
_REST = 60.0  # seconds between two such lines
_LONGEST = 120  # characters of one
_LONGEST_ARGUMENT = 24


def speak() -> None:
    """Prefixes our warnings with ``spanwise:`` where only Python's last resort would print them."""
    logger = logging.getLogger(_LOGGER)
    if not any(isinstance(each, _LastResort) for each in logger.handlers):
        logger.addHandler(_LastResort())


class _LastResort(logging.Handler):
    """Python's handler of last resort prints the bare message: nobody could tell whose it is.

    As that one, it prints warnings and worse, and nothing as soon as there is any other handler.
    """

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.setFormatter(logging.Formatter("spanwise: %(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        logger: logging.Logger | None = logging.getLogger(record.name)
        while logger is not None:
            if any(handler is not self for handler in logger.handlers):
                return
            logger = logger.parent if logger.propagate else None
        try:
            print(self.format(record), file=sys.stderr, flush=True)
        except Exception:
            self.handleError(record)


def bound_propagators(more: Iterable[str] = ()) -> None:
    """Limits what propagators log, whoever calls them, to one short line a minute.

    They log the whole header that they cannot read, and anybody may send one: 60 KB of log a request.

    Args:
        more: names of other propagators' loggers.
    """
    for name in (*_PROPAGATORS, *more):
        logger = logging.getLogger(name)
        if not any(isinstance(each, _Seldom) for each in logger.filters):
            logger.addFilter(_seldom)


class _Seldom(logging.Filter):
    """Lets one warning a minute pass, cut and escaped."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._next = -_REST
        self._left_out = 0

    def filter(self, record: logging.LogRecord) -> bool:
        if record.levelno < logging.WARNING:
            return True
        now = self._clock()
        if now < self._next:
            self._left_out += 1
            return False
        self._next = now + _REST
        left_out, self._left_out = self._left_out, 0
        record.msg, record.args, record.exc_info = _short(record), None, None
        if left_out:
            record.msg += f" [{left_out} more since]"
        return True


_seldom = _Seldom()


def _short(record: logging.LogRecord) -> str:
    try:
        given = record.args if isinstance(record.args, tuple) else (record.args,)
        text = str(record.msg) % tuple(map(_cut, given)) if record.args else str(record.msg)
    except Exception:
        text = str(record.msg)
    # A character may be four bytes of log.
    text = printable(text[: _LONGEST + 1].encode("ascii", "backslashreplace").decode())
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."


def _cut(value: object) -> object:
    if isinstance(value, (int, float)):
        return value
    text = str(value)
    return text if len(text) <= _LONGEST_ARGUMENT else f"{text[:_LONGEST_ARGUMENT]}..."
