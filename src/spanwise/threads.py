"""Threads of ours that only wait and work, and what they wait for: a leaf, since several rooms have some.

They are the operating system's own, made by :mod:`_thread` (the documented low-level interface), and do not
stand in the books of :mod:`threading`:

- gevent and eventlet replace ``threading`` underneath threads that run already. Their end then finds no entry
  in those books, a traceback on stderr for each; and eventlet's locks cannot be shared by two threads.
- ``threading.enumerate()`` is the application's. gevent leaves existing locks alone where it shows a second
  thread, and applications count their own.

What is taken from ``_thread`` is taken when this module is imported, so all of it fits together: where the
application has replaced it before, our threads are greenlets, and so are the locks they wait for.
"""

from __future__ import annotations

import os
from _thread import allocate_lock, get_ident, start_new_thread

from spanwise.log import own_threads

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Event", "Thread", "started"]


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


def started(target: Callable[[], None], name: str) -> Thread | None:
    """A daemon thread that runs ``target``; None at interpreter shutdown, when none can start."""
    thread = Thread(target, name)
    try:
        thread.start()
    except RuntimeError:
        return None
    return thread
