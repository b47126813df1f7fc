"""Hooks for forked children, however they were forked.

Python's own ``os.fork`` calls hooks in the child. A server written in C (uWSGI, a module of another one)
forks without them: the child has none of our threads then, and takes what it shares with its parent (waiting
spans, a file) for its own. So the paths on which something is recorded or delivered look at :data:`mark`,
which is 0 in a child whose hooks have not run yet, and call :func:`noticed`. A leaf: whoever keeps state of
the process registers here how a child renews it.
"""

from __future__ import annotations

import os
import random
import sys
import threading
import time

from spanwise.log import Log, own_threads
from spanwise.threads import Event, hold, release, started_task

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

__all__ = [
    "after_any_fork",
    "after_fork_in_c",
    "around_fork",
    "in_uwsgi",
    "look",
    "mark",
    "noticed",
    "wait_for_server",
]

_logger = Log("spanwise.forks")

LOADING = 5.0
"""Seconds between two looks at what uWSGI's master has recorded; the default delay of a span."""

_WIPE_ON_FORK = 18  # MADV_WIPEONFORK of Linux 4.14 and later; the module mmap does not name it


class _Turn:
    """One process's turn at doing what its fork asks for.

    Attributes:
        lock: reentrant, since a signal handler may record something on top of it.
        taken: whether it has begun.
    """

    def __init__(self, taken: bool = False) -> None:
        self.lock = threading.RLock()
        self.taken = taken


class _ByProcessId:
    """Tells the same as a page that a fork wipes, at ten times the cost: 0.2 µs."""

    def __init__(self) -> None:
        self._process = os.getpid()

    def __getitem__(self, _: int) -> int:
        return os.getpid() == self._process

    def __setitem__(self, _: int, __: int) -> None:
        self._process = os.getpid()


def _wiped_by_a_fork() -> Any:
    """A page that is all zeros in a child; else what asks for the process's id each time."""
    try:
        import mmap

        page = mmap.mmap(-1, mmap.PAGESIZE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        page.madvise(_WIPE_ON_FORK)
    except (ImportError, AttributeError, OSError, ValueError):
        return _ByProcessId()
    return page


mark: Any = _wiped_by_a_fork()
"""``mark[0]`` is 0 in a forked child until it has done what is to be done. It takes 0.02 µs to ask."""
mark[0] = 1

_turns: dict[int, _Turn] = {os.getpid(): _Turn(taken=True)}
_callbacks: list[Callable[[], object]] = []


def after_any_fork(callback: Callable[[], object]) -> None:
    """Calls a function once in each forked child, in the order of registration.

    Args:
        callback: renews what the child has from its parent. What it raises is logged.
    """

    def by_hook() -> None:
        _begun_by_hook()
        _guarded(callback)

    _callbacks.append(callback)
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=by_hook)


def after_fork_in_c(callback: Callable[[], object]) -> None:
    """The same for what ``os.fork`` sees to itself, as the SDK's own hooks: called where no hook was."""
    _callbacks.append(callback)


def around_fork(before: Callable[[], object], after_in_parent: Callable[[], object]) -> None:
    """Has functions called before a fork by Python and after it in the parent; a fork in C calls neither."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(before=before, after_in_parent=after_in_parent)


def noticed() -> None:
    """Runs in a child the hooks that the fork did not run. Called when :data:`mark` is 0; cheap when done.

    Another thread that calls it meanwhile waits: what it recorded would be lost with the parent's data.
    """
    process = os.getpid()
    for waiting in list(_waiting):
        if waiting.process == process:
            waiting.recorded()
            return
    turn = _turns.setdefault(process, _Turn())
    with turn.lock:
        if not turn.taken:
            turn.taken = True
            _forget_others(process)
            # As Python does after its own fork; else all children would draw the same ids.
            random.seed()
            for callback in list(_callbacks):
                _guarded(callback)
            mark[0] = 1


def wait_for_server(deliver: Callable[[], bool]) -> None:
    """Has our threads begin, in uWSGI, when its process begins to serve; elsewhere they begin at once.

    uWSGI's master forks its workers while our threads are busy with their beginning. A thread that runs
    Python at that moment holds the interpreter's lock for ever in the child: 8 of 12 starts with 6 workers
    had one that hung. So the master has one thread that sleeps, and wakes to deliver what was recorded while
    the application was loaded.

    Args:
        deliver: sends what waits, on the calling thread; tells whether nothing is left.
    """
    if in_uwsgi():
        hold()
        _waiting.append(_Waiting(deliver))
        mark[0] = 0


def look() -> None:
    """Called now and then where nothing is recorded: at the start, and when a known library was imported.

    uWSGI has a hook that it calls in each worker, in its own module, which does not exist yet when Python
    starts in it. Where something else takes the hook's place later, the paths above notice.
    """
    if not mark[0] and all(waiting.process != os.getpid() for waiting in _waiting):
        noticed()
    server = sys.modules.get("uwsgi")
    before = getattr(server, "post_fork_hook", None)
    if server is None or getattr(before, "of_spanwise", False):
        return

    def post_fork_hook() -> None:
        # On a thread: until this hook has returned, uWSGI cannot stop the worker.
        if not mark[0] and started_task(noticed, "spanwise-forked") is None:
            noticed()
        if before is not None:
            before()

    post_fork_hook.of_spanwise = True  # type: ignore[attr-defined]
    server.post_fork_hook = post_fork_hook  # type: ignore[attr-defined]


class _Waiting:
    """Waits for the server to serve.

    Attributes:
        process: the one that waits.
    """

    def __init__(self, deliver: Callable[[], bool]) -> None:
        self.process = os.getpid()
        self._deliver = deliver
        self._recorded = self._delivers = False
        self._asleep = Event()
        # A thread begins by running Python. That is over here, not when the application is loaded and the
        # server forks.
        if started_task(self._watch, "spanwise-loading") is not None:
            self._asleep.wait(1.0)

    def recorded(self) -> None:
        """Something was recorded, or the server's hook was called."""
        self._recorded = True
        if _serves() and not self._delivers:
            self._now()

    def _watch(self) -> None:
        self._asleep.set()
        # Not woken by what is recorded: that may be the last thing before the server forks.
        time.sleep(LOADING)
        while self in _waiting:
            if self._recorded:
                self._recorded, self._delivers = False, True
                try:
                    self._recorded |= not self._deliver()
                except Exception:
                    _logger.seldom("uWSGI's master could not deliver what it recorded", exc_info=True)
                self._delivers = False
            time.sleep(LOADING)

    def _now(self) -> None:
        try:
            _waiting.remove(self)
        except ValueError:
            return  # another thread was quicker
        mark[0] = 1
        release()


_waiting: list[_Waiting] = []


def in_uwsgi() -> bool:
    """Whether this is a process of uWSGI, which forks in C."""
    try:
        return os.path.basename(os.readlink("/proc/self/exe")).startswith("uwsgi")
    except OSError:
        return False


def _serves() -> bool:
    worker = getattr(sys.modules.get("uwsgi"), "worker_id", None)
    return worker is not None and worker() > 0


def _begun_by_hook() -> None:
    process = os.getpid()
    if process not in _turns:
        _turns[process] = _Turn(taken=True)
        _forget_others(process)
        mark[0] = 1


def _forget_others(process: int) -> None:
    # A descendant may get the id that an ancestor had, and a thread of its own that of one of ours.
    for other in [other for other in list(_turns) if other != process]:
        _turns.pop(other, None)
    own_threads.clear()


def _guarded(callback: Callable[[], object]) -> None:
    try:
        callback()
    except Exception:
        _logger.exception("a forked process could not renew a part of its telemetry; please report this")
