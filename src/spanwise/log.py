"""The one way in which spanwise logs: no exception of the application's logging reaches the caller.

The application owns the handlers, filters and formatters that a message passes. One that raises (a filter
that reads ``flask.request`` outside of a request, say) would end one of our threads, or its exception would
come out of a call of ours into the application. A leaf that imports next to nothing: every start passes here.
"""

from __future__ import annotations

import sys
import time
from _thread import get_ident

from spanwise.errors import ThresholdsErrors
from spanwise.shown import printable

TYPE_CHECKING = False  # typing itself takes a start-up longer than all else here
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

__all__ = ["DEBUG", "ERROR", "INFO", "LONGEST", "WARNING", "Log", "must_pass", "own_threads"]

LONGEST = 1_000
"""Characters of one value in a message. A server's own text may be megabytes."""

own_threads: dict[int, str] = {}
"""The name of each running thread of ours by its identity, as :func:`_thread.get_ident` gives it."""

DEBUG, INFO, WARNING, ERROR = 10, 20, 30, 40  # logging's own numbers, without its import
_REST = 60.0  # seconds between two messages of `seldom` with the same text
_MOST_SELDOM = 200  # texts that are remembered; more are one flood with many faces

_handler_failed = False


class Log:
    """Logs under one name. None of its methods raises.

    Text among the arguments is escaped and cut to :data:`LONGEST`, since most of it is somebody else's: a
    server's answer with a newline in it would look like a line of the application's own.

    Args:
        name: the logger's name, which begins with ``spanwise``.
    """

    __slots__ = ("_clock", "_last", "_logger", "_name")

    def __init__(self, name: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._name = name
        self._clock = clock
        self._logger: Any = None
        # By message: when it may be logged again, and how many were left out since.
        self._last: dict[str, tuple[float, int]] = {}

    def debug(self, message: str, *arguments: object, exc_info: Any = None) -> None:
        """Details for debugging."""
        self._emit(DEBUG, message, arguments, exc_info)

    def warning(self, message: str, *arguments: object, exc_info: Any = None) -> None:
        """A loss of some telemetry, and what to do about it."""
        self._emit(WARNING, message, arguments, exc_info)

    def error(self, message: str, *arguments: object, exc_info: Any = None) -> None:
        """A loss of all telemetry of one kind."""
        self._emit(ERROR, message, arguments, exc_info)

    def exception(self, message: str, *arguments: object) -> None:
        """A fault of ours, with the traceback of what is being handled."""
        self._emit(ERROR, message, arguments, True)

    def log(self, level: int, message: str, *arguments: object, exc_info: Any = None) -> None:
        """The same with a level of :mod:`logging`."""
        self._emit(level, message, arguments, exc_info)

    def seldom(self, message: str, *arguments: object, exc_info: Any = None, level: int = WARNING) -> None:
        """A warning, at most once a minute for each message, with the number of those left out since."""
        now = self._clock()
        until, left_out = self._last.get(message, (now, 0))
        if now < until:
            self._last[message] = (until, left_out + 1)
            return
        if message not in self._last and len(self._last) >= _MOST_SELDOM:
            return
        self._last[message] = (now + _REST, 0)
        if left_out:
            message, arguments = message + " [%d more since the last such line]", (*arguments, left_out)
        self._emit(level, message, arguments, exc_info)

    def _emit(self, level: int, message: str, arguments: tuple[object, ...], exc_info: Any) -> None:
        try:
            logger = self._logger
            if logger is None:
                import logging

                logger = self._logger = logging.getLogger(self._name)
            if logger.isEnabledFor(level):
                arguments = tuple(map(_safe, arguments))
                if get_ident() in own_threads:
                    _name_thread()
                # 3: a formatter names the line that called `warning`, not one of this file.
                logger.log(level, message, *arguments, exc_info=exc_info, stacklevel=3)
        except Exception as error:
            _print_instead(error, message, arguments)
        except BaseException as error:
            if must_pass(error):
                raise
            _print_instead(error, message, arguments)


def must_pass(error: BaseException) -> bool:
    """Whether foreign code's exception may pass: it may end the application's thread, but none of ours."""
    return not isinstance(error, Exception) and get_ident() not in own_threads


class _Shown:
    """What a formatter gets in place of a value that is no number: escaped, bounded, and never raising."""

    __slots__ = ("_repr", "_str")

    def __init__(self, value: object) -> None:
        self._str, self._repr = _shown(value, str), _shown(value, repr)

    def __str__(self) -> str:
        return self._str

    def __repr__(self) -> str:
        return self._repr


def _safe(value: object) -> object:
    return value if value is None or isinstance(value, (int, float)) else _Shown(value)


def _shown(value: object, as_text: Callable[[object], str]) -> str:
    try:
        text = as_text(value)
        # An error of ours that holds several has a line for each.
        return "\n".join(map(_cut, text.split("\n") if isinstance(value, ThresholdsErrors) else [text]))
    except Exception:
        return f"<{type(value).__name__} that cannot be shown>"


def _cut(text: str) -> str:
    if len(text) <= LONGEST:
        return printable(text)
    return f"{printable(text[:LONGEST])}... [{len(text) - LONGEST} more characters]"


def _name_thread() -> None:
    """Has the line's ``threadName`` say which of ours it comes from: :mod:`threading` knows none."""
    import threading

    threading.current_thread().name = own_threads[get_ident()]


def _print_instead(error: BaseException, message: str, arguments: tuple[object, ...]) -> None:
    """The message on stderr instead; with the first, why."""
    global _handler_failed
    try:
        text = message % arguments if arguments else message
        if not _handler_failed:
            _handler_failed = True
            text += (
                f"\nspanwise: the line above is here because a logging handler, filter or formatter of the"
                f" application raised {_shown(error, repr)}; fix it to see such lines in the log"
            )
        print(f"spanwise: {text}", file=sys.stderr, flush=True)
    except BaseException as failure:  # stderr may be closed, or the application's own object
        if must_pass(failure):
            raise
