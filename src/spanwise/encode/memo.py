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
- Insertions are counted, not entries: they are never fewer, and the counter needs no lock.

Threads share it without a lock: each step is one operation on one dictionary. The worst a race does
is to encode a pair twice.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any, Final

from spanwise.encode.varint import varint
from spanwise.encode.wire import double, utf8

__all__ = [
    "MARKS",
    "MAX_INSERTIONS",
    "MAX_TEXT",
    "MAX_VALUES",
    "Memo",
    "Texts",
    "pair",
]

MAX_INSERTIONS: Final = 4096
MAX_VALUES: Final = 256
MARKS: Final = 4096
# Bytes. Longer text is encoded by one call into C anyway; keeping it would cost memory
# (4,096 entries of 256 bytes: 1.5 MB at most) and save next to nothing.
MAX_TEXT: Final = 256
# Larger integers are sizes, counts and identifiers: seldom met twice.
_LARGE: Final = 65536


# New values under one key until it is no longer looked at closely: see _Values. Fewer, and a key with
# many values that do come again fills the memo slowly; more, and short programs pay for nothing.
_CLOSELY: Final = 64


def pair(key: bytes, value: bytes) -> bytes:
    """A KeyValue message behind its length, without a tag: it stands in many fields.

    Args:
        key: the key's field, tag and length included.
        value: the AnyValue's body.
    """
    body = b"".join((key, b"\x12", varint(len(value)), value))
    return varint(len(body)) + body


def _key_field(key: Any) -> bytes:
    name = utf8(key if isinstance(key, str) else str(key))
    return b"\x0a" + varint(len(name)) + name


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
        self.kinds[str] = _Keys(self, _TextValues)
        self.kinds[int] = _Keys(self, _IntegerValues)
        self.kinds[bool] = _Keys(self, _booleans)
        self.kinds[float] = _Keys(self, _FloatValues)
        self.kinds[type(None)] = _Keys(self, _nothing)

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
            count += sum(len(values) for values in table.copy().values() if isinstance(values, _Values))
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


class _Values(dict[Any, bytes]):
    """The third step: values under one key, to the whole encoded pair."""

    __slots__ = ("_field", "_heads", "_memo", "_new", "_salt")

    def __init__(self, memo: Memo, key: Any) -> None:
        super().__init__()
        self._memo = memo
        self._field = _key_field(key)
        self._salt = hash(self._field)
        # What stands before a value, by the value's size in bytes: few sizes, which come again and again.
        self._heads: dict[int, bytes] = {}
        self._new = 0  # values met since the last one that was kept

    def _offer(self, value: Any, encoded: bytes) -> None:
        if self._memo.offer(self, self._salt, value, encoded, MAX_VALUES):
            self._new = 0

    def _head(self, tag: bytes, size: int) -> bytes:
        """What stands before a value of ``size`` bytes that has the AnyValue's ``tag``."""
        body = b"".join((self._field, b"\x12", varint(len(tag) + size), tag))
        head = self._heads[size] = varint(len(body) + size) + body
        return head


# In the two below, offering costs as much as encoding. A key whose values are always new (an identifier,
# a full path) offers one in eight of them.


class _TextValues(_Values):
    __slots__ = ()

    def __missing__(self, value: str) -> bytes:
        try:
            content = value.encode()
        except UnicodeEncodeError:
            content = utf8(value)
        size = len(content)
        if size > MAX_TEXT:
            return pair(self._field, b"\x0a" + varint(size) + content)
        heads = self._heads
        encoded = (heads[size] if size in heads else self._head(b"\x0a" + varint(size), size)) + content
        self._new = new = self._new + 1
        if new < _CLOSELY or not new & 7:
            self._offer(value, encoded)
        return encoded


class _IntegerValues(_Values):
    __slots__ = ()

    def __missing__(self, value: int) -> bytes:
        if not 0 <= value < _LARGE:
            return pair(self._field, integer(value))
        content = varint(value)
        size = len(content)
        heads = self._heads
        encoded = (heads[size] if size in heads else self._head(b"\x18", size)) + content
        self._new = new = self._new + 1
        if new < _CLOSELY or not new & 7:
            self._offer(value, encoded)
        return encoded


class _FloatValues:
    """Packs every time: it is as quick as a look-up, and 0.0 and -0.0 are equal but not the same."""

    __slots__ = ("_prefix",)

    def __init__(self, _memo: Memo, key: Any) -> None:
        # Nine bytes of AnyValue: tag and double.
        body = _key_field(key) + b"\x12\x09\x21"
        self._prefix = varint(len(body) + 8) + body

    def __getitem__(self, value: float) -> bytes:
        return self._prefix + double(value)


def _booleans(_memo: Memo, key: Any) -> dict[bool, bytes]:
    field = _key_field(key)
    return {True: pair(field, b"\x10\x01"), False: pair(field, b"\x10\x00")}


def _nothing(_memo: Memo, key: Any) -> dict[None, bytes]:
    return {None: pair(_key_field(key), b"")}


def integer(value: int) -> bytes:
    """The AnyValue of an integer: text where it needs more than 64 bits, which OTLP cannot hold.

    Decimal as far as Python will print it, hexadecimal beyond.
    """
    if -(1 << 63) <= value < (1 << 63):
        return b"\x18" + varint(value)
    try:
        content = int.__repr__(value).encode()
    except ValueError:
        # Past sys.get_int_max_str_digits().
        content = hex(value).encode()
    return b"\x0a" + varint(len(content)) + content


class _Others:
    """Both steps for every other type, by the same subscripts; nothing is kept or even hashed."""

    __slots__ = ("_any_value",)

    def __init__(self, any_value: Callable[[Any], bytes]) -> None:
        self._any_value = any_value

    def __getitem__(self, key: Any) -> _OtherValues:
        return _OtherValues(_key_field(key), self._any_value)


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
        encoded = self._prefix + varint(len(content)) + content
        if type(value) is str and len(content) <= MAX_TEXT:
            self._memo.offer(self, id(self), value, encoded, MAX_VALUES)
        return encoded
