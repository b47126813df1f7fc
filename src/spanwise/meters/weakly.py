"""Objects watched without keeping them alive, told apart by identity. No lock: a collector may call in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar
from weakref import ref

__all__ = ["WeakTable"]

T = TypeVar("T")


class WeakTable(Generic[T]):
    """A value for each of some live objects, which need be neither hashable nor comparable.

    An object's entry goes with it. That may happen inside any allocation, below any lock, so nothing here
    waits for one: each step is a single operation on a dict.
    """

    def __init__(self) -> None:
        self._entries: dict[int, tuple[ref[Any], T]] = {}

    def set(self, thing: object, value: T) -> None:
        """Gives the object a value, whether it has one or not.

        Raises:
            TypeError: it cannot be referenced weakly.
        """
        key = id(thing)
        known = self._entries.get(key)
        watched = known[0] if known is not None and known[0]() is thing else ref(thing, self._forget(key))
        self._entries[key] = (watched, value)

    def get(self, thing: object) -> T | None:
        """The object's value; None where it has none."""
        found = self._entries.get(id(thing))
        return found[1] if found is not None and found[0]() is thing else None

    def remove(self, thing: object) -> bool:
        """Takes the object out. False where it was not in."""
        return self.get(thing) is not None and self._entries.pop(id(thing), None) is not None

    def values(self) -> list[T]:
        """The values of all objects that live, at one moment."""
        return [value for watched, value in list(self._entries.values()) if watched() is not None]

    def _forget(self, key: int) -> Callable[[ref[Any]], None]:
        entries = self._entries

        def forget(gone: ref[Any]) -> None:
            found = entries.get(key)
            # Another object may have the address by now.
            if found is not None and found[0] is gone:
                entries.pop(key, None)

        return forget
