"""A bounded memo of encoded key-value pairs and texts.

Telemetry repeats itself: the same keys on every span, a few methods, routes and status codes. A pair
met before is found with three dictionary look-ups (type, key, value) instead of being encoded again;
that order keeps ``True``, ``1`` and ``1.0`` apart, which are equal and hash alike.

What bounds it:

- A value is kept only when it is met a second time among the last ``MARKS`` new ones, so identifiers
  and time stamps never enter.
- A key that holds ``MAX_VALUES`` values is emptied alone. After ``MAX_INSERTIONS`` the whole memo is:
  dropping rather than refusing, since what an application repeats changes while it runs, and a memo
  that is full of yesterday's values would never help again. What is hot comes back at once.
- A key whose values never come again is no longer looked up at all: see ``memo_values``.
- Insertions are counted, not entries: they are never fewer, and the counter needs no lock.

Threads share it without a lock: each step is one operation on one dictionary. The worst a race does
is to encode a pair twice.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any, Final

from spanwise.encode.cut import MAX_BYTES, TooLong
from spanwise.encode.memo_values import (
    MAX_TEXT,
    MAX_VALUES,
    FloatValues,
    IntegerValues,
    TextValues,
    Values,
    booleans,
    nothing,
)
from spanwise.encode.pairs import key_field, pair
from spanwise.encode.varint import varint
from spanwise.encode.wire import utf8

__all__ = [
    "MARKS",
    "MAX_INSERTIONS",
    "MAX_TEXT",
    "MAX_VALUES",
    "Memo",
    "Texts",
]

MAX_INSERTIONS: Final = 4096
MARKS: Final = 4096


class Memo:
    """Encoded pairs by type, key and value: ``memo.kinds[type(value)][key][value]``.

    Args:
        any_value: encodes what isn't a str, bool, int, float or None: returns an AnyValue's body.
    """

    __slots__ = ("_insertions", "_marks", "_tables", "kinds")

    def __init__(self, any_value: Callable[[Any], bytes]) -> None:
        self._insertions = itertools.count(1)
        self._marks: set[int] = set()
        self._tables: list[dict[Any, Any]] = []
        others = _Others(any_value)
        self.kinds: dict[type, Any] = _Kinds(others)
        self.kinds[str] = _Keys(self, TextValues)
        self.kinds[int] = _Keys(self, IntegerValues)
        self.kinds[bool] = _Keys(self, booleans)
        self.kinds[float] = _Keys(self, FloatValues)
        self.kinds[type(None)] = _Keys(self, nothing)

    def watch(self, table: dict[Any, Any]) -> None:
        """Have a table emptied together with the rest."""
        self._tables.append(table)

    def offer(self, table: dict[Any, Any], salt: int, value: Any, entry: Any, limit: int) -> bool:
        """Keep ``entry`` in ``table`` under ``value`` if the value was met lately; tell whether it was.

        Args:
            table: where to keep it.
            salt: tells one table's values from another's. Two that still share a mark are kept one
                meeting early, no more.
            value: what to find it by.
            entry: what to find.
            limit: entries of the table, at most.
        """
        mark = hash(value) ^ salt
        marks = self._marks
        if mark not in marks:
            if len(marks) >= MARKS:
                marks.clear()
            marks.add(mark)
            return False
        if next(self._insertions) > MAX_INSERTIONS:
            self.clear()
        if len(table) >= limit:
            table.clear()
        table[value] = entry
        return True

    def clear(self) -> None:
        """Forget everything."""
        self._insertions = itertools.count(1)
        for table in self._tables:
            table.clear()

    def __len__(self) -> int:
        """Entries kept: keys, values and texts."""
        count = 0
        for table in self._tables:
            count += len(table)
            count += sum(len(values) for values in table.copy().values() if isinstance(values, Values))
        return count


class _Kinds(dict[type, Any]):
    """The first step: exact types. Subclasses and every other type share one way, which keeps nothing."""

    __slots__ = ("_others",)

    def __init__(self, others: _Others) -> None:
        super().__init__()
        self._others = others

    def __missing__(self, kind: type) -> _Others:
        # Not stored: types made at run time would be kept alive for ever.
        return self._others


class _Keys(dict[str, Any]):
    """The second step: attribute keys, to what encodes a value under that key."""

    __slots__ = ("_make", "_memo")

    def __init__(self, memo: Memo, make: Callable[[Memo, Any], Any]) -> None:
        super().__init__()
        self._memo = memo
        self._make = make
        memo.watch(self)

    def __missing__(self, key: Any) -> Any:
        values = self._make(self._memo, key)
        # 1 and True would share an entry, so only text is kept.
        if type(key) is str and len(key) <= MAX_TEXT:
            self._memo.offer(self, id(self), key, values, MAX_INSERTIONS)
        return values


class _Others:
    """Both steps for every other type, by the same subscripts; nothing is kept or even hashed."""

    __slots__ = ("_any_value",)

    def __init__(self, any_value: Callable[[Any], bytes]) -> None:
        self._any_value = any_value

    def __getitem__(self, key: Any) -> _OtherValues:
        return _OtherValues(key_field(key), self._any_value)


class _OtherValues:
    __slots__ = ("_any_value", "_field")

    def __init__(self, field: bytes, any_value: Callable[[Any], bytes]) -> None:
        self._field = field
        self._any_value = any_value

    def __getitem__(self, value: Any) -> bytes:
        return pair(self._field, self._any_value(value))


class Texts(dict[str, bytes]):
    """A memo of one string field, such as a span's name: text to the whole encoded field.

    Args:
        memo: whose bounds it shares.
        prefix: the field's tag.

    Raises:
        TypeError: on a look-up of what isn't text.
        TooLong: on a look-up of what has to be cut.
    """

    __slots__ = ("_memo", "_prefix")

    def __init__(self, memo: Memo, prefix: bytes) -> None:
        super().__init__()
        self._memo = memo
        self._prefix = prefix
        memo.watch(self)

    def __missing__(self, value: Any) -> bytes:
        if not isinstance(value, str):
            raise TypeError(f"text expected, not {type(value).__name__}")
        content = utf8(value)
        if len(content) > MAX_BYTES:
            raise TooLong
        encoded = self._prefix + varint(len(content)) + content
        if type(value) is str and len(content) <= MAX_TEXT:
            self._memo.offer(self, id(self), value, encoded, MAX_VALUES)
        return encoded
