"""Memory pressure: when memory rises above a limit, and what was done about it."""

from __future__ import annotations

from typing import Final

from opentelemetry.metrics import Meter

from spanwise import names
from spanwise.instruments import make

__all__ = ["MEGABYTE", "Crossing", "PressureMeter"]

MEGABYTE: Final = 1_000_000
"""MB as the thresholds file has it, by IEC 80000-13."""


class Crossing:
    """Tells when memory rises above a limit: once, and again only after it has fallen.

    Args:
        limit: bytes.
        falls_below: bytes that it must fall below before it is told again; not above the limit.
    """

    def __init__(self, limit: float, falls_below: float) -> None:
        self._limit = limit
        self._falls_below = falls_below
        self._above = False

    def crossed(self, used: int) -> bool:
        """Whether this is the moment.

        Args:
            used: bytes in use now.
        """
        if self._above:
            self._above = used >= self._falls_below
            return False
        self._above = used > self._limit
        return self._above


class PressureMeter:
    """The instruments of memory pressure.

    Args:
        meter: makes them.
    """

    def __init__(self, meter: Meter) -> None:
        self._events = make(meter, names.MEMORY_PRESSURE_EVENTS)
        self._before = make(meter, names.MEMORY_PRESSURE_BEFORE)
        self._disposed = make(meter, names.MEMORY_PRESSURE_DISPOSED)

    def record(self, before: int, disposed: int) -> None:
        """Records that memory pressure was answered.

        Args:
            before: bytes in use before.
            disposed: controllers that were given up.
        """
        self._events.add(1)
        self._before.record(before)
        self._disposed.add(disposed)
