"""Rows of numbers in bounded memory: 8 bytes a number, and 8 a row for its time."""

from __future__ import annotations

from array import array
from collections.abc import Iterable

__all__ = ["Ring"]


class Ring:
    """Rows of numbers with the time of each; the oldest makes room.

    Args:
        width: numbers in a row.
        most: rows that are kept, at least one.
    """

    __slots__ = ("_data", "_first", "_most", "_step")

    def __init__(self, width: int, most: int) -> None:
        self._step = width + 1
        self._most = most
        self._first = 0  # where the oldest row is, in rows
        self._data = array("d")

    def __len__(self) -> int:
        return len(self._data) // self._step

    def put(self, time: float, values: Iterable[float]) -> None:
        """Adds a row, no earlier than the newest."""
        row = array("d", [time, *values])
        if len(self) < self._most:
            self._data.extend(row)
            return
        start = self._first * self._step
        self._data[start : start + self._step] = row
        self._first = (self._first + 1) % self._most

    def replace(self, time: float, values: Iterable[float]) -> None:
        """Puts a row in the newest one's place."""
        start = self._place(len(self) - 1)
        self._data[start : start + self._step] = array("d", [time, *values])

    def time(self, number: int) -> float:
        """The time of a row, counted from the oldest."""
        return self._data[self._place(number)]

    def row(self, number: int) -> array[float]:
        """The values of a row, counted from the oldest."""
        start = self._place(number)
        return self._data[start + 1 : start + self._step]

    def until(self, time: float) -> int:
        """The number of the newest row at that time or before; -1 where all are later."""
        low, high = 0, len(self)
        while low < high:
            middle = (low + high) // 2
            if self.time(middle) <= time:
                low = middle + 1
            else:
                high = middle
        return low - 1

    def _place(self, number: int) -> int:
        return (self._first + number) % max(1, len(self)) * self._step
