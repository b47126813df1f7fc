"""The values under one attribute key, to the whole encoded pair: the last step of the memo.

What each kind does with a value that it has not met, and how a key whose values never come again is found.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from spanwise.encode.cut import MAX_BYTES, TooLong
from spanwise.encode.pairs import integer, key_field, pair
from spanwise.encode.varint import varint
from spanwise.encode.wire import double, utf8

if TYPE_CHECKING:
    from spanwise.encode.memo import Memo

__all__ = [
    "MAX_TEXT",
    "MAX_VALUES",
    "FloatValues",
    "IntegerValues",
    "TextValues",
    "Values",
    "booleans",
    "nothing",
]

MAX_VALUES: Final = 256
# Bytes. Longer text is encoded by one call into C anyway; keeping it would cost memory
# (4,096 entries of 256 bytes: 1.5 MB at most) and save next to nothing.
MAX_TEXT: Final = 256
# Larger integers are sizes, counts and identifiers: seldom met twice.
_LARGE: Final = 65536


# Sizes of one key's values whose beginnings are kept: 5 kB a key at most. A value of another size is encoded
# whole.
_MOST_SIZES: Final = 64

# New values in a row under one key until none is looked up any more: see _Unheard. Fewer, and a key with many
# values that do come again is taken for one of those; more, and short programs pay for nothing.
_CLOSELY: Final = 64
# Of those keys' values one in so many is offered still: to offer costs as much as to encode.
_SELDOM: Final = 32


class Values(dict[Any, bytes]):
    """Values under one key, to the whole encoded pair."""

    __slots__ = ("_key", "_memo", "_new", "_salt", "field", "heads")

    kind: type  # of the values
    unheard: type  # what takes this one's place under a key whose values do not come again

    def __init__(self, memo: Memo, key: Any) -> None:
        super().__init__()
        self._memo = memo
        self._key = key
        self.field = key_field(key)
        self._salt = hash(self.field)
        # What stands before a value, by the value's size in bytes: few sizes, which come again and again.
        self.heads: dict[int, bytes] = {}
        self._new = 0  # values met since the last one that was kept

    def meet(self, value: Any, encoded: bytes) -> bool:
        """Keeps a pair if its value was met lately; tells whether it was."""
        if self._memo.offer(self, self._salt, value, encoded, MAX_VALUES):
            self._new = 0
            return True
        return False

    def offer(self, value: Any, encoded: bytes) -> bytes:
        """As `meet`; gives its place away when too many in a row were new."""
        if not self.meet(value, encoded):
            self._new += 1
            if self._new >= _CLOSELY:
                self.clear()
                self._place(self, self.unheard(self))
        return encoded

    def come_back(self, instead_of: Any) -> None:
        """Takes its place again: values do come again."""
        self._place(instead_of, self)

    def _place(self, before: Any, after: Any) -> None:
        table = self._memo.kinds[self.kind]
        if table.get(self._key) is before:
            table[self._key] = after

    def head(self, tag: bytes, size: int) -> bytes:
        """What stands before a value of ``size`` bytes that has the AnyValue's ``tag``."""
        body = b"".join((self.field, b"\x12", varint(len(tag) + size), tag))
        head = varint(len(body) + size) + body
        if len(self.heads) < _MOST_SIZES:
            self.heads[size] = head
        return head


class _Unheard:
    """Values under a key where they are always new, as identifiers and full paths are: nothing is looked up.

    One in ``_SELDOM`` is still offered to the memo; when one of those comes again, values are kept again.
    """

    __slots__ = ("_heads", "_left", "_values")

    def __init__(self, values: Values) -> None:
        self._values = values
        self._heads = values.heads
        self._left = _SELDOM

    def _offer(self, value: Any, encoded: bytes) -> bytes:
        self._left = _SELDOM
        if self._values.meet(value, encoded):
            self._values.come_back(self)
        return encoded


class _UnheardTexts(_Unheard):
    __slots__ = ()

    def __getitem__(self, value: str) -> bytes:
        try:
            content = value.encode()
            encoded = self._heads[len(content)] + content
        except (KeyError, UnicodeEncodeError):
            return self._values[value]
        self._left = left = self._left - 1
        return encoded if left else self._offer(value, encoded)


class _UnheardIntegers(_Unheard):
    __slots__ = ()

    def __getitem__(self, value: int) -> bytes:
        # As varint() does, without the call.
        if 0x7F < value < 0x4000:
            content = (value & 0x7F | 0x80 | value << 1 & 0x7F00).to_bytes(2, "little")
        elif 0x3FFF < value < _LARGE:
            content = (value & 0x7F | 0x8080 | value << 1 & 0x7F00 | value << 2 & 0x7F0000).to_bytes(
                3, "little"
            )
        else:
            return self._values[value]
        try:
            encoded = self._heads[len(content)] + content
        except KeyError:
            return self._values[value]
        self._left = left = self._left - 1
        return encoded if left else self._offer(value, encoded)


class TextValues(Values):
    """Texts."""

    __slots__ = ()
    kind = str
    unheard = _UnheardTexts

    def __missing__(self, value: str) -> bytes:
        content = utf8(value)
        size = len(content)
        if size > MAX_TEXT:
            if size > MAX_BYTES:
                raise TooLong
            return pair(self.field, b"\x0a" + varint(size) + content)
        head = self.heads.get(size) or self.head(b"\x0a" + varint(size), size)
        return self.offer(value, head + content)


class IntegerValues(Values):
    """Integers of 64 bits and beyond."""

    __slots__ = ()
    kind = int
    unheard = _UnheardIntegers

    def __missing__(self, value: int) -> bytes:
        if not 0 <= value < _LARGE:
            number = integer(value)
            if len(number) > MAX_BYTES:
                raise TooLong
            return pair(self.field, number)
        content = varint(value)
        size = len(content)
        head = self.heads.get(size) or self.head(b"\x18", size)
        return self.offer(value, head + content)


class FloatValues:
    """Packs every time: it is as quick as a look-up, and 0.0 and -0.0 are equal but not the same."""

    __slots__ = ("_prefix",)

    def __init__(self, _memo: Memo, key: Any) -> None:
        # Nine bytes of AnyValue: tag and double.
        body = key_field(key) + b"\x12\x09\x21"
        self._prefix = varint(len(body) + 8) + body

    def __getitem__(self, value: float) -> bytes:
        return self._prefix + double(value)


def booleans(_memo: Memo, key: Any) -> dict[bool, bytes]:
    """Both values under a key."""
    field = key_field(key)
    return {True: pair(field, b"\x10\x01"), False: pair(field, b"\x10\x00")}


def nothing(_memo: Memo, key: Any) -> dict[None, bytes]:
    """The one value under a key."""
    return {None: pair(key_field(key), b"")}
