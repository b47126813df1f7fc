"""The spans as replay takes them from any source: the few fields that a decision needs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

__all__ = ["ERROR", "KINDS", "TRACE_ID_BYTES", "Batch", "Losses", "Span", "first_of_each"]

KINDS: Final = ("unspecified", "internal", "server", "client", "producer", "consumer")
"""By OTLP's number (opentelemetry-proto, SpanKind)."""

ERROR: Final = 2
"""OTLP's number of a failed span's status."""

TRACE_ID_BYTES: Final = 16

# What is told one by one; the rest is counted.
_MOST_TOLD: Final = 10


class Span(NamedTuple):
    """One finished span.

    Attributes:
        trace_id: 16 bytes, not all zero.
        name: its name.
        kind: OTLP's number, the index in KINDS.
        start, end: nanoseconds since the Unix epoch.
        status: OTLP's number: 0 unset, 1 ok, 2 error.
        attributes: by key. Integers stay exact; what is no text, number or truth value is only there.
        size: its bytes, as the source has it.
    """

    trace_id: bytes
    name: str
    kind: int
    start: int
    end: int
    status: int
    attributes: dict[str, Any]
    size: int


class Batch(NamedTuple):
    """Spans of one resource.

    Attributes:
        resource: the resource's attributes.
        spans: its spans.
    """

    resource: Mapping[str, Any]
    spans: list[Span]


class Losses:
    """What could not be read.

    Attributes:
        problems: the first few, each with its place; ``more`` counts the others.
        spans: spans that are known to be lost.
        size: bytes of lines, messages and ends of files of which nothing is known.
    """

    def __init__(self) -> None:
        self.problems: list[str] = []
        self.more = 0
        self.spans = 0
        self.size = 0

    def add(self, place: str, what: str, *, spans: int = 0, size: int = 0) -> None:
        """Counts a loss.

        Args:
            place: file, and line or byte.
            what: what is wrong there.
            spans: how many spans it is known to be.
            size: else, how many bytes.
        """
        self.spans += spans
        self.size += size
        if len(self.problems) < _MOST_TOLD:
            self.problems.append(f"{place}: {what}")
        else:
            self.more += 1

    def __bool__(self) -> bool:
        return bool(self.problems)


def first_of_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Attributes by key; of a repeated key the first counts, as in the Collector."""
    found = dict(pairs)
    return found if len(found) == len(pairs) else dict(reversed(pairs))
