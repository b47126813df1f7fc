"""What waits in front of a destination, and how it becomes requests."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from spanwise.deliver.account import Account
from spanwise.encode.request import Piece
from spanwise.log import Log

__all__ = ["WHAT", "Load", "Queue", "Source", "nobody"]

_logger = Log("spanwise.deliver")

# What a signal's items are called in a message to a person.
WHAT = {"traces": "spans", "logs": "log records", "metrics": "metric collections"}

OnUnencodable = Callable[[Any, Exception], None]


@dataclass(frozen=True, slots=True)
class Load:
    """One request, ready to be sent.

    Attributes:
        count: how many items are in it.
        body: its bytes, in pieces.
        held: what the source keeps of it until :meth:`Source.release`.
        adopted: another process recorded it, which was killed: not in this process's books.
    """

    count: int
    body: Sequence[Piece]
    held: object = None
    adopted: bool = False

    @property
    def size(self) -> int:
        """Bytes of the body."""
        return sum(map(len, self.body))


class Source(Protocol):
    """What a channel needs of the place where its items wait. Bounded; counts what it drops.

    Attributes:
        account: the signal's books.
        capacity: items held at most.
    """

    account: Account
    capacity: int

    def wakes(self, wake: Callable[[], None], *, at_once: bool) -> None:
        """Has a function called whenever an item comes and a whole request waits; ``at_once``: any item."""

    def offer(self, item: Any) -> None:
        """Takes an item from any thread; never raises, never blocks."""

    @property
    def waiting(self) -> int:
        """Items taken and not yet loaded."""

    @property
    def full(self) -> bool:
        """Whether a whole request waits."""

    def adopt(self) -> None:
        """Finds what a killed process left to be sent. Delivery thread only, at its start."""

    def load(self, *, partial: bool) -> Load | None:
        """The next request, and each once; a partial one only where asked for. Delivery thread only."""

    def release(self, load: Load, taken: int | None = None) -> None:
        """The load's fate is known: what it held is free again. Delivery thread only.

        Loads are released in any order.

        Args:
            load: one of those that :meth:`load` gave.
            taken: how many of its items were delivered; None: all.
        """

    def discard(self) -> int:
        """Forgets all that waits, and tells how many items that was."""

    def reset(self) -> None:
        """Starts empty in a forked child: what waits is the parent's to deliver."""


def nobody() -> None:
    """Whom a source wakes that no channel has."""


class Queue:
    """Items as objects, encoded when they are sent. For signals with few items.

    Args:
        account: the signal's books.
        encode: items to one request's bytes; tells its second argument of each it leaves out.
        capacity: items held at most. Beyond, new ones are dropped and counted.
        batch: items in one request at most.
    """

    def __init__(
        self,
        account: Account,
        encode: Callable[[Sequence[Any], OnUnencodable], bytes],
        *,
        capacity: int,
        batch: int,
    ) -> None:
        self.account = account
        self._encode = encode
        self.capacity = capacity
        self._batch = min(batch, capacity)
        self.wakes(nobody, at_once=False)
        self.reset()

    def reset(self) -> None:
        self._items: deque[Any] = deque()
        self._left_out = 0

    def adopt(self) -> None:
        """Nothing: objects do not outlive their process."""

    def wakes(self, wake: Callable[[], None], *, at_once: bool) -> None:
        self._wake, self._due = wake, 1 if at_once else self._batch

    def offer(self, item: Any) -> None:
        # A length check and an append, each atomic. Threads that race past the check together may
        # exceed the capacity by their number, which bounds memory as well.
        if len(self._items) >= self.capacity:
            self.account.drop(1, "queue_full")
        else:
            self._items.append(item)
        if len(self._items) >= self._due:
            self._wake()

    @property
    def waiting(self) -> int:
        return len(self._items)

    @property
    def full(self) -> bool:
        return len(self._items) >= self._batch

    def load(self, *, partial: bool) -> Load | None:
        while True:
            count = min(len(self._items), self._batch)
            if count == 0 or (count < self._batch and not partial):
                return None
            items = [self._items.popleft() for _ in range(count)]
            before = self._left_out
            try:
                body = self._encode(items, self._leave_out)
            except Exception:
                _logger.seldom(
                    "%d %s could not be encoded and are dropped",
                    count,
                    WHAT[self.account.signal],
                    exc_info=True,
                )
                self.account.drop(count, "encoding")
                continue
            encoded = count - (self._left_out - before)
            if encoded:
                return Load(encoded, (body,))

    def _leave_out(self, item: Any, error: Exception) -> None:
        self._left_out += 1
        self.account.drop(1, "encoding")
        _logger.seldom("a %s could not be encoded and is dropped: %s", type(item).__name__, error)

    def release(self, load: Load, taken: int | None = None) -> None:
        """Nothing is held: the items went with the request."""

    def discard(self) -> int:
        count = len(self._items)
        self._items.clear()
        return count
