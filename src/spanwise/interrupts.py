"""Ctrl-C while a process starts: it ends by the signal, as a program of Python does, not with status 1."""

from __future__ import annotations

import signal

__all__ = ["deadly"]


class _Deadly:
    """A block of code in which SIGINT ends the process at once, where it would raise KeyboardInterrupt.

    The site module runs us before the application's first line; an exception that leaves it is "Fatal Python
    error" and status 1. An ignored SIGINT, and a handler of somebody else's, are left alone.
    """

    _depth = 0
    _changed = False

    def __enter__(self) -> None:
        self._depth += 1
        if self._depth == 1 and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            self._changed = _set(signal.SIG_DFL)

    def __exit__(self, *_: object) -> None:
        self._depth -= 1
        if self._depth == 0 and self._changed and signal.getsignal(signal.SIGINT) == signal.SIG_DFL:
            self._changed = False
            _set(signal.default_int_handler)


def _set(handler: signal.Handlers | object) -> bool:
    try:
        signal.signal(signal.SIGINT, handler)  # type: ignore[arg-type]
    except ValueError:  # not on the main thread of the main interpreter
        return False
    return True


deadly = _Deadly()
