"""Ctrl-C ends a process by the signal, as without us: during start-up, and during our work at the exit."""

from __future__ import annotations

import _signal as signal  # type: ignore[import-not-found]  # `signal` itself takes the launcher's start 4 ms
import sys

__all__ = ["deadly", "keep_status"]


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
        if self._depth == 0 and self._changed:
            self._changed = False
            if signal.getsignal(signal.SIGINT) == signal.SIG_DFL:
                _set(signal.default_int_handler)


def _set(handler: object) -> bool:
    try:
        signal.signal(signal.SIGINT, handler)
    except ValueError:  # not on the main thread of the main interpreter
        return False
    return True


deadly = _Deadly()


def keep_status() -> None:
    """Restores the exit status of an unhandled Ctrl-C. To be called at the exit, after all else.

    The interpreter keeps a flag that a KeyboardInterrupt ended the program, and ends itself by SIGINT for it.
    Any source text that is run at the exit (by a dataclass or a named tuple of a module imported then) clears
    the flag, and the status becomes 1. Code that ends by that exception sets it again.
    """
    trace = getattr(sys, "last_traceback", None)
    if getattr(sys, "last_type", None) is not KeyboardInterrupt or trace is None or hasattr(sys, "ps1"):
        return
    frame, main = trace.tb_frame, sys.modules.get("__main__")
    # Printed for the whole program, not by a console that it has inside: `python FILE`, `-c`, and `-m`.
    if frame.f_globals is getattr(main, "__dict__", None) or frame.f_code.co_name == "_run_module_as_main":
        try:
            exec("raise KeyboardInterrupt")
        except KeyboardInterrupt:
            return
