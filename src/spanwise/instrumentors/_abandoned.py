"""What a finalizer leaves to be done where that is safe.

A finalizer runs on top of any code, which may hold the lock that the work in question needs: a span
processor's, an instrument's. What ends there is noted here, and ended with the next call or at exit.
"""

from __future__ import annotations

import atexit
from collections import deque
from collections.abc import Callable
from typing import Final

from spanwise.forks import after_any_fork
from spanwise.log import Log

__all__ = ["end_abandoned", "end_at_exit", "later", "waiting"]

_LOG = Log(__name__)

#: Empty as a rule, and cheap to ask.
waiting: Final[deque[Callable[[], object]]] = deque()

later = waiting.append
"""Takes what is to be called. Safe within any lock: it has none."""


def end_abandoned() -> None:
    """Ends the calls that were dropped without an outcome; cheap when there are none. Never raises.

    Runs by itself with the next call, at exit and at SIGTERM.
    """
    while waiting:
        try:
            end = waiting.popleft()
        except IndexError:  # another thread was faster
            return
        try:
            end()
        except Exception:
            _LOG.debug("an abandoned call could not be ended", exc_info=True)


def end_at_exit() -> None:
    """Has them ended before all that was registered for the exit so far: the last delivery above all."""
    atexit.unregister(end_abandoned)
    atexit.register(end_abandoned)


# The parent ends what it dropped: with a child that did so too, a span would be there twice.
after_any_fork(waiting.clear)
