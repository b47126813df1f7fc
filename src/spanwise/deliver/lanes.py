"""The spans of one scope: a request holds them together, so they are written together."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from spanwise.deliver.orphans import LENGTHS
from spanwise.deliver.segment import Chunk
from spanwise.encode.resource import resource_frame, scope_frame

__all__ = ["EMPTY", "Lane", "Lanes"]

EMPTY = Chunk(0, bytearray(), 0, lambda chunk: None)
"""Has no room: the first span of a lane takes a real one."""


class Lane:
    """One scope of one resource.

    Attributes:
        resource, scope: whose it is.
        opening: what its chunks begin with.
        chunk: the one that is being filled.
    """

    __slots__ = ("chunk", "opening", "resource", "scope")

    def __init__(self, resource: Any, scope: Any) -> None:
        self.resource, self.scope = resource, scope
        parts = (*resource_frame(resource), *scope_frame(scope))
        self.opening = LENGTHS.pack(*map(len, parts)) + b"".join(parts)
        self.chunk = EMPTY


class Lanes:
    """All of them, in the order in which they came.

    Attributes:
        latest: by the id of the scope, which its lane keeps alive: that of the resource that came last. A
            process has one resource as a rule.
    """

    __slots__ = ("_all", "latest")

    def __init__(self) -> None:
        self._all: dict[tuple[int, int], Lane] = {}
        self.latest: dict[int, Lane] = {}

    def __iter__(self) -> Iterator[Lane]:
        return iter(self._all.values())

    def of(self, resource: Any, scope: Any) -> Lane:
        """The lane of a scope, made where there is none."""
        key = id(resource), id(scope)
        lane = self._all.get(key)
        if lane is None:
            lane = self._all[key] = Lane(resource, scope)
        self.latest[id(scope)] = lane
        return lane

    def clear(self) -> None:
        """Forgets them."""
        self._all.clear()
        self.latest.clear()
