"""Fork, exit and SIGTERM: what happens to telemetry when a process splits or ends."""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable
from functools import partial
from types import FrameType

from spanwise.forks import after_any_fork, look, mark, noticed
from spanwise.interrupts import keep_status
from spanwise.threads import started_task

__all__ = ["Lifecycle"]


class Lifecycle:
    """Ties delivery to the life of the process.

    Args:
        after_fork: called in a forked child, before it does anything else.
        at_exit: delivers what waits; called once, at a normal exit or SIGTERM.
    """

    def __init__(self, after_fork: Callable[[], None], at_exit: Callable[[], None]) -> None:
        self._after_fork = after_fork
        self._at_exit = at_exit
        self._done = False

    def begin(self) -> None:
        """Registers the hooks of the process."""
        after_any_fork(self._in_child)
        look()
        atexit.register(self.end)
        self._take_sigterm()

    def end(self) -> None:
        """Delivers what waits. Only the first call does anything."""
        if not mark[0]:
            noticed()  # what waits is the parent's to deliver
        if not self._done:
            self._done = True
            atexit.unregister(self.end)
            # Ctrl-C meanwhile: whoever pressed it does not want to wait. The status stays what it was to be,
            # and no traceback tells of code that is not the application's.
            with contextlib.suppress(KeyboardInterrupt):
                self._at_exit()
            keep_status()

    def _in_child(self) -> None:
        self._after_fork()
        # A child of multiprocessing ends with os._exit, past atexit (before Python 3.13 in any case); its
        # own list of last things to do is emptied when it starts, and after that runs what is given here.
        util = sys.modules.get("multiprocessing.util")
        if util is not None:
            util.register_after_fork(self, Lifecycle._at_end_of_multiprocessing)

    def _at_end_of_multiprocessing(self) -> None:
        # Priority 0: after the application's own, which come first with higher ones.
        sys.modules["multiprocessing.util"].Finalize(None, self.end, exitpriority=0)

    def _take_sigterm(self) -> None:
        """Without a handler SIGTERM ends Python at once, with whatever is queued.

        A handler of the application's own is never touched: one set before ours stays, and one set
        later replaces ours.
        """
        if threading.current_thread() is not threading.main_thread():
            return  # only the main thread may set handlers
        if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
            signal.signal(signal.SIGTERM, self._on_sigterm)

    def _on_sigterm(self, number: int, _: FrameType | None) -> None:
        # Die of the signal, as without us: the exit status stays what the parent expects. A second
        # signal does so at once.
        signal.signal(number, signal.SIG_DFL)
        # Not here: the handler runs on top of whatever the main thread was doing, perhaps with a lock
        # that the delivery needs.
        dying = started_task(partial(self._end_and_die, number), "spanwise-sigterm")
        if dying is None:
            os.kill(os.getpid(), number)
        else:
            atexit.register(dying.join)  # the main thread may come to its end meanwhile

    def _end_and_die(self, number: int) -> None:
        try:
            self.end()
        finally:
            os.kill(os.getpid(), number)
