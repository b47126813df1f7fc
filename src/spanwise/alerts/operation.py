"""What is kept of a slow operation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

__all__ = ["SlowOperation"]


@dataclass(frozen=True, slots=True)
class SlowOperation:
    """A finished span that was rated poor or critical.

    Attributes:
        name: the span's.
        kind: the span's: ``server``, ``client``, ``internal``, ``producer`` or ``consumer``.
        duration: seconds.
        rating: ``poor`` or ``critical``.
        rule: the thresholds' rule that decided.
        limit: the limit that was passed, in seconds.
        trace_id, span_id: in hexadecimal.
        time: when it ended, in seconds since 1970.
        attributes: those that say which operation it was; a SQL statement without its literals.
    """

    name: str
    kind: str
    duration: float
    rating: str
    rule: str
    limit: float
    trace_id: str
    span_id: str
    time: float
    attributes: Mapping[str, str | int | float | bool]

    def as_dict(self) -> dict[str, Any]:
        """The same as a dict that JSON can hold."""
        return asdict(self)
