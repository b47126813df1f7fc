"""One request under way: what is left of it to be sent, in one part or in several."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from spanwise.deliver.account import Account
from spanwise.deliver.answer import Fate
from spanwise.deliver.retry import Backoff
from spanwise.deliver.source import Load
from spanwise.encode.parts import Record, records, request
from spanwise.encode.request import Piece

__all__ = ["Part", "Request"]

# A part this near in size to one that was too large is halved without being sent.
_AS_LARGE = 0.75


@dataclass(slots=True)
class Part:
    """What is sent at once.

    Attributes:
        body: its bytes, in pieces.
        count: items in it.
        records: what it can be halved into; None before it was taken apart.
    """

    body: Sequence[Piece]
    count: int
    records: Sequence[Record] | None = None

    @property
    def size(self) -> int:
        """Bytes of the body."""
        return sum(map(len, self.body))


class Request:
    """A load on its way, and in the books as far as it is settled.

    A refused request of n items is halved, and whatever half is refused is halved in turn, the largest first,
    until one item is refused alone. What is in it is looked for in log₂n halvings, of two requests each: they
    find one bad item. Of several, what is refused when they are used up is dropped with what is good in it.
    What is too large may be halved twice as often, since it takes as many requests as its size does anyway.

    Args:
        load: what the source gave.
        account: the signal's books.
        backoff: how long to wait after each failure.

    Attributes:
        attempts: how often something of it was sent, and ``refusals`` how often that was refused.
        tries: how often sending it failed since something of it was settled.
        not_before: monotonic seconds: no attempt until then.
        overtaken: another request was delivered after this one had failed: the destination is well.
        waiting: items whose fate is not yet known.
        taken: items that were delivered.
        reason: of its last failure.
    """

    def __init__(self, load: Load, account: Account, backoff: Backoff) -> None:
        self.load = load
        self.attempts = self.refusals = self.tries = 0
        self.not_before = 0.0
        self.reason = ""
        self.overtaken = False
        self.waiting = load.count
        self.taken = 0
        self._account = account
        self._backoff = backoff
        self._parts = deque([Part(load.body, load.count)])
        self._left: int | None = None  # of twice log₂n
        # What was refused for its size, the smallest.
        self._too_large = float("inf")
        # Of metrics, a load counts collections, which have no halves in the books: whether any was taken.
        self._undivided = False
        self._any_taken = False

    @property
    def done(self) -> bool:
        """Whether all of it is settled."""
        return not self._parts

    @property
    def part(self) -> Part:
        """What is to be sent next."""
        return self._parts[0]

    def take(self, rejected: int) -> int:
        """The part was delivered.

        Args:
            rejected: how many of its items were not taken, as the answer's partial success says.

        Returns:
            The same, and not more than are in the part.
        """
        part = self._parts.popleft()
        rejected = min(rejected, part.count)
        self._account.sent_bytes += part.size
        self._any_taken = True
        self._settle(part.count - rejected, rejected, "rejected")
        return rejected

    def drop(self, reason: str) -> int:
        """Gives the part up, and returns how many items that costs."""
        part = self._parts.popleft()
        return self._settle(0, part.count, reason)

    def drop_all(self, reason: str) -> int:
        """Gives all that is left up, and returns how many items that costs."""
        return sum([self.drop(reason) for _ in range(len(self._parts))])

    def failed(self, now: float, retry_after: float | None) -> None:
        """Not sent, this time: sets :attr:`not_before`."""
        self.not_before = now + self._backoff.failed(retry_after)

    def halve(self, fate: Fate) -> bool:
        """Replaces the refused part by its halves; False where it is a single item, or often enough."""
        part = self._parts[0]
        if fate is Fate.TOO_LARGE:
            self._too_large = min(self._too_large, part.size)
        if not self._halve(cost=1 if fate is Fate.TOO_LARGE else 2):
            return False
        # The other half is as large: sending it would only cost time.
        while self._parts[0].size >= _AS_LARGE * self._too_large and self._halve(cost=0):
            pass
        return True

    def _halve(self, *, cost: int) -> bool:
        part = self._parts[0]
        found = part.records if part.records is not None else self._take_apart(part)
        if len(found) < 2 or self._left is None or self._left < cost:
            return False
        self._left -= cost
        self._parts.popleft()
        middle = len(found) // 2
        for half in (found[:middle], found[middle:]):
            # At the end: the largest are sent first, so that little is left when the number is used up.
            self._parts.append(Part((request(half),), 0 if self._undivided else len(half), half))
        self.tries = 0
        return True

    def _take_apart(self, part: Part) -> Sequence[Record]:
        try:
            found = records(b"".join(part.body))
        except ValueError:  # damaged: it is refused as one
            found = []
        self._undivided = len(found) != self.load.count
        self._left = 2 * max(0, len(found) - 1).bit_length()
        return found

    def _settle(self, taken: int, lost: int, reason: str) -> int:
        """Puts it in the books; returns how many items are lost."""
        self.tries = 0
        self._backoff.succeeded()
        if self._undivided:
            if self._parts:
                return 0
            taken, lost = (self.load.count, 0) if self._any_taken else (0, self.load.count)
        account = self._account
        self.waiting -= taken + lost
        self.taken += taken
        if self.load.adopted:  # another process recorded it, and has it in its own
            account.adopted += taken
            account.adopted_lost += lost
        else:
            account.delivered += taken
            if lost:
                account.drop(lost, reason)
        return lost
