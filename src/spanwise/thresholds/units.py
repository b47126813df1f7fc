"""Figures as people write them: ``500MB``, ``1.5s``, ``10%``, ``5/h``. Exact: decimal until the end.

A duration is whole nanoseconds. MB is 10⁶ bytes and MiB 2²⁰, as IEC 80000-13 has it.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Final, NamedTuple

from spanwise.thresholds.document import Node, suggestion
from spanwise.thresholds.shapes import shape

__all__ = ["Quantity", "count", "duration", "duration_text", "quantity", "share", "words"]

_DURATIONS: Final = {
    "ns": 1,
    "us": 1_000,
    "µs": 1_000,
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "m": 60_000_000_000,
    "h": 3_600_000_000_000,
    "d": 86_400_000_000_000,
}
_BYTES: Final = {
    "B": 1,
    **{f"{prefix}B": 1000**power for power, prefix in enumerate(("k", "M", "G", "T"), 1)},
    **{f"{prefix}iB": 1024**power for power, prefix in enumerate(("K", "M", "G", "T"), 1)},
    "KB": 1000,
}
# For editors: of the numbers that text may begin with, any; what is too long or too fine is said later.
_FIGURE: Final = r"^\s*[0-9]+(\.[0-9]+)?\s*"
_NUMBER = re.compile(r"(?P<number>-?[0-9]{1,18}(?:\.[0-9]{1,18})?)\s*(?P<unit>\S*)", re.ASCII)
# A year: above it a duration is a mistake, and far below what 64-bit nanoseconds hold.
_LONGEST: Final = 366 * _DURATIONS["d"]


class Quantity(NamedTuple):
    """A limit with what its unit says of it.

    Attributes:
        number: in seconds, bytes, a share, or plain.
        unit: ``s``, ``By``, ``%`` or, without one, empty.
        per: nanoseconds, for a rate such as ``5/h``; 0 for none.
    """

    number: float
    unit: str
    per: int = 0


def _split(node: Node, what: str) -> tuple[Decimal, str]:
    text = node.text(what).strip()
    found = _NUMBER.fullmatch(text)
    if found is None:
        raise node.error(f"expected {what}, found {text[:60]!r}")
    number = Decimal(found["number"])
    if number < 0:
        raise node.error(f"{text} is below zero")
    return number, found["unit"]


@shape(
    type="string", pattern=rf"{_FIGURE}({'|'.join(_DURATIONS)})\s*$", examples=["250ms", "1.5s", "5m", "30d"]
)
def duration(node: Node) -> int:
    """A duration above zero, in nanoseconds: ``250ms``, ``1.5s``, ``5m``, ``1h``, ``30d``."""
    number, unit = _split(node, "a duration such as 250ms, 1.5s or 5m")
    if unit not in _DURATIONS:
        raise node.error(
            f"{node.value!r} is no duration",
            "Add a unit: ms, s, m, h" if not unit else suggestion(unit, _DURATIONS),
        )
    exact = number * _DURATIONS[unit]
    if exact != exact.to_integral_value():
        raise node.error(f"{node.value!r} is finer than a nanosecond")
    if exact == 0:
        raise node.error("a duration must be above zero")
    if exact > _LONGEST:
        raise node.error(f"{node.value!r} is longer than a year")
    return int(exact)


@shape(
    anyOf=[
        {"type": "number", "minimum": 0, "maximum": 1},
        {"type": "string", "pattern": rf"{_FIGURE}%?\s*$", "examples": ["10%", "99.9%"]},
    ]
)
def share(node: Node) -> float:
    """A share between 0 and 1, written ``10%`` or ``0.1``."""
    number, unit = _split(node, "a share such as 10%")
    if unit not in ("", "%"):
        raise node.error(f"{node.value!r} is no share", "Write it as 10%")
    exact = number / 100 if unit else number
    if exact > 1:
        raise node.error(
            f"{node.value!r} is more than the whole", "" if unit else f"Did you mean {node.value}%?"
        )
    return float(exact)


@shape(anyOf=[{"type": "integer", "minimum": 0}, {"type": "string", "pattern": r"^\s*[0-9]+(\.0*)?\s*$"}])
def count(node: Node) -> int:
    """A whole number, 0 or more."""
    number, unit = _split(node, "a whole number")
    if unit or number != number.to_integral_value():
        raise node.error(f"{node.value!r} is no whole number")
    return int(number)


@shape(
    anyOf=[
        {"type": "number", "minimum": 0},
        {
            "type": "string",
            "pattern": rf"{_FIGURE}({'|'.join([*_BYTES, *_DURATIONS])}|%|/({'|'.join(_DURATIONS)}))?\s*$",
            "examples": ["500MB", "1.5s", "10%", "5/h"],
        },
    ]
)
def quantity(node: Node) -> Quantity:
    """A limit: a plain number, a duration, an amount of bytes, a percentage, or a rate such as ``5/h``."""
    number, unit = _split(node, "a number such as 500MB, 1.5s, 10% or 5/h")
    if not unit:
        return Quantity(float(number), "")
    if unit == "%":
        return Quantity(float(number / 100), "%")
    if unit in _BYTES:
        return Quantity(float(number * _BYTES[unit]), "By")
    if unit in _DURATIONS:
        return Quantity(float(number * _DURATIONS[unit] / 1_000_000_000), "s")
    if unit.startswith("/") and unit[1:] in _DURATIONS:
        return Quantity(float(number), "", _DURATIONS[unit[1:]])
    known = [*_BYTES, *_DURATIONS, "%", "/h", "/m", "/s"]
    raise node.error(f"{unit!r} is no unit", suggestion(unit, known))


@shape(type="array", items={"type": "string"})
def words(node: Node) -> tuple[str, ...]:
    """A list of words."""
    return tuple(each.text("a word") for each in node.sequence("a list such as [error, poor]"))


def duration_text(nanoseconds: int) -> str:
    """The shortest exact writing in one unit: 1500000000 is ``1500ms``, 3600000000000 is ``1h``."""
    for unit in ("d", "h", "m", "s", "ms", "us"):
        if nanoseconds and nanoseconds % _DURATIONS[unit] == 0:
            return f"{nanoseconds // _DURATIONS[unit]}{unit}"
    return f"{nanoseconds}ns"
