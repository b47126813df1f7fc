"""Counts by slice of time, and alerts over what is made of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final, TypeAlias

__all__ = ["SLICES_MOST", "Alert", "Room", "Slices", "State", "states"]

SLICES_MOST: Final = 1_000_000
"""Slices that are held at most, some 100 MB."""

Slices: TypeAlias = dict[int, int]
"""How many by the number of the slice: that of the look which first sees its end."""


@dataclass(frozen=True)
class Alert:
    """One alert that would have fired.

    Attributes:
        rule: the rule's name, or the objective's.
        severity: ``info``, ``warning`` or ``critical``.
        service: whose measurements they are; empty where the spans name none.
        since, fired: nanoseconds since the epoch: when the condition began to hold, and when it had for long
            enough.
        resolved: when it had ceased to hold for as long; None where it fired at the last span.
        worst: the highest figure while it held: a share, a count; for a quantile, the share beyond the limit.
        budget: nanoseconds: the longer window over which too much of an objective's budget went; else 0.
    """

    rule: str
    severity: str
    service: str
    since: int
    fired: int
    resolved: int | None
    worst: float
    budget: int = 0


class Room:
    """What slices take.

    Args:
        slices: how many there may be.

    Attributes:
        uncounted: measurements that found no room.
    """

    def __init__(self, slices: int) -> None:
        self._left = slices
        self.uncounted = 0

    def count(self, slices: Slices, resolution: int, end: int) -> None:
        """Counts one measurement.

        Args:
            slices: where to.
            resolution: nanoseconds of a slice.
            end: when it was made.
        """
        # What ends exactly at a look is seen by it.
        number = -(-end // resolution)
        if number in slices:
            slices[number] += 1
        elif self._left > 0:
            self._left -= 1
            slices[number] = 1
        else:
            self.uncounted += 1


State: TypeAlias = tuple[int, int, int | None, float]
"""since, fired, resolved and worst, as in :class:`Alert`."""


def states(figures: Iterable[tuple[int, float | None]], step: int, hold: int, last: int) -> Iterator[State]:
    """When an alert fires, and until when: as the process and Prometheus hold it (alerts/states.py).

    Args:
        figures: (time, the figure where the condition holds) at each look that has anything to see.
        step: nanoseconds from one look to the next.
        hold: nanoseconds for which the condition must hold; and for which it must not, once it fires.
        last: when the last span ended: nothing is known after it.
    """
    kept_for = -(-hold // step) * step  # there is no look between two
    since: int | None = None
    fired: int | None = None
    below: int | None = None  # the look since which the condition does not hold
    previous = 0
    worst = 0.0
    for now, figure in figures:
        # Between two looks at which there is nothing to see, nothing holds.
        if since is not None and below is None and now - previous > step:
            below = previous + step
        if figure is None and below is None:
            below = now
        if since is not None and below is not None:
            end = below + kept_for
            if fired is None or end < now or (end == now and figure is None):
                if fired is not None:
                    yield since, fired, end, worst
                since = fired = None
                worst = 0.0
        if figure is not None:
            below = None
            since = now if since is None else since
            worst = max(worst, figure)
            if fired is None and now - since >= hold:
                fired = now
        previous = now
    if fired is not None and since is not None:
        end = (previous + step if below is None else below) + kept_for
        yield since, fired, (end if end <= last else None), worst
