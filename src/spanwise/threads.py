"""Our background threads, and the events they wait for. A leaf, since several rooms have threads.

They are started by :mod:`_thread`, the documented low-level interface, and unknown to :mod:`threading`:

- gevent and eventlet replace ``threading`` under threads that run already. At its end each such thread would
  miss its entry there and print a traceback; and eventlet's locks cannot be shared by two threads.
- ``threading.enumerate()`` shows the application's threads alone. Applications count them, and gevent patches
  existing locks only where there is a single thread.

What is taken from ``_thread`` is taken when this module is imported, so all of it fits together: where the
application has replaced it before, our threads are greenlets, and so are the locks they wait for.

An exception that would end a thread, of an application's callback too (SystemExit, gevent.Timeout, any
BaseException), is reported once, and the thread goes on.
"""

from __future__ import annotations

import os
import sys
import time
from _thread import allocate_lock, get_ident, start_new_thread
from functools import partial

from spanwise.log import Log, must_pass, own_threads

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Event", "Thread", "hold", "must_pass", "release", "start_waiting", "started", "started_task"]

_logger = Log("spanwise.threads")

# Seconds before a thread that failed goes on: doubled each time, so that a fault that stays costs next to
# nothing, and the first again after as long without one.
_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 60.0
# Threads that wait for room are few; a program that starts new ones for ever must not fill the memory.
_MOST_WAITING = 32

_reported: set[str] = set()
# What starts those for which the machine had no room, and the process that wanted them: a forked child has
# its own.
_waiting: list[tuple[int, Callable[[], object]]] = []
_next_try = 0.0
_held_in = 0
_refused = False


class Thread:
    """A thread that :func:`started` has made; daemonic: the interpreter does not wait for it.

    Attributes:
        name: begins with ``spanwise-``.
    """

    __slots__ = ("_done", "_ident", "_process", "_target", "name")

    def __init__(self, target: Callable[[], None], name: str) -> None:
        self.name = name
        self._target = target
        self._ident = 0
        self._process = os.getpid()
        self._done = allocate_lock()

    def start(self) -> None:
        """Runs the target on the new thread.

        Raises:
            RuntimeError: the interpreter is ending, or the machine has no thread left.
        """
        self._done.acquire()
        try:
            start_new_thread(self._run, ())
        except BaseException:
            self._done.release()
            raise

    def is_alive(self) -> bool:
        """Whether the target runs still; never in a process that was forked meanwhile."""
        return self._done.locked() and self._process == os.getpid()

    def is_current(self) -> bool:
        """Whether the caller runs on it."""
        return self._ident == get_ident() and self.is_alive()

    def join(self, timeout: float | None = None) -> None:
        """Waits for its end, ``timeout`` seconds at most."""
        if self.is_alive() and self._done.acquire(True, -1 if timeout is None else max(0.0, timeout)):
            self._done.release()

    def _run(self) -> None:
        self._ident = get_ident()
        own_threads[self._ident] = self.name
        try:
            self._target()
        finally:
            own_threads.pop(self._ident, None)
            self._done.release()


class Event:
    """As :class:`threading.Event`, but the first wait after a clear may end early, with False."""

    __slots__ = ("_gate", "_set")

    def __init__(self) -> None:
        self._set = False
        self._gate = allocate_lock()
        self._gate.acquire()

    def is_set(self) -> bool:
        """Whether nobody has to wait."""
        return self._set

    def set(self) -> None:
        """Ends all waits until it is cleared."""
        self._set = True
        self._open()

    def clear(self) -> None:
        """Has those wait who come from now on."""
        self._set = False
        self._gate.acquire(False)
        if self._set:  # meanwhile: whoever waited already must not miss it
            self._open()

    def wait(self, timeout: float | None = None) -> bool:
        """Waits until it is set, ``timeout`` seconds at most. Tells whether it is."""
        if (
            not self._set
            and self._gate.acquire(True, -1 if timeout is None else max(0.0, timeout))
            and self._set
        ):
            self._open()  # for whoever waits beside this one
        return self._set

    def _open(self) -> None:
        if self._gate.locked():
            try:
                self._gate.release()
            except RuntimeError:  # another thread was quicker
                return


def started(
    target: Callable[[], None],
    name: str,
    ended: Event | None = None,
    again: Callable[[], object] | None = None,
) -> Thread | None:
    """A daemon thread that runs ``target`` until it returns: what it raises has it run again, after a pause.

    Args:
        target: the work. It is called again, from its beginning, when something ended it.
        name: begins with ``spanwise-``, and is of low cardinality.
        ended: where given, a pause ends with it, and ``target`` is called once more then, to tidy up.
        again: called when there may be room for the thread at last; for who has no later occasion to ask.

    Returns:
        The thread; None where the machine has no room for one, and at interpreter shutdown.
    """
    thread = Thread(partial(_until_it_returns, target, name, ended), name)
    if _held_in != os.getpid() and _start(thread):
        start_waiting()
        return thread
    if again is not None and len(_waiting) < _MOST_WAITING:
        _waiting.append((os.getpid(), again))
    return None


def started_task(task: Callable[[], None], name: str) -> Thread | None:
    """A thread that runs ``task`` once; what it raises is reported. None where none could be started.

    Args:
        task: what is to be done.
        name: as for :func:`started`.
    """
    thread = Thread(partial(_once, task, name), name)
    return thread if _start(thread) else None


def start_waiting() -> None:
    """Tries those threads again for which there was no room, once a second at most."""
    global _next_try
    if not _waiting or time.monotonic() < _next_try or _held_in == os.getpid():
        return
    _next_try = time.monotonic() + 1.0
    waiting, _waiting[:] = list(_waiting), []
    for process, again in waiting:
        if process == os.getpid():
            again()  # which waits anew where there is no room still


def hold() -> None:
    """Starts none of those that run until their work ends, in this process: they begin with :func:`release`.

    Not in its children: what they start for themselves runs.
    """
    global _held_in
    _held_in = os.getpid()


def release() -> None:
    """Starts what was held."""
    global _held_in, _next_try
    _held_in, _next_try = 0, 0.0
    start_waiting()


def _start(thread: Thread) -> bool:
    global _refused
    if sys.is_finalizing():
        return False  # Python 3.11 makes one that never runs
    try:
        thread.start()
    except (RuntimeError, MemoryError) as error:
        if not _refused and "shutdown" not in str(error):
            _refused = True
            _logger.warning(
                "a thread for telemetry (%s) cannot be started: %s. It is tried again later. "
                "Raise the limit of threads (ulimit -u, or the container's)",
                thread.name,
                error,
            )
        return False
    return True


def _until_it_returns(target: Callable[[], None], name: str, ended: Event | None) -> None:
    pause = _FIRST_PAUSE
    while True:
        last = ended is not None and ended.is_set()
        began = time.monotonic()
        try:
            return target()
        except BaseException as error:
            if _is_the_end(error):
                return None
            _report(name, "goes on")
        if last:
            return None
        if time.monotonic() - began > _LONGEST_PAUSE:
            pause = _FIRST_PAUSE
        (time.sleep if ended is None else ended.wait)(pause)
        pause = min(pause * 2, _LONGEST_PAUSE)


def _once(task: Callable[[], None], name: str) -> None:
    try:
        task()
    except BaseException as error:
        if not _is_the_end(error):
            _report(name, "has not done its work")


def _is_the_end(error: BaseException) -> bool:
    """Whether the thread is to end: the interpreter does, or somebody killed the greenlet that it is."""
    greenlet = sys.modules.get("greenlet")
    killed: type[BaseException] | None = getattr(greenlet, "GreenletExit", None)
    return sys.is_finalizing() or (killed is not None and isinstance(error, killed))


def _report(name: str, then: str) -> None:
    if name in _reported:
        _logger.debug("the thread %s failed again, and %s", name, then, exc_info=True)
        return
    _reported.add(name)
    _logger.exception(
        "the thread %s failed unexpectedly, and %s; please report this, unless the error comes from the "
        "application's own code. Further failures are logged at DEBUG",
        name,
        then,
    )
