"""Destinations of a test's making: they read which items a request holds, and answer as they are told."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from spanwise.deliver.account import Account
from spanwise.deliver.answer import Answer, Fate
from spanwise.deliver.channel import Channel
from spanwise.deliver.source import Queue
from spanwise.encode.parts import records, request
from spanwise.encode.request import Piece
from spanwise.encode.wire import nested

TAKEN = Answer(Fate.DELIVERED)


def encode(items: Sequence[Any], _: object = None) -> bytes:
    """A request whose records are the items' texts, of two scopes by turns."""
    scopes = [nested(b"\x0a", b"\x0a\x01a"), nested(b"\x0a", b"\x0a\x01b")]
    return request(
        [(b"", scopes[n // 3 % 2], nested(b"\x12", str(item).encode())) for n, item in enumerate(items)]
    )


def items_of(body: Sequence[Piece]) -> list[str]:
    """The items of a request."""
    return [record[2:].decode() for _, _, record in records(b"".join(body))]


class Destination:
    """Answers each request by its items; keeps what it took, and what it was asked.

    Args:
        answer: from the items and the size of a request to its answer.
    """

    def __init__(self, answer: Callable[[list[str], int], Answer]) -> None:
        self.answer = answer
        self.asked: list[tuple[list[str], Fate]] = []
        self.taken: list[str] = []

    def send(self, body: Sequence[Piece], timeout: float | None = None) -> Answer:
        """As a sender's."""
        items = items_of(body)
        answer = self.answer(items, sum(map(len, body)))
        self.asked.append((items, answer.fate))
        if answer.delivered:
            self.taken += items
        return answer

    def close(self) -> None:
        """Nothing is open."""


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def channel(
    sender: Any,
    *,
    signal: str = "traces",
    capacity: int = 1000,
    batch: int = 10,
    delay: float = 5.0,
    clock: Clock | None = None,
) -> Channel:
    """A channel in front of a destination, with a clock of its own."""
    source = Queue(Account(signal), encode, capacity=capacity, batch=batch)
    made = Channel(source, sender, address="http://there", delay=delay, clock=clock or Clock())
    made.attended(True)
    return made
