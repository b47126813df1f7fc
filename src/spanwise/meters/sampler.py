"""The thread that samples the metrics into their history, and makes the meters of the process."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import Any

from spanwise.context import suppressed
from spanwise.log import DEBUG, WARNING, Log
from spanwise.meters.history import History
from spanwise.threads import Event, Thread, must_pass, started

__all__ = ["Sampler"]

_logger = Log("spanwise.meters")

# What is not needed for the first requests waits so long: making the meters takes a start 4 ms.
_AFTER_START = 1.0


class Sampler:
    """Takes a sample at each interval, on a thread of its own: the delivery's may wait for a destination.

    Args:
        collect: the SDK's MetricsData with cumulative points, as of now; None where there is none.
        interval: seconds from one sample to the next.
        history: takes the samples.
        prepare: called once, soon after the start or, if that comes before, at the end.
        wanted: whether it is, at the end.
        clock: seconds; never set.

    Attributes:
        history: as given.
        interval: as given.
    """

    def __init__(
        self,
        collect: Callable[[], Any],
        interval: float,
        history: History,
        prepare: Callable[[], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
        wanted: Callable[[], bool] = lambda: True,
    ) -> None:
        self.history = history
        self.interval = interval
        self._collect = collect
        self._prepare = prepare
        self._clock = clock
        self._wanted = wanted
        self._listeners: list[Callable[[float], None]] = []
        self._beginnings: list[Callable[[], None]] = []
        self._failed = False
        self._reset()

    def _reset(self) -> None:
        self._wakeup = Event()
        self._asked: deque[Event] = deque()
        self._ended = self._begun = False
        self._thread: Thread | None = None

    def begin(self) -> None:
        """Starts the thread."""
        self._thread = started(self._run, "spanwise-history", again=self.begin)

    def after_fork(self) -> None:
        """In a forked child: an empty history with a thread of its own."""
        self._reset()
        self.history.after_fork()
        self.begin()

    def end(self) -> None:
        """Takes no more samples; what was to be prepared is, so that the last collection has it."""
        self._ended = True
        self._wakeup.set()
        if self._wanted():
            self._prepare_once()

    def listen(self, listener: Callable[[float], None], beginning: Callable[[], None] | None = None) -> None:
        """Has a function called after each sample, on this thread, with the sample's time.

        One that raises costs a warning, the first time.

        Args:
            listener: takes the time.
            beginning: called on this thread before the first sample, and in a forked child again, where the
                history is empty. Not in a process that ends before.
        """
        self._listeners.append(listener)
        if beginning is not None:
            self._beginnings.append(beginning)

    def refresh(self, timeout: float = 1.0) -> bool:
        """Takes a sample now, which the next one replaces.

        Not on the calling thread: that may be within a collection, which would wait for itself.

        Args:
            timeout: seconds to wait at most.

        Returns:
            Whether it came in time. Without, the history tells of the sample before.
        """
        thread = self._thread
        if self._ended or thread is None or not thread.is_alive() or thread.is_current():
            return False
        done = Event()
        self._asked.append(done)
        self._wakeup.set()
        return done.wait(timeout)

    def _run(self) -> None:
        # Observable instruments of the application may do anything: a database query of theirs is no span.
        with suppressed():
            began = self._clock()
            self._wakeup.wait(min(_AFTER_START, self.interval))
            if not self._ended:
                self._prepare_once()
            if not self._ended and not self._begun:
                self._begun = True
                for beginning in list(self._beginnings):
                    self._guarded("prepare for samples", beginning)
            due = began + self.interval
            while not self._ended:
                due = self._turn(due)

    def _turn(self, due: float) -> float:
        """Waits for the next sample or for somebody who asks for one; returns when the next is due."""
        if not self._asked:
            self._wakeup.wait(max(0.0, due - self._clock()))
        self._wakeup.clear()
        asked = [self._asked.popleft() for _ in range(len(self._asked))]
        now = self._clock()
        if self._ended or (now < due and not asked):
            return due
        self._guarded("take a sample", self._sample, now, now >= due)
        for each in asked:
            each.set()
        if now < due:
            return due
        for listener in list(self._listeners):
            self._guarded("tell of a sample", listener, now)
        # From now, not from when it was due: a machine that slept must not catch up.
        return now + self.interval

    def _sample(self, now: float, keep: bool) -> None:
        self.history.take(self._collect(), now, keep=keep)

    def _prepare_once(self) -> None:
        # Taken before it is called: a fork in the middle must not make the child's meters twice.
        prepare, self._prepare = self._prepare, None
        if prepare is not None:
            self._guarded("make the meters of the process", prepare)

    def _guarded(self, doing: str, function: Callable[..., None], *arguments: Any) -> None:
        try:
            function(*arguments)
        except (
            BaseException
        ) as error:  # the application's listeners and observable instruments raise anything
            if must_pass(error):
                raise
            level = DEBUG if self._failed else WARNING
            self._failed = True
            _logger.log(level, "could not %s: %r", doing, error)
