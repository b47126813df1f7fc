"""Attributes that are the same for many spans: checked once, encoded once, copied by who changes them.

A leaf: instrumentors make them, spans hold them, the encoder keeps their bytes with them. Of a statement or a
command that is run again, checking, copying and encoding seven attributes was a quarter of its span's cost.
"""

from __future__ import annotations

from typing import Any, NoReturn

__all__ = ["Fixed", "FixedError"]


class FixedError(TypeError):
    """Somebody writes to what is fixed: take a copy."""


class Fixed(dict[str, Any]):
    """A dict that is not written to. Its values are texts, numbers and truth values, and no sequences.

    Attributes:
        checked: by which limits of attributes it is clean and has room; None before that is known.
        tag, encoded: what the encoder made of it, under which tag.
        leaf: a span's name, its kind, and what the encoder made of the three: what the span's record begins
            and ends with. One value, so that two threads cannot mix two of them.
        bound: an instrument, and what records with these attributes in it.
    """

    __slots__ = ("bound", "checked", "encoded", "leaf", "tag")

    def __init__(self, attributes: Any) -> None:
        super().__init__(attributes)
        self.checked: object = None
        self.tag = self.encoded = b""
        self.leaf: tuple[str, int, bytes, bytes] = ("", -1, b"", b"")
        self.bound: tuple[object, Any] = (None, None)

    def __setitem__(self, key: str, value: Any) -> NoReturn:
        raise FixedError(f"{key!r} is written to attributes that are fixed; write to dict(attributes)")

    def __delitem__(self, key: str) -> NoReturn:
        raise FixedError(f"{key!r} is removed from attributes that are fixed; take dict(attributes)")

    def __reduce__(self) -> Any:
        # A copy is nobody's but its maker's.
        return dict, (dict(self),)
