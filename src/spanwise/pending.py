"""The deferred start of telemetry: prepared at the launch, run by whatever needs it first. A leaf.

Importing and making what telemetry needs takes as long as importing Flask. Many processes never need it:
commands, supervisors, children that only compute. So a launch only prepares it. It starts with the first
span, log record or measurement, when OpenTelemetry's API is imported, or on a thread of ours some seconds
after the launch. The application sees no difference: it gets the real providers from the API in any case.
"""

from __future__ import annotations

import sys
from _thread import RLock, get_ident

from spanwise.forks import after_any_fork, around_fork

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["launch", "now", "then", "waits"]

# Seconds that others wait for a start that is under way. It takes a tenth of one; but it imports, and two
# threads that import may wait for each other, which nobody would ever end.
_LONGEST = 5.0
# Seconds that a fork waits for a start that imports nothing meanwhile, and how many times. On a busy machine
# a start takes some; a child that is forked in the middle of it waits for ever for what is half imported.
_SPELL, _MOST_SPELLS = 10.0, 6

# Modules that take a lock of theirs before each fork and release it after, and its name.
_LOCKS = {"concurrent.futures.thread": "_global_shutdown_lock", "logging": "_lock"}

_start: Callable[[], bool | None] | None = None
_followers: list[Callable[[], None]] = []
_starter = 0  # the thread that starts telemetry; 0: none does
_greenlet: object = None  # and the greenlet
_lock = RLock()


def launch(start: Callable[[], bool | None]) -> None:
    """Registers the start, which the first :func:`now` runs; the next one again, if it returned False.

    It must not raise.
    """
    global _start
    _start = start


def waits() -> bool:
    """Whether telemetry is prepared, and has not started or is only starting."""
    return _start is not None or _starter != 0


def then(follower: Callable[[], None]) -> None:
    """Calls a function once telemetry has started: at once, unless that is pending. It must not raise."""
    _followers.append(follower)
    if not waits():  # by now: who started it may have looked before
        _follow()


def now() -> None:
    """Starts telemetry if it waits, and returns when it has started. Never raises; quick where it has."""
    global _start, _starter, _greenlet
    if not waits():
        return
    greenlet = _current_greenlet()
    if _starter == get_ident() and _greenlet is greenlet:
        return
    lock = _lock  # a child that is forked within has another
    if not lock.acquire(timeout=_LONGEST):
        return
    try:
        start = _start
        if start is None:
            if _starter:  # the lock is this thread's, on which another greenlet starts it
                _wait_by_turns()
            return
        _greenlet = greenlet
        _starter = get_ident()
        _start = None
        try:
            if start() is False:
                _start = start
            else:
                _follow()
        finally:
            _starter, _greenlet = 0, None
        if _start is None:
            _follow()  # who came meanwhile
    finally:
        lock.release()


def _current_greenlet() -> object:
    greenlet = sys.modules.get("greenlet")
    return None if greenlet is None else greenlet.getcurrent()


def _wait_by_turns() -> None:
    """Waits for a start by another greenlet of this thread, where sleeping lets that one go on."""
    import time

    if isinstance(time.sleep, type(len)):  # gevent and eventlet have it replaced by a function
        return
    until = time.monotonic() + _LONGEST
    while _starter and time.monotonic() < until:
        time.sleep(0.01)


def _follow() -> None:
    while _followers:
        try:
            follower = _followers.pop(0)
        except IndexError:  # another thread was quicker
            return
        follower()


def _before_fork() -> None:
    """Waits for a start on another thread: a child that is forked in the middle of it could never finish it,
    and whoever imports what is half imported there waits for ever."""
    missing = [module for module in _LOCKS if module not in sys.modules]
    for _ in range(_MOST_SPELLS):
        imported = len(sys.modules)
        if _lock.acquire(timeout=_SPELL) or len(sys.modules) == imported:
            break
    # Those that were imported while this fork waited would only release it, with a traceback on stderr.
    for module in missing:
        lock = getattr(sys.modules.get(module), _LOCKS[module], None)
        if lock is not None:
            lock.acquire(False)


def _after_fork_in_parent() -> None:
    try:
        _lock.release()
    except RuntimeError:  # the wait was over before the start was
        return


def _after_fork() -> None:
    """In a child whose fork could not wait: the parent's start never ends here."""
    global _lock, _starter
    if _starter and _starter != get_ident():
        _starter = 0
        _followers.clear()
    _lock = RLock()


after_any_fork(_after_fork)
around_fork(_before_fork, _after_fork_in_parent)
