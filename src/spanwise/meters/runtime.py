"""The garbage collector: how often, how much, and for how long it held the process.

Names and units: https://opentelemetry.io/docs/specs/semconv/runtime/cpython-metrics/
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable
from time import perf_counter
from typing import Final

from opentelemetry.metrics import Meter, Observation

from spanwise import names
from spanwise.meters.readings import observed
from spanwise.names import Metric

__all__ = ["observe"]


def observe(meter: Meter) -> None:
    """Makes the observable instruments of the interpreter, and times garbage collections from now on."""

    def told(key: str) -> Callable[[], Iterable[Observation]]:
        def read() -> Iterable[Observation]:
            return [
                Observation(generation[key], {names.GC_GENERATION: number})
                for number, generation in enumerate(gc.get_stats())
            ]

        return read

    counted: tuple[tuple[Metric, str], ...] = (
        (names.GC_COLLECTIONS, "collections"),
        (names.GC_COLLECTED, "collected"),
        (names.GC_UNCOLLECTABLE, "uncollectable"),
    )
    for metric, key in counted:
        observed(meter, metric, told(key))

    if _timer not in gc.callbacks:
        gc.callbacks.append(_timer)
    observed(
        meter,
        names.GC_PAUSE,
        lambda: [Observation(spent, {names.GC_GENERATION: n}) for n, spent in enumerate(_timer.seconds)],
    )


class _Timer:
    """Called before and after each collection.

    Attributes:
        seconds: of pauses, by generation. Sums, not an instrument: a collection may begin in the middle of
            anything, also of what an instrument does under its lock, and recording would wait for itself.
    """

    def __init__(self) -> None:
        self.seconds = [0.0] * len(gc.get_stats())
        self._began = 0.0

    # The clock is bound early: when the interpreter ends, modules are gone before the collector is.
    def __call__(self, phase: str, info: dict[str, int], clock: Callable[[], float] = perf_counter) -> None:
        if phase == "start":
            self._began = clock()
        else:
            self.seconds[info["generation"]] += clock() - self._began


# The process's, as the collector is: a provider's own would stay among the callbacks when that is gone.
_timer: Final = _Timer()
