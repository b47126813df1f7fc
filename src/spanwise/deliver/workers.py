"""The delivery threads of a process: one a signal, so that no signal waits for another's destination."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from spanwise.deliver.channel import Channel
from spanwise.deliver.source import WHAT
from spanwise.deliver.worker import Worker
from spanwise.log import Log
from spanwise.threads import Event

__all__ = ["Workers"]

_logger = Log("spanwise.deliver")


class Workers:
    """Starts, flushes and ends them together.

    The metrics are collected last, at a flush and at the end: what became of all else is then among them.
    They wait for half of the time at most: a destination that does not answer must not cost them too.

    Args:
        channels: of the signals; the metrics' is the last.
        collect: collects metrics and offers them to their channel; None without metrics.
        interval: seconds between two collections.
    """

    def __init__(
        self, channels: Sequence[Channel], collect: Callable[[], Any] | None, interval: float
    ) -> None:
        items = channels if collect is None else channels[:-1]
        self._first = [Worker(channel) for channel in items]
        self._last = [] if collect is None else [Worker(channels[-1], collect, interval)]
        self._all = [*self._first, *self._last]
        self._closed = False

    @property
    def closed(self) -> bool:
        """Whether nothing is delivered any more."""
        return self._closed

    def reset(self) -> None:
        """Forgets all threads: none lives on in a forked child."""
        for each in self._all:
            each.reset()

    def start(self) -> None:
        """Starts the threads; that of the log records with the first of them."""
        for each in self._all:
            each.begin(with_first_item=each.channel.account.signal == "logs")

    def flush(self, timeout: float, channel: Channel | None = None) -> bool:
        """Sends all that waits, and waits for it.

        Args:
            timeout: seconds to wait at most.
            channel: only this one. All of them, and the metrics' alone, collect first.

        Returns:
            Whether nothing was left when it ended.
        """
        now = time.monotonic()
        deadline = now + timeout
        first, last = (
            [each for each in workers if channel is None or each.channel is channel]
            for workers in (self._first, self._last)
        )
        if any(each.current for each in (*first, *last)):
            return False  # a flush from a callback would wait for itself
        asked = [(each, each.ask(deadline)) for each in first]
        _wait(asked, now + timeout / 2 if last else deadline)
        asked += [(each, each.ask(deadline)) for each in last]
        return _wait(asked, deadline) and not any(each.channel.waiting for each, _ in asked)

    def shutdown(self, timeout: float) -> None:
        """Delivers what it can within ``timeout`` seconds, counts the rest as dropped, and ends."""
        if self._closed:
            return
        now = time.monotonic()
        deadline = now + timeout
        for each in self._first:
            each.stop(deadline)
        if self._last:
            for each in self._first:
                each.join(now + timeout / 2)
        for each in self._last:
            each.stop(deadline)
        for each in self._all:
            each.join(deadline)
        self._closed = True
        lost = {WHAT[each.channel.account.signal]: each.channel.abandon("exit") for each in self._all}
        if any(lost.values()):
            counts = ", ".join(f"{count} {what}" for what, count in lost.items() if count)
            _logger.warning(
                "not delivered at exit: %s. Check the destination; SPANWISE_EXIT_TIMEOUT gives it longer",
                counts,
            )


def _wait(asked: Sequence[tuple[Worker, Event | None]], deadline: float) -> bool:
    """Waits until all have done what they were asked; tells whether they have."""
    in_time = True
    for _, done in asked:
        in_time &= done is None or done.wait(max(0.0, deadline - time.monotonic()))
    return in_time
