"""What killed processes left, one request after the other."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence

from spanwise.deliver.orphans import Orphan
from spanwise.deliver.source import Load
from spanwise.log import Log

__all__ = ["Inheritance"]

_logger = Log("spanwise.deliver")


class Inheritance:
    """The requests of orphans. An orphan's file is removed when the last of its requests is settled.

    Args:
        orphans: ours from now on.

    Attributes:
        load: the request to be sent next; None when there is no other.
    """

    def __init__(self, orphans: Sequence[Orphan] = ()) -> None:
        self._waiting = deque(_Heritage(orphan) for orphan in orphans)
        self._taken: list[_Heritage] = []  # of which requests are under way
        self.load = self._next()

    def take(self) -> Load | None:
        """The request to be sent next, once."""
        load, self.load = self.load, None
        if load is not None:
            self.load = self._next()
        return load

    def settle(self, load: Load, taken: int) -> None:
        """A request's fate is known.

        Args:
            load: the request.
            taken: how many of its spans were delivered.
        """
        of = load.held
        if isinstance(of, _Heritage) and of in self._taken:
            of.under_way -= 1
            of.taken += taken
            self._finish(of)

    def close(self) -> None:
        """Leaves what was not sent to the next process."""
        self.load = None
        for each in {*self._taken, *self._waiting}:
            each.close()
        self._taken.clear()
        self._waiting.clear()

    def _next(self) -> Load | None:
        while self._waiting:
            first = self._waiting[0]
            load = first.next()
            if load is not None:
                if first not in self._taken:
                    self._taken.append(first)
                return load
            self._waiting.popleft()
            if first not in self._taken:
                self._taken.append(first)
            self._finish(first)
        return None

    def _finish(self, of: _Heritage) -> None:
        if of.read_to_the_end and not of.under_way:
            self._taken.remove(of)
            of.finish()


class _Heritage:
    """One orphan's requests.

    Attributes:
        under_way: how many of them were given out and not settled.
        taken: spans that were delivered.
        read_to_the_end: whether there are no more.
    """

    def __init__(self, orphan: Orphan) -> None:
        self.orphan = orphan
        self.under_way = 0
        self.taken = 0
        self.read_to_the_end = False
        self._count = 0
        self._unreadable = self._closed = False
        self._requests: Iterator[tuple[int, bytes]] = orphan.requests()

    def next(self) -> Load | None:
        try:
            found = next(self._requests, None)
        except OSError as error:
            if not self._closed:
                _logger.warning("%s cannot be read, and is left: %s", self.orphan.path, error)
            self._unreadable, found = True, None
        if found is None:
            self.read_to_the_end = True
            return None
        count, body = found
        self._count += count
        self.under_way += 1
        return Load(count, (body,), self, adopted=True)

    def close(self) -> None:
        """Leaves it to the next process; the signal's thread may be reading it still."""
        if not self._closed:
            self._closed = True
            self.orphan.close(remove=False)

    def finish(self) -> None:
        """All that could be read is settled."""
        if self._closed:
            return
        self._closed = True
        self.orphan.close(remove=not self._unreadable)
        if not self._count and not self.orphan.damaged:
            return
        of = "" if self.taken == self._count else f" of {self._count}"
        _logger.warning(
            "sent %d%s %s of a process that was killed%s",
            self.taken,
            of,
            "span" if self._count == 1 else "spans",
            f"; {self.orphan.damaged} pieces of its memory were damaged" if self.orphan.damaged else "",
        )
