"""Items loaded ahead of their use: how many, with what outcome, how long, how large."""

from __future__ import annotations

from typing import Final, NamedTuple

from opentelemetry.metrics import Meter

from spanwise import names
from spanwise.instruments import make
from spanwise.meters.locks import ForkLock

__all__ = ["FAILURE", "OUTCOMES", "SUCCESS", "TIMEOUT", "PreloadMeter", "PreloadTotals"]

SUCCESS: Final = "success"
FAILURE: Final = "failure"
TIMEOUT: Final = "timeout"
OUTCOMES: Final = (SUCCESS, FAILURE, TIMEOUT)


class PreloadTotals(NamedTuple):
    """Preloads of this process since its start.

    Attributes:
        success, failure, timeout: how many had this outcome.
        seconds: how long they took in all.
        size: bytes that they loaded.
    """

    success: int
    failure: int
    timeout: int
    seconds: float
    size: int


class PreloadMeter:
    """The instruments of preloading.

    Args:
        meter: makes them.

    Attributes:
        duration: for whoever times the loading.
    """

    def __init__(self, meter: Meter) -> None:
        self.duration = make(meter, names.PRELOAD_DURATION)
        self._events = make(meter, names.PRELOAD_EVENTS)
        self._bytes = make(meter, names.PRELOAD_BYTES)
        self._lock = ForkLock()
        self._counts = dict.fromkeys(OUTCOMES, 0)
        self._seconds = 0.0
        self._size = 0

    def record(self, outcome: str, seconds: float, size: int) -> None:
        """Records one item.

        Args:
            outcome: one of OUTCOMES.
            seconds: how long it took.
            size: bytes, 0 where not known.
        """
        with self._lock:
            self._counts[outcome] += 1
            self._seconds += seconds
            self._size += size
        for each in OUTCOMES:
            # The others by 0: Prometheus sees no growth in a series that begins with its first failure.
            self._events.add(1 if each == outcome else 0, {names.PRELOAD_OUTCOME: each})
        if size:
            self._bytes.add(size)

    def totals(self) -> PreloadTotals:
        """What there was so far."""
        with self._lock:
            return PreloadTotals(**self._counts, seconds=self._seconds, size=self._size)
