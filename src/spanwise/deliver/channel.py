"""One signal's way out: what waits, what is on its way, when to try again."""

from __future__ import annotations

import logging
import math
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from spanwise.deliver.account import Account
from spanwise.deliver.otlp_http import Answer
from spanwise.deliver.partial import rejected
from spanwise.deliver.retry import Backoff

__all__ = ["WHAT", "Channel", "Sender"]

_logger = logging.getLogger("spanwise.deliver")

# What a channel's items are called in a message to a person.
WHAT = {"traces": "spans", "logs": "log records", "metrics": "metric collections"}


class Sender(Protocol):
    """What a channel needs of a destination."""

    def send(self, body: bytes, timeout: float | None = None) -> Answer:
        """Posts one request; never raises."""

    def close(self) -> None:
        """Drops the connection."""


class Channel:
    """A bounded queue in front of one destination.

    The application's threads call :meth:`offer`; everything else happens on the delivery thread.

    Args:
        signal: ``traces``, ``metrics`` or ``logs``.
        encode: items to one request's bytes.
        sender: the destination.
        address: the destination as a warning names it.
        capacity: items held at most. Beyond, new ones are dropped and counted.
        batch: items in one request at most.
        delay: longest wait of an item for its request, in seconds.
        wake: called when a full batch waits.
    """

    def __init__(
        self,
        signal: str,
        encode: Callable[[Sequence[Any]], bytes],
        sender: Sender,
        *,
        address: str,
        capacity: int,
        batch: int,
        delay: float,
        wake: Callable[[], None],
    ) -> None:
        self.account = Account(signal)
        self._encode = encode
        self._sender = sender
        self._address = address
        self._what = WHAT[signal]
        self._capacity = capacity
        self._batch = min(batch, capacity)
        self._delay = delay
        # How many must wait already for one more to wake the thread: a full batch, or, without a
        # delay, any.
        self._wake_at = self._batch - 1 if delay > 0 else 0
        self._wake = wake
        self._backoff = Backoff()
        self.reset()

    def reset(self) -> None:
        """Empties the channel: what waited at a fork is the parent's to deliver, not the child's."""
        self._queue: deque[Any] = deque()
        self._items = 0  # in the encoded request that waits for its answer
        self._body = b""
        self._not_before = 0.0  # monotonic: no attempt until then
        self._failing = False
        self._woken = False
        self._next = time.monotonic() + self._delay
        self.account.reset()
        self._sender.close()

    def offer(self, item: Any) -> None:
        """Takes an item from any thread. Costs a length check and an append; never blocks."""
        waiting = len(self._queue)
        if waiting >= self._capacity:
            self.account.drop(1, "queue_full")
            return
        self._queue.append(item)
        if waiting >= self._wake_at and not self._woken:
            self._woken = True
            self._wake()

    @property
    def waiting(self) -> int:
        """Items taken whose fate is not yet known."""
        return len(self._queue) + self._items

    def due(self, now: float) -> float:
        """Seconds until the channel has something to do (0 or less: now)."""
        if self._items:
            return self._not_before - now
        waiting = len(self._queue)
        if waiting >= self._batch:
            return self._not_before - now
        if not waiting:
            # Nothing is due. Look again after a delay; without one, an offer wakes the thread. An
            # answer of 0 here would have the thread spin and take the application's time.
            return max(self._next - now, self._delay) if self._delay > 0 else math.inf
        return max(self._next, self._not_before) - now

    def step(self, now: float) -> None:
        """Sends what is due: full batches, and a partial one when its delay is over."""
        self._woken = False
        whole = now >= self._next
        if whole:
            self._next = now + self._delay
        while now >= self._not_before and self._load(partial=whole):
            # After a partial request the queue is as good as empty: going on would send a stream of
            # tiny requests to an application that keeps recording.
            last = self._items < self._batch
            if not self._attempt() or last:
                return
            now = time.monotonic()

    def drain(self, deadline: float) -> bool:
        """Sends everything that waits, whatever its delay; stops at ``deadline`` (monotonic).

        Returns:
            Whether nothing is left.
        """
        while self._load(partial=True):
            now = time.monotonic()
            if now >= deadline:
                return False
            # One more attempt at exit is worth making even during a back-off; a second is not.
            if not self._attempt(deadline - now):
                return False
        return True

    def close(self) -> None:
        """Drops the connection; nothing is sent any more."""
        self._sender.close()

    def abandon(self, reason: str) -> int:
        """Counts everything that still waits as dropped, and returns how many items that is."""
        lost = self._items + len(self._queue)
        self._queue.clear()
        self._items, self._body = 0, b""
        if lost:
            self.account.drop(lost, reason)
        return lost

    def _load(self, *, partial: bool) -> bool:
        """Makes the next request ready. False when there is nothing to send."""
        if self._items:
            return True
        count = min(len(self._queue), self._batch)
        if count == 0 or (count < self._batch and not partial):
            return False
        items = [self._queue.popleft() for _ in range(count)]
        try:
            self._body = self._encode(items)
        except Exception:
            self.account.drop(count, "encoding")
            _logger.exception("%d %s could not be encoded and are dropped", count, self._what)
            return self._load(partial=partial)
        self._items = count
        return True

    def _attempt(self, timeout: float | None = None) -> bool:
        """Sends the ready request once. False: keep it, and wait."""
        account = self.account
        started = time.perf_counter()
        answer = self._sender.send(self._body, timeout)
        account.seconds += time.perf_counter() - started
        if not answer.delivered and answer.retry:
            account.retried += 1
            wait = self._backoff.failed(answer.retry_after)
            self._not_before = time.monotonic() + wait
            if not self._failing:
                self._failing = True
                _logger.warning(
                    "%s cannot be delivered to %s (%s). They wait, up to %d, and are tried again. "
                    "Check the destination, or set OTEL_EXPORTER_OTLP_ENDPOINT",
                    self._what,
                    self._address,
                    answer.reason,
                    self._capacity,
                )
            return False
        self._backoff.succeeded()
        self._not_before = 0.0
        if answer.delivered:
            self._took(answer)
        else:
            # Once a reason: the warning is itself a log record, which the same server would refuse.
            if answer.reason not in account.drops():
                _logger.warning(
                    "%s refused %d %s (%s): they and later ones like them are dropped, and counted",
                    self._address,
                    self._items,
                    self._what,
                    answer.reason,
                )
            account.drop(self._items, answer.reason)
        self._items, self._body = 0, b""
        return True

    def _took(self, answer: Answer) -> None:
        account = self.account
        refused, words = rejected(answer.body)
        refused = min(refused, self._items)
        if refused:
            if "rejected" not in account.dropped:
                _logger.warning(
                    "%s rejected %d of %d %s: %s",
                    self._address,
                    refused,
                    self._items,
                    self._what,
                    words or "-",
                )
            account.drop(refused, "rejected")
        account.delivered += self._items - refused
        account.sent_bytes += len(self._body)
        if self._failing:
            self._failing = False
            _logger.warning("%s are delivered to %s again", self._what, self._address)
