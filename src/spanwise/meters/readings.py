"""What the meters of the process and its machine share: a guard for each reading, and growth per second."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from opentelemetry.metrics import CallbackOptions, Meter, Observation

from spanwise.instruments import make
from spanwise.log import Log
from spanwise.names import Metric

__all__ = ["Rates", "observed", "remembered"]

_T = TypeVar("_T")

_logger = Log("spanwise.meters")

# Seconds, from a clock that nobody sets. One name, so that tests can step it.
_now = time.monotonic

# Readers collect at moments of their own, and a flush at any. A window shorter than this says little: CPU
# times move in steps of 10 ms. The shortest interval of the shipped thresholds' profiles is 5 s.
_LEAST_WINDOW = 4.0
# Readings nearer to one another are not kept: a flush every millisecond must not fill the memory.
_LEAST_APART = 1.0
# The metrics of one collection that are made of the same reading get the same one.
_SAME = 0.5


def observed(meter: Meter, metric: Metric, read: Callable[[], Iterable[Observation]]) -> None:
    """Makes an observable instrument.

    Args:
        meter: makes it.
        metric: what it is.
        read: called when metrics are collected. If it fails (a file that is not there, or may not be read),
            the metric has no points, the others have theirs, and one line is logged at debug level.
    """
    told = False

    def callback(_: CallbackOptions) -> Iterable[Observation]:
        nonlocal told
        try:
            return list(read())
        except Exception as error:
            if not told:
                told = True
                _logger.debug("%s cannot be read here: %r", metric.name, error)
            return ()

    make(meter, metric, callback)


def remembered(read: Callable[[], _T]) -> Callable[[], _T]:
    """The reading, made at most twice a second. One that fails is not remembered.

    Args:
        read: makes it.
    """
    last: list[tuple[float, _T]] = []

    def reading() -> _T:
        now = _now()
        if not last or now - last[0][0] >= _SAME:
            last[:] = [(now, read())]
        return last[0][1]

    return reading


class Rates:
    """How fast counters grow, each per second.

    Args:
        read: the counters, always as many. One that falls counts as having stood still.
    """

    def __init__(self, read: Callable[[], Sequence[float]]) -> None:
        self._read = read
        self._process = os.getpid()
        self._earlier: deque[tuple[float, Sequence[float]]] = deque()

    def now(self) -> list[float] | None:
        """The growth since the newest reading that is old enough (4 s); None before there is one."""
        if self._process != os.getpid():
            self._process = os.getpid()
            self._earlier.clear()
        at, values = _now(), self._read()
        earlier = self._earlier
        while len(earlier) > 1 and at - earlier[1][0] >= _LEAST_WINDOW:
            earlier.popleft()
        began = earlier[0] if earlier and at - earlier[0][0] >= _LEAST_WINDOW else None
        if not earlier or at - earlier[-1][0] >= _LEAST_APART:
            earlier.append((at, values))
        if began is None:
            return None
        seconds = at - began[0]
        return [max(0.0, new - old) / seconds for new, old in zip(values, began[1], strict=True)]
