"""The growth of a counter's or a histogram's sets, summed."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Final

from spanwise.meters.ring import Ring

__all__ = ["SETS_MOST", "Total"]

SETS_MOST: Final = 5_000
"""Sets whose last value is kept, some 2 MB for a counter; what is beyond is only known as a sum."""


class Total:
    """What the sets of a watch have grown since the process began, all together, sample by sample.

    Each set is held against its own last value, as Prometheus does it: in a sum over all, one that goes would
    hide what the others grew, and one that comes back would count all that it has again.

    Args:
        ring: where the samples are kept.
        width: numbers in a row.
        bounds: a histogram's.

    Attributes:
        bounds: a histogram's.
        ring: what was added up until then: a counter's (total), a histogram's (total, count, buckets …).
        now: the same for the newest sample.
    """

    __slots__ = ("_last", "_rest", "bounds", "now", "ring")

    def __init__(self, ring: Ring, width: int, bounds: tuple[float, ...]) -> None:
        self.ring = ring
        self.bounds = bounds
        self.now = [0.0] * width
        self._last: dict[Hashable, Sequence[float]] = {}
        self._rest: Sequence[float] = [0.0] * width

    def add(self, sets: Mapping[Hashable, Sequence[float]]) -> list[float]:
        """Takes the cumulative values of a sample, by set.

        A set that is not observed keeps its last value, and goes on from there. One that fell grew by 0.
        """
        rest = [0.0] * len(self.now)
        known = dict(self._last)
        grown = list(self.now)
        for each, values in sets.items():
            last = known.get(each)
            if last is None and len(known) >= SETS_MOST:
                rest = [so_far + value for so_far, value in zip(rest, values, strict=True)]
                continue
            _grow(grown, values, last or [0.0] * len(grown))
            known[each] = values
        _grow(grown, rest, self._rest)
        # Only now: a row of another width has raised above, and the next sample counts it all.
        self._last, self._rest, self.now = known, rest, grown
        return grown

    def begin_anew(self, ring: Ring) -> None:
        """In a forked child: what was counted until now is the parent's."""
        self.ring = ring
        self.now = [0.0] * len(self.now)


def _grow(grown: list[float], values: Sequence[float], last: Sequence[float]) -> None:
    for at, (value, before) in enumerate(zip(values, last, strict=True)):
        if value > before:
            grown[at] += value - before
