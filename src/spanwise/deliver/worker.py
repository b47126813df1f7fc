"""The delivery thread: one a process, for the three signals."""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from spanwise.context import suppressed
from spanwise.deliver.channel import Channel
from spanwise.deliver.source import WHAT
from spanwise.log import Log
from spanwise.threads import Event, Thread, started

__all__ = ["Worker"]

_logger = Log("spanwise.deliver")


class Worker:
    """Runs the channels and collects metrics on a daemon thread.

    Args:
        channels: in the order in which they are emptied at exit; the metrics' is the last.
        collect: collects metrics and offers them to their channel; None without metrics.
        interval: seconds between two collections.
    """

    def __init__(
        self, channels: Sequence[Channel], collect: Callable[[], Any] | None, interval: float
    ) -> None:
        self._channels = tuple(channels)
        self._collect = collect
        self._interval = interval
        self._closed = False
        self.reset()

    def reset(self) -> None:
        """Forgets the thread and its locks: neither lives on in a forked child."""
        self._wakeup = Event()
        self._flushes: deque[tuple[Sequence[Channel], float, Event]] = deque()
        self._stop_at: float | None = None
        self._idle = threading.Lock()
        self._thread: Thread | None = None
        self._next_collection = time.monotonic() + self._interval

    def start(self) -> None:
        """Starts the thread, unless it runs. At interpreter shutdown, when none can start, does nothing."""
        with self._idle:
            if self._closed or (self._thread is not None and self._thread.is_alive()):
                return
            self._thread = started(self._run, "spanwise-delivery")

    def wake(self) -> None:
        """Has the thread look at its channels now."""
        self._wakeup.set()

    def flush(self, timeout: float, channel: Channel | None = None) -> bool:
        """Sends all that waits, and waits for it.

        Args:
            timeout: seconds to wait at most.
            channel: only this one. All of them, and the metrics' alone, collect first.

        Returns:
            Whether nothing was left when it ended.
        """
        channels = self._channels if channel is None else (channel,)
        if not self._closed and self._thread is not None and self._thread.is_alive():
            if self._thread.is_current():
                return False  # a flush from a metric callback would wait for itself
            done = Event()
            self._flushes.append((channels, time.monotonic() + timeout, done))
            self.wake()
            if not done.wait(timeout):
                return False
        return not any(each.waiting for each in channels)

    def shutdown(self, timeout: float) -> None:
        """Delivers what it can within ``timeout`` seconds, counts the rest as dropped, and ends."""
        if self._closed:
            return
        deadline = time.monotonic() + timeout
        thread = self._thread
        if thread is not None and thread.is_alive() and not thread.is_current():
            self._stop_at = deadline
            self.wake()
            thread.join(timeout)
        else:
            with suppressed():
                self._empty(self._channels, deadline)
        self._closed = True
        lost = {WHAT[channel.account.signal]: channel.abandon("exit") for channel in self._channels}
        if any(lost.values()):
            counts = ", ".join(f"{count} {what}" for what, count in lost.items() if count)
            _logger.warning(
                "not delivered at exit: %s. Check the destination; SPANWISE_EXIT_TIMEOUT gives it longer",
                counts,
            )

    def _run(self) -> None:
        # Nothing the delivery does may be traced: it would record spans about sending spans.
        with suppressed():
            for channel in self._channels:
                channel.attended(True)
                channel.adopt()
            while self._stop_at is None:
                try:
                    self._turn()
                except Exception:
                    # A fault of ours must not end delivery for good; the pause keeps it from spinning.
                    _logger.exception("delivery failed unexpectedly and goes on; please report this")
                    time.sleep(1.0)
            self._empty(self._channels, self._stop_at)
            for channel in self._channels:
                channel.close()

    def _turn(self) -> None:
        now = time.monotonic()
        wait = min((channel.due(now) for channel in self._channels), default=self._interval)
        if self._collect is not None:
            wait = min(wait, self._next_collection - now)
        if wait > 0:
            self._wakeup.wait(None if wait == math.inf else wait)
        self._wakeup.clear()
        if self._stop_at is not None:
            return
        # One by one: a list swapped for a new one would lose a flush that is just being asked for.
        flushes = [self._flushes.popleft() for _ in range(len(self._flushes))]
        if flushes:
            for channels, deadline, done in flushes:
                self._empty(channels, deadline)
                done.set()
            return
        now = time.monotonic()
        if self._collect is not None and now >= self._next_collection:
            self._next_collection = now + self._interval
            self._collect()
        for channel in self._channels:
            if channel.due(now) <= 0:
                channel.step(now)

    def _empty(self, channels: Sequence[Channel], deadline: float) -> None:
        """Empties the channels, the metrics' last: their counts then tell of all that went before."""
        for channel in channels:
            if self._collect is not None and channel is self._channels[-1]:
                self._collect()
            channel.drain(deadline)
