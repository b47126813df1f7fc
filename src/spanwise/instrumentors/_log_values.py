"""Values of log records, as OpenTelemetry's SDK takes them without a word."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from spanwise.encode.attributes import MAX_DEPTH, MAX_VALUES, TOO_DEEP, TOO_LARGE, UNENCODABLE

__all__ = ["readable", "whole"]


class _TooLarge(Exception):
    """An attribute holds more than ``MAX_VALUES``."""


def whole(value: Any, longest: int | None) -> Any:
    """A value as the SDK takes it without a word; of what may change, a copy."""
    try:
        return _plain(value, longest, 0, [MAX_VALUES])
    except _TooLarge:
        return TOO_LARGE
    except Exception:  # a container that fails while it is read
        return UNENCODABLE


def _plain(value: Any, longest: int | None, depth: int, left: list[int]) -> Any:
    if isinstance(value, str):
        return value if longest is None or len(value) <= longest else value[:longest]
    if value is None or isinstance(value, (bool, int, float, bytes)):
        return value
    if not isinstance(value, (Sequence, Mapping)):
        text = readable(value)
        return text if longest is None else text[:longest]
    if depth >= MAX_DEPTH:
        return TOO_DEEP
    if isinstance(value, Sequence):
        return tuple([_plain(each, longest, depth + 1, left) for each in value if _take(left)])
    pairs = ((key if isinstance(key, str) else readable(key), each) for key, each in value.items())
    return {key: _plain(each, longest, depth + 1, left) for key, each in pairs if key and _take(left)}


def _take(left: list[int]) -> bool:
    left[0] -= 1
    if left[0] < 0:
        raise _TooLarge
    return True


def readable(value: Any) -> str:
    """Its text; a placeholder where it has none."""
    try:
        return str(value)
    except Exception:
        return UNENCODABLE
