"""What became of everything recorded: the books of one signal."""

from __future__ import annotations

import threading
from collections import Counter

__all__ = ["Account"]


class Account:
    """Counts of one signal in one process. Recorded = delivered + dropped + still waiting.

    Attributes:
        signal: ``traces``, ``metrics`` or ``logs``.
        protocol: what it is sent by: ``http`` or ``grpc``.
        delivered: items the destination took.
        dropped: items lost, by reason: ``queue_full``, ``encoding``, ``rejected``, ``exit``, or the
            answer that refused them.
        retried: requests that were tried again.
        sent_bytes: bytes of delivered requests, before compression.
        seconds: time spent in requests.
        adopted: items of a killed process that were delivered, and ``adopted_lost`` those that were
            refused. They are in that process's books, not among this one's recorded.
    """

    def __init__(self, signal: str, protocol: str = "http") -> None:
        self.signal = signal
        self.protocol = protocol
        self.reset()

    def reset(self) -> None:
        """Starts from zero: a forked child has recorded nothing yet."""
        # New: the parent's may have been held by another thread at the fork. Reentrant: SIGTERM's handler
        # counts what is lost at exit, perhaps on top of the very call that holds the lock.
        self._lock = threading.RLock()
        self.delivered = 0
        self.dropped: Counter[str] = Counter()
        self.retried = 0
        self.sent_bytes = 0
        self.seconds = 0.0
        self.adopted = 0
        self.adopted_lost = 0

    def drop(self, count: int, reason: str) -> None:
        """Counts ``count`` items as lost. Called from any thread, so it locks: the count is exact."""
        with self._lock:
            self.dropped[reason] += count

    def drops(self) -> dict[str, int]:
        """A copy of the drops by reason, taken at one moment."""
        with self._lock:
            return dict(self.dropped)

    @property
    def finished(self) -> int:
        """Items whose fate is known."""
        with self._lock:
            return self.delivered + sum(self.dropped.values())
