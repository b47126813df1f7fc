"""What is longer than 1 MiB is cut when it is encoded, marked with `names.TRUNCATED`, and counted.

A receiver takes requests of 4 MiB as a rule: one value beyond that would lose all that it is sent with. What
is to be cut is found on the quick way by its size alone, which then raises `TooLong`; the slow way cuts.
"""

from __future__ import annotations

from itertools import count
from typing import Any, Final

from spanwise import names
from spanwise.encode.wire import utf8
from spanwise.log import Log

__all__ = [
    "MAX_BYTES",
    "MAX_VALUES",
    "Room",
    "TooLong",
    "TooManyValues",
    "cut",
    "cut_so_far",
    "tell_cut",
    "with_mark",
]

_logger = Log(__name__)

MAX_BYTES: Final = 1 << 20
"""Bytes of a name, a key, or the texts and bytes of one value together."""

# Values in one attribute, nested ones included. A list that holds a list ten times over, ten levels
# deep, is small in memory and gigabytes when written out; so is range(10**9).
MAX_VALUES: Final = 100_000


class TooLong(Exception):
    """A text, or the texts of one value, are longer than ``MAX_BYTES``."""


class TooManyValues(Exception):
    """An attribute holds more than ``MAX_VALUES``."""


class Room:
    """How much one attribute may still hold.

    Args:
        cuts: whether what is longer is cut; else it raises `TooLong`.

    Attributes:
        cut: how many texts were cut.
    """

    __slots__ = ("_bytes", "_cuts", "_values", "cut")

    def __init__(self, *, cuts: bool) -> None:
        self._values = MAX_VALUES
        self._bytes = MAX_BYTES
        self._cuts = cuts
        self.cut = 0

    def take_value(self) -> None:
        """Makes room for one more value inside another."""
        self._values -= 1
        if self._values < 0:
            raise TooManyValues

    def text(self, value: str) -> bytes:
        """A text as UTF-8, cut to what there is room for."""
        # Not encoded whole first: a character takes a byte or more.
        content = utf8(value if len(value) <= self._bytes else value[: self._bytes + 1])
        if len(content) > self._bytes:
            content = _whole_characters(self._without(content))
        self._bytes -= len(content)
        return content

    def content(self, value: bytes) -> bytes:
        """Bytes, cut to what there is room for."""
        if len(value) > self._bytes:
            value = self._without(value)
        self._bytes -= len(value)
        return value

    def _without(self, value: bytes) -> bytes:
        if not self._cuts:
            raise TooLong
        self.cut += 1
        return value[: self._bytes]


def _whole_characters(content: bytes) -> bytes:
    return content.decode("utf-8", "ignore").encode()


def cut(value: str) -> tuple[str, int]:
    """A name that is no longer than may be, and how many were cut: 1 or 0."""
    if len(value) * 4 <= MAX_BYTES:
        return value, 0
    room = Room(cuts=True)
    content = room.text(value)
    return (content.decode(), 1) if room.cut else (value, 0)


_numbers: Final = count(1)
_so_far = 0


def tell_cut(number: int, key: Any) -> None:
    """Counts what was cut, and tells of it.

    Args:
        number: how many.
        key: of which attribute, or which field.
    """
    global _so_far
    for _ in range(number):
        _so_far = next(_numbers)
    _logger.seldom(
        "%s was longer than %d bytes and is cut (the attribute %s tells how many were); the application's own"
        " value is as it was",
        key,
        MAX_BYTES,
        names.TRUNCATED,
    )


def with_mark(attributes: Any, cuts: int, field: str) -> Any:
    """The attributes with the mark of a name that was cut."""
    if not cuts:
        return attributes
    tell_cut(cuts, field)
    try:
        marked = dict(attributes or {})
    except Exception:
        return attributes  # whatever it is, it is told of where it is encoded
    before = marked.get(names.TRUNCATED, 0)
    marked[names.TRUNCATED] = cuts + (before if type(before) is int else 0)
    return marked


def cut_so_far() -> int:
    """How many texts of this process were cut."""
    return _so_far
