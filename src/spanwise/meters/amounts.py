"""What was measured as a plain number. One amount that is none costs itself alone, and is told.

The SDK adds whatever it is given, so that one Decimal in a sum fails every later amount. Here only an int
of 64 bits and a float come to an aggregation.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final

from spanwise.log import WARNING, Log

__all__ = ["PLAIN", "Refused", "amount_of", "checked"]

# The SDK's logger, so that filters that applications have for its messages go on working.
_logger = Log("opentelemetry.sdk.metrics._internal.instrument")

PLAIN: Final = frozenset((int, float))
"""The types that amounts have once they are checked."""

_INT64: Final = 1 << 63
_MOST_SHOWN: Final = 60  # characters of a refused amount
_NOT_FINITE: Final = "it is not finite"


class Refused:
    """Amounts that cannot be used, until they can be told: not below a lock, as handlers may do anything.

    Args:
        instrument: its name.
        level: of the messages, as :mod:`logging` has it. That a number is not finite is always a warning, as
            with the SDK.
    """

    __slots__ = ("_instrument", "_level", "_reasons")

    def __init__(self, instrument: str, level: int = WARNING) -> None:
        self._instrument = instrument
        self._level = level
        self._reasons: dict[str, tuple[int, str]] = {}

    def add(self, amount: Any, error: Exception) -> None:
        """Notes one."""
        reason = type(error).__name__ if not isinstance(error, _UnusableError) else str(error)
        count, shown = self._reasons.get(reason, (0, ""))
        self._reasons[reason] = count + 1, shown or _shown(amount)

    def tell(self) -> None:
        """Logs them, once a minute for an instrument and a reason."""
        reasons, self._reasons = self._reasons, {}
        for reason, (count, shown) in reasons.items():
            more = f", and {count - 1} more," if count > 1 else ""
            why = f"{self._instrument}, ignoring measurement: {reason}".replace("%", "%%")
            level = WARNING if reason == _NOT_FINITE else self._level
            _logger.seldom(f"Amount %s%s cannot be used on {why}", shown, more, level=level)


class _UnusableError(Exception):
    """Why an amount cannot be used, as a user reads it."""


def amount_of(amount: Any, *, signed: bool) -> float:
    """The plain number behind an amount: of a bool, a member of an enumeration, a Decimal, a NumPy scalar.

    Args:
        amount: anything.
        signed: whether it may be negative.

    Raises:
        Exception: it is no number, not finite, or negative where it must not be; or whatever it raises.
    """
    kind = type(amount)
    plain: float
    if kind is float:
        plain = amount
    elif isinstance(amount, int):
        plain = int.__index__(amount)
    elif hasattr(kind, "__index__"):
        plain = kind.__index__(amount)
    elif hasattr(kind, "__float__"):
        plain = float(amount)
    else:
        raise _UnusableError("it is no number")
    if type(plain) is not float:
        plain = int.__index__(plain)  # type: ignore[arg-type]
        if not -_INT64 <= plain < _INT64:
            try:
                plain = float(plain)
            except OverflowError:
                raise _UnusableError("it is too large") from None
    if not math.isfinite(plain):
        raise _UnusableError(_NOT_FINITE)
    if plain < 0 and not signed:
        raise _UnusableError("it is negative")
    return plain


def checked(amounts: Sequence[Any], refused: Refused, *, signed: bool) -> list[float]:
    """Those of the amounts that can be used, as plain numbers."""
    usable = []
    for amount in amounts:
        try:
            usable.append(amount_of(amount, signed=signed))
        except Exception as error:
            refused.add(amount, error)
    return usable


def _shown(amount: Any) -> str:
    try:
        text = repr(amount)
    except Exception:  # an int of 5,000 digits, too
        return f"<{type(amount).__name__} that cannot be shown>"
    return text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}..."
