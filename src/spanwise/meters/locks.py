"""A lock that a forked child finds open: a thread that the child does not have may have held it."""

from __future__ import annotations

import threading
from types import TracebackType
from weakref import WeakSet

from spanwise.forks import after_any_fork

__all__ = ["ForkLock"]


class ForkLock:
    """A reentrant lock, for some assignments and nothing that waits."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        _all.add(self)

    def renew(self) -> None:
        """Opens it, whoever holds it."""
        self._lock = threading.RLock()

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lock.release()


_all: WeakSet[ForkLock] = WeakSet()


def _renew_all() -> None:
    for lock in list(_all):
        lock.renew()


after_any_fork(_renew_all)
