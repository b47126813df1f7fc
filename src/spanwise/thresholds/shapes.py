"""What a field's text may look like, as JSON Schema: said beside the function that reads it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

__all__ = ["shape", "shape_of"]

Read = TypeVar("Read", bound=Callable[..., Any])

_SHAPES: dict[Callable[..., Any], Mapping[str, Any]] = {}


def shape(**schema: Any) -> Callable[[Read], Read]:
    """Says what the decorated function reads.

    Args:
        schema: JSON Schema's keywords. At least as wide as what the function accepts: an editor must not
            mark what works.
    """

    def mark(read: Read) -> Read:
        _SHAPES[read] = schema
        return read

    return mark


def shape_of(read: Callable[..., Any]) -> dict[str, Any]:
    """The schema of what a function reads. Raises KeyError where none was said."""
    return dict(_SHAPES[read])
