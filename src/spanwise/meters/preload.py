"""Items loaded ahead of their use: how many, with what outcome, how long, how large."""

from __future__ import annotations

from typing import Final

from opentelemetry.metrics import Meter

from spanwise import names
from spanwise.instruments import make

__all__ = ["FAILURE", "OUTCOMES", "SUCCESS", "TIMEOUT", "PreloadMeter"]

SUCCESS: Final = "success"
FAILURE: Final = "failure"
TIMEOUT: Final = "timeout"
OUTCOMES: Final = (SUCCESS, FAILURE, TIMEOUT)


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

    def record(self, outcome: str, size: int) -> None:
        """Records one item, whose duration is recorded with its span.

        Args:
            outcome: one of OUTCOMES.
            size: bytes, 0 where not known.
        """
        for each in OUTCOMES:
            # The others by 0: Prometheus sees no growth in a series that begins with its first failure.
            self._events.add(1 if each == outcome else 0, {names.PRELOAD_OUTCOME: each})
        if size:
            self._bytes.add(size)
