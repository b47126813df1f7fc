"""Looking through what is held weakly while other threads add to it."""

from __future__ import annotations

from typing import TypeVar
from weakref import WeakKeyDictionary

__all__ = ["living"]

K = TypeVar("K")
V = TypeVar("V")


def living(table: WeakKeyDictionary[K, V]) -> list[tuple[K, V]]:
    """The entries of a table whose keys are alive.

    keyrefs() is one step of the interpreter. Every other way to iterate over a weak dictionary or set runs
    Python code between two entries, and raises if another thread adds one there.
    """
    found = []
    for reference in table.keyrefs():
        key = reference()
        if key is not None and key in table:
            found.append((key, table[key]))
    return found
