"""The garbage collector: how often, how much, and for how long it held the process.

Names and units: https://opentelemetry.io/docs/specs/semconv/runtime/cpython-metrics/
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable
from time import perf_counter

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

    # Sums, not an instrument: a collection may begin in the middle of anything, also of what an instrument
    # does under its lock, and recording would then wait for itself.
    seconds = [0.0] * len(gc.get_stats())
    began = 0.0

    def timed(phase: str, info: dict[str, int], clock: Callable[[], float] = perf_counter) -> None:
        nonlocal began
        if phase == "start":
            began = clock()
        else:
            seconds[info["generation"]] += clock() - began

    gc.callbacks.append(timed)
    observed(
        meter,
        names.GC_PAUSE,
        lambda: [Observation(spent, {names.GC_GENERATION: n}) for n, spent in enumerate(seconds)],
    )
