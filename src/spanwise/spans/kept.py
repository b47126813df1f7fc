"""What few spans have, and how threads fill it without a lock: each time is one step of C code."""

from __future__ import annotations

import contextlib
import copy
import operator
import sys
from collections import deque
from collections.abc import Iterable, Iterator
from itertools import repeat
from typing import Any, TypeAlias

from opentelemetry.sdk.util import BoundedList

__all__ = ["Count", "Extras", "Kept"]

Extras: TypeAlias = "dict[str, Any]"
"""What a span has besides its name and its attributes, from the first time that it has any of it:

- ``name``: the one that it was given later.
- ``status``: the last one that is not OK; ``ok``: the first one that is.
- ``events``, ``links``: a `Kept` each.
- ``attributes``: its own, where it began with attributes that many spans share.
- ``again``: keys that were set again, and what they come after.
- ``lost``: a `Count` of attributes that were left out or gave way.
- ``view``: the SDK's mapping over its attributes, for code that wants that.
"""


class Count:
    """A count that several threads raise at once: each time is one step of C code."""

    __slots__ = ("_left",)

    def __init__(self, count: int = 0) -> None:
        self._left: Iterator[None] = repeat(None, sys.maxsize - count)

    def add(self, count: int = 1) -> None:
        left = self._left
        for _ in range(count):
            next(left)

    def add_removed(self, attributes: dict[str, Any], key: str) -> None:
        """Removes a key and counts it, in one step; neither if another thread has removed it."""
        with contextlib.suppress(KeyError):
            next(zip(map(attributes.pop, (key,)), self._left, strict=False))

    @property
    def value(self) -> int:
        return sys.maxsize - operator.length_hint(self._left)


class Kept(BoundedList):  # type: ignore[type-arg]  # the class takes no arguments at run time
    """The SDK's list of events or links, the oldest of which give way; without its lock.

    A signal handler may end the span on top of an append, on the same thread: it would wait for ever.

    Args:
        maxlen: how many there may be; None for no limit.
    """

    _lost: Count | None = None

    def __init__(self, maxlen: int | None) -> None:
        self._items: deque[Any] = deque(maxlen=maxlen)

    @property
    def dropped(self) -> int:  # type: ignore[override]  # an attribute of the SDK's
        """How many gave way. Threads that fill a full one at once may miscount by one each."""
        return 0 if self._lost is None else self._lost.value

    def append(self, item: Any) -> None:
        items = self._items
        if len(items) == items.maxlen:
            lost = self._lost or self.__dict__.setdefault("_lost", Count())
            lost.add()
        items.append(item)

    def extend(self, seq: Iterable[Any]) -> None:
        for item in seq:
            self.append(item)

    def copy(self) -> Kept:
        """As it is now."""
        made: Kept = object.__new__(Kept)
        made._items = self._items.copy()
        if self._lost is not None:
            made._lost = Count(self._lost.value)
        return made

    def __deepcopy__(self, memo: dict[int, Any]) -> Kept:
        made = memo[id(self)] = self.copy()
        made._items = copy.deepcopy(made._items, memo)
        return made

    def __getitem__(self, index: Any) -> Any:
        return self._items[index]

    def __len__(self) -> int:
        return len(self._items)

    def __iter__(self) -> Iterator[Any]:
        return iter(list(self._items))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({list(self._items)}, maxlen={self._items.maxlen})"
