"""A signal's delivery thread."""

from __future__ import annotations

import math
import os
import time
from _thread import allocate_lock
from collections import deque
from collections.abc import Callable
from typing import Any

from spanwise.context import suppressed
from spanwise.deliver.channel import Channel
from spanwise.threads import Event, Thread, start_waiting, started

__all__ = ["Worker"]

# A lock cannot wait for every number of seconds that a setting may have.
_LONGEST_WAIT = 86_400.0


class Worker:
    """Runs one channel, and collects what goes into it, on a daemon thread.

    Args:
        channel: what it sends.
        collect: called at each interval, at each flush and at the end; None where items come by themselves.
        interval: seconds between two collections.
    """

    def __init__(
        self, channel: Channel, collect: Callable[[], Any] | None = None, interval: float = math.inf
    ) -> None:
        self.channel = channel
        self._collect = collect
        self._interval = interval
        self._closed = False
        self.reset()
        channel.wake_by(self.wake)

    def reset(self) -> None:
        """Forgets the thread and its locks: neither lives on in a forked child."""
        self._process = os.getpid()
        self._wakeup = Event()
        self._ended = Event()
        self._stop_at: float | None = None
        self._flushes: deque[tuple[float, Event]] = deque()
        self._starting = allocate_lock()
        self._thread: Thread | None = None
        self._begun = self._wanted = self._adopted = self._finished = False
        self._next_collection = time.monotonic() + self._interval

    @property
    def alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread is not None and self._thread.is_alive()

    @property
    def current(self) -> bool:
        """Whether the caller runs on it: then it cannot wait for it."""
        return self._thread is not None and self._thread.is_current()

    def begin(self, *, with_first_item: bool) -> None:
        """Allows the thread, and starts it, or lets the first item do so. Before, none is started."""
        self._begun = True
        if not with_first_item or self.channel.waiting:
            self.start()

    def start(self) -> None:
        """Starts the thread, unless it runs. Where none can start, it is tried again later. Never waits."""
        # Not a lock to wait for: an item may come from a signal handler on top of this very call.
        if self._starting.acquire(False):
            try:
                if not self._closed and not self.alive and self._process == os.getpid():
                    self._wanted = True
                    name = f"spanwise-{self.channel.account.signal}"
                    self._thread = started(self._run, name, self._ended, self.start)
            finally:
                self._starting.release()

    def wake(self) -> None:
        """Has the thread look at its channel now; starts it where the first item is to."""
        self._wakeup.set()
        if not self._begun:
            return
        if self._thread is None and self._wanted:
            start_waiting()
        elif not self.alive:
            self.start()

    def ask(self, deadline: float) -> Event | None:
        """Has the thread send all that waits, after a collection where it collects.

        Args:
            deadline: monotonic seconds; what it has not sent until then it leaves.

        Returns:
            Set when that was done; None where nothing does it.
        """
        if self._closed or not self.alive:
            return None
        done = Event()
        self._flushes.append((deadline, done))
        self._wakeup.set()
        return done

    def stop(self, deadline: float) -> None:
        """Has the thread send what it can until then, and end."""
        self._stop_at = deadline
        self._ended.set()
        self._wakeup.set()

    def join(self, deadline: float) -> bool:
        """Waits for the end that was asked for, and tells whether it came in time."""
        thread = self._thread
        if thread is not None and thread.is_alive() and not self.current:
            thread.join(max(0.0, deadline - time.monotonic()))
        elif not self._finished:
            # None could be started, or the interpreter is ending.
            with suppressed():
                self._finish(deadline)
        self._closed = True
        return not self.alive

    def _run(self) -> None:
        # Nothing the delivery does may be traced: it would record spans about sending spans.
        with suppressed():
            self.channel.attended(True)
            self._adopt()
            while self._stop_at is None:
                self._turn()
            self._finish(self._stop_at)

    def _adopt(self) -> None:
        if not self._adopted:
            self._adopted = True
            self.channel.adopt()

    def _turn(self) -> None:
        now = time.monotonic()
        wait = min(self.channel.due(now), self._next_collection - now)
        if wait > 0:
            self._wakeup.wait(min(wait, _LONGEST_WAIT))
        self._wakeup.clear()
        if self._stop_at is not None:
            return
        # One by one: a list swapped for a new one would lose a flush that is just being asked for.
        flushes = [self._flushes.popleft() for _ in range(len(self._flushes))]
        for deadline, done in flushes:
            try:
                self._empty(deadline)
            finally:
                done.set()
        now = time.monotonic()
        if self._collect is not None and now >= self._next_collection:
            self._next_collection = now + self._interval
            self._collect()
        if self.channel.due(now) <= 0:
            self.channel.step(now)

    def _empty(self, deadline: float) -> None:
        if self._collect is not None:
            self._collect()
        self.channel.drain(deadline)

    def _finish(self, deadline: float) -> None:
        self._finished = True
        self._adopt()  # the process may end before its thread had a turn
        self._empty(deadline)
        self.channel.close()
