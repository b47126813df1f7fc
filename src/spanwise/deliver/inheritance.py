"""What killed processes left, one request after the other."""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Sequence

from spanwise.deliver.orphans import Orphan
from spanwise.deliver.source import Load
from spanwise.log import Log

__all__ = ["Inheritance"]

_logger = Log("spanwise.deliver")


class Inheritance:
    """The requests of orphans. An orphan's file is removed when the last of its requests was sent.

    Args:
        orphans: ours from now on.

    Attributes:
        load: the request to be sent next; None when there is no other.
    """

    def __init__(self, orphans: Sequence[Orphan] = ()) -> None:
        self._requests = _requests(list(orphans))
        self.load: Load | None = next(self._requests, None)

    def advance(self) -> None:
        """The request was sent, or refused: on to the next."""
        self.load = next(self._requests, None)

    def close(self) -> None:
        """Leaves what was not sent to the next process."""
        self.load = None
        with contextlib.suppress(ValueError):  # at exit the delivery thread may be reading still
            self._requests.close()


def _requests(orphans: list[Orphan]) -> Generator[Load, None, None]:
    try:
        while orphans:
            yield from _of_one(orphans.pop(0))
    finally:
        for orphan in orphans:
            orphan.close(remove=False)


def _of_one(orphan: Orphan) -> Generator[Load, None, None]:
    sent, count = False, 0
    try:
        for number, body in orphan.requests():
            count += number
            yield Load(number, (body,), adopted=True)
        sent = True
    finally:
        orphan.close(remove=sent)
    if count or orphan.damaged:
        _logger.warning(
            "sent %d %s of a process that was killed%s",
            count,
            "span" if count == 1 else "spans",
            f"; {orphan.damaged} pieces of its memory were damaged" if orphan.damaged else "",
        )
