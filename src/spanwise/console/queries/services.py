"""Which services are there, and which colour does each have?"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import duckdb

__all__ = ["COLOURS", "colours", "list_services"]

#: How many colours the style sheet has, ``--s0`` and on. More cannot be told apart in a small bar.
COLOURS: Final = 12

# The order in which they came: a service keeps its colour when another one joins.
_SERVICES: Final = "select service from resources group by service order by min(rowid)"


def list_services(cursor: duckdb.DuckDBPyConnection) -> list[str]:
    """Every service that has sent anything, first come first."""
    return [row[0] for row in cursor.execute(_SERVICES).fetchall()]


def colours(services: Iterable[str]) -> dict[str, int]:
    """The number of each service's colour, 0 to ``COLOURS`` - 1.

    The name alone decides, so that a service looks the same in another database; where that colour is taken,
    the later one gets the next that is free. Past ``COLOURS`` services colours repeat.
    """
    found: dict[str, int] = {}
    for service in services:
        number = wished = blake2b(service.encode("utf-8", "replace"), digest_size=8).digest()[0] % COLOURS
        taken = set(found.values())
        while number in taken and len(taken) < COLOURS:
            number = (number + 1) % COLOURS
        found[service] = wished if len(taken) == COLOURS else number
    return found
