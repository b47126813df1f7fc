"""When to try again after a failed export."""

from __future__ import annotations

import random

__all__ = ["Backoff"]

# The OTLP specification asks for exponential back-off with jitter and names no figures. One second
# spares a restarting Collector; above 30 s the queue of a busy application overflows for no gain.
FIRST_WAIT = 1.0
LONGEST_WAIT = 30.0
# A server may ask for any wait; hours would be an outage of our own making.
LONGEST_RETRY_AFTER = 300.0


class Backoff:
    """Jittered exponential back-off of one destination.

    Each wait is drawn between half of the exponential bound and the bound, so that a fleet that lost its
    Collector at one moment does not come back at one moment.
    """

    def __init__(self, draw: random.Random | None = None) -> None:
        self._random = draw or random.Random()
        self._failures = 0

    def succeeded(self) -> None:
        """The next failure starts from the shortest wait again."""
        self._failures = 0

    def failed(self, retry_after: float | None = None) -> float:
        """Seconds to wait after one more failure.

        Args:
            retry_after: seconds the server asked for (``Retry-After``); honoured up to 300 s.
        """
        bound = min(LONGEST_WAIT, FIRST_WAIT * 2.0 ** min(self._failures, 10))
        self._failures += 1
        wait = self._random.uniform(bound / 2, bound)
        if retry_after is not None:
            wait = max(wait, min(retry_after, LONGEST_RETRY_AFTER))
        return wait
