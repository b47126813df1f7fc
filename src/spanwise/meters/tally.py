"""The integers into which caches are counted: see :mod:`spanwise.meters.cache`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from opentelemetry.util.types import AttributeValue

from spanwise import names
from spanwise.log import Log

__all__ = ["OTHER", "Cell", "Tally"]

_logger = Log("spanwise.meters")

OTHER: Final = "_OTHER"
"""The name under which further caches are counted together."""


class Cell:
    """A count.

    Attributes:
        value: only ever grows; anyone may add to it.
        inherited: of it, what the parent of a forked process had counted.
    """

    __slots__ = ("inherited", "value")

    def __init__(self) -> None:
        self.value = self.inherited = 0

    @property
    def own(self) -> int:
        """What this process has counted."""
        return self.value - self.inherited


class Tally:
    """What is counted of the caches of one name.

    Attributes:
        system: the library.
        evicted: entries dropped for others.
    """

    __slots__ = ("_cells", "_name", "evicted", "system")

    def __init__(self, system: str, name: str | Callable[[], str]) -> None:
        self.system = system
        self.evicted = Cell()
        self._name = name
        self._cells: dict[tuple[str, str], Cell] = {}

    @property
    def name(self) -> str:
        """The name, found out when it is first asked for."""
        if not isinstance(self._name, str):
            try:
                self._name = self._name()
            except Exception:
                _logger.debug("a cache's name cannot be found out", exc_info=True)
                self._name = OTHER
        return self._name

    @name.setter
    def name(self, name: str) -> None:
        self._name = name

    def cell(self, operation: str, outcome: str) -> Cell:
        """The count of an outcome."""
        key = (operation, outcome)
        return self._cells.get(key) or self._cells.setdefault(key, Cell())

    def counts(self) -> list[tuple[tuple[str, str], int]]:
        """What there is: operation, outcome and count."""
        return [(key, cell.own) for key, cell in list(self._cells.items()) if cell.own]

    def begin_anew(self) -> None:
        """What there is was counted by the parent."""
        for cell in (*self._cells.values(), self.evicted):
            cell.inherited = cell.value

    def labels(self, operation: str, outcome: str) -> dict[str, AttributeValue]:
        """The attributes of an outcome."""
        return {
            names.CACHE_NAME: self.name,
            names.CACHE_SYSTEM: self.system,
            names.CACHE_OPERATION_NAME: operation,
            names.CACHE_OUTCOME: outcome,
        }
