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
        watched = known[0] if known is not None else ref(thing, self._forget(key))
        self._entries[key] = (watched, value)

    def get(self, thing: object) -> T | None:
        """The object's value; None where it has none."""
        found = self._entries.get(id(thing))
        return None if found is None else found[1]

    def remove(self, thing: object) -> bool:
        """Takes the object out. False where it was not in."""
        return self._entries.pop(id(thing), None) is not None

    def values(self) -> list[T]:
        """The values of all objects that live, at one moment."""
        return [value for _, value in list(self._entries.values())]

    def _forget(self, key: int) -> Callable[[ref[Any]], None]:
        # Called before the object's address is anybody else's: the weakref module promises the call when the
        # object is about to be finalized.
        entries = self._entries
        return lambda _: _drop(entries, key)


def _drop(entries: dict[int, Any], key: int) -> None:
    entries.pop(key, None)
