"""Spans that fit no chunk. They wait as objects of this process, and do not outlive a kill."""

from __future__ import annotations

from collections import deque

from spanwise.deliver.lanes import Lane

__all__ = ["MOST_BYTES", "LargeRecords"]

MOST_BYTES = 4 * 1024 * 1024
"""In one request: the default limit of gRPC receivers and of many proxies in front of any."""

_MOST_WAITING = 8 * MOST_BYTES


class LargeRecords:
    """A bounded queue of records. Not thread-safe: its owner locks."""

    def __init__(self) -> None:
        self._waiting: deque[tuple[Lane, bytes]] = deque()
        self._bytes = 0

    def add(self, lane: Lane, record: bytes) -> bool:
        """Takes a record of a lane; tells whether there was room."""
        if self._bytes + len(record) > _MOST_WAITING:
            return False
        self._waiting.append((lane, record))
        self._bytes += len(record)
        return True

    def collect(self) -> list[tuple[Lane, bytes]]:
        """The oldest, at least one and as many as a request bears."""
        taken: list[tuple[Lane, bytes]] = []
        size = 0
        while self._waiting and (not taken or size + len(self._waiting[0][1]) <= MOST_BYTES):
            taken.append(self._waiting.popleft())
            size += len(taken[-1][1])
        self._bytes -= size
        return taken
