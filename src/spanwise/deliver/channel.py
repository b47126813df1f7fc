"""One signal's way out: what waits, what is on its way, when to try again."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

from spanwise.deliver.answer import Answer, Fate, Sender
from spanwise.deliver.partial import rejected
from spanwise.deliver.retry import Backoff
from spanwise.deliver.source import WHAT, Load, Source
from spanwise.log import Log

__all__ = ["Channel"]

_logger = Log("spanwise.deliver")


class Channel:
    """What waits in a source, on its way to one destination.

    The application's threads call :meth:`offer`; everything else happens on the delivery thread.

    Args:
        source: where items wait; it says what is dropped there.
        sender: the destination.
        address: the destination as a warning names it.
        delay: longest wait of an item for its request, in seconds.
        wake: called when a whole request waits.
    """

    def __init__(
        self, source: Source, sender: Sender, *, address: str, delay: float, wake: Callable[[], None]
    ) -> None:
        self.account = source.account
        self._source = source
        # The source's own: a step in between would cost each span as much as its attributes.
        #: Takes an item from any thread; never blocks.
        self.offer: Callable[[Any], None] = source.offer
        #: The same of a span that never was an object, with resource, scope and fields; None: only objects.
        self.offer_leaf: Callable[..., None] | None = getattr(source, "offer_leaf", None)
        self._sender = sender
        self._address = address
        self._what = WHAT[source.account.signal]
        self._delay = delay
        source.wakes(self._nudge, at_once=delay <= 0)
        self._wake = wake
        self._backoff = Backoff()
        self._begin()

    def reset(self) -> None:
        """Empties the channel: what waited at a fork is the parent's to deliver, not the child's."""
        self._source.reset()
        self.account.reset()
        self._sender.close()
        self._begin()

    def _begin(self) -> None:
        self._load: Load | None = None  # the request that waits for its answer
        self._not_before = 0.0  # monotonic: no attempt until then
        self._failing = False
        self._woken = False
        self._next = time.monotonic() + self._delay

    def adopt(self) -> None:
        """Finds what a killed process left to be sent."""
        self._source.adopt()

    def _nudge(self) -> None:
        if not self._woken:
            self._woken = True
            self._wake()

    @property
    def waiting(self) -> int:
        """Items taken whose fate is not yet known."""
        return self._source.waiting + (self._load.count if self._load is not None else 0)

    def due(self, now: float) -> float:
        """Seconds until the channel has something to do (0 or less: now)."""
        if self._load is not None or self._source.full:
            return self._not_before - now
        if not self._source.waiting:
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
        while now >= self._not_before and self._ready(partial=whole):
            # After a partial request the source is as good as empty: going on would send a stream
            # of tiny requests to an application that keeps recording.
            last = not self._source.full
            if not self._attempt() or last:
                return
            now = time.monotonic()

    def drain(self, deadline: float) -> bool:
        """Sends everything that waits, whatever its delay; stops at ``deadline`` (monotonic).

        Returns:
            Whether nothing is left.
        """
        while self._ready(partial=True):
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
        load, self._load = self._load, None
        # What was adopted is still in its file: the next process tries it again.
        lost = self._source.discard() + (load.count if load is not None and not load.adopted else 0)
        if lost:
            self.account.drop(lost, reason)
        return lost

    def forget(self) -> None:
        """Drops what waits, and all counts with it: another process turned out to be the one that reports."""
        self._load = None
        self._source.discard()
        self.account.reset()

    def _ready(self, *, partial: bool) -> bool:
        """Makes the next request ready. False when there is nothing to send."""
        if self._load is None:
            self._load = self._source.load(partial=partial)
        return self._load is not None

    def _attempt(self, timeout: float | None = None) -> bool:
        """Sends the ready request once. False: keep it, and wait."""
        account, load = self.account, self._load
        if load is None:
            return True
        started = time.perf_counter()
        answer = self._sender.send(load.body, timeout)
        account.seconds += time.perf_counter() - started
        if answer.fate in (Fate.RETRY, Fate.RETRY_FEW):
            account.retried += 1
            wait = self._backoff.failed(answer.retry_after)
            self._not_before = time.monotonic() + wait
            if not self._failing:
                self._failing = True
                _logger.warning(
                    "%s cannot be delivered to %s (%s). They wait and are tried again. "
                    "Check the destination, or set OTEL_EXPORTER_OTLP_ENDPOINT",
                    self._what,
                    self._address,
                    answer.reason,
                )
            return False
        self._backoff.succeeded()
        self._not_before = 0.0
        if answer.delivered:
            self._took(answer, load)
        else:
            # Once a reason: the warning is itself a log record, which the same server would refuse.
            if answer.reason not in account.drops():
                _logger.warning(
                    "%s refused %d %s (%s): they and later ones like them are dropped, and counted",
                    self._address,
                    load.count,
                    self._what,
                    answer.reason,
                )
            if load.adopted:
                account.adopted_lost += load.count
            else:
                account.drop(load.count, answer.reason)
        self._load = None
        self._source.release(load)
        return True

    def _took(self, answer: Answer, load: Load) -> None:
        account = self.account
        refused, words = rejected(answer.body)
        refused = min(refused, load.count)
        if refused and "rejected" not in account.drops():
            _logger.warning(
                "%s rejected %d of %d %s: %s", self._address, refused, load.count, self._what, words or "-"
            )
        if load.adopted:
            account.adopted += load.count - refused
            account.adopted_lost += refused
        else:
            account.delivered += load.count - refused
            if refused:
                account.drop(refused, "rejected")
        account.sent_bytes += load.size
        if self._failing:
            self._failing = False
            _logger.warning("%s are delivered to %s again", self._what, self._address)
