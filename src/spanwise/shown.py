"""Foreign text as a terminal may have it: a leaf, since reports of several rooms show some."""

from __future__ import annotations

__all__ = ["figure", "printable", "short_repr"]

# Beyond, a number in full is no easier to read.
_MOST_DIGITS = 24


def printable(text: str) -> str:
    """The text without what a terminal would act upon."""
    return "".join(each if each.isprintable() else repr(each)[1:-1] for each in text)


def short_repr(text: str, most: int = 80) -> str:
    """The text in quotes, escaped; beyond ``most`` characters it is cut."""
    return repr(text if len(text) <= most else f"{text[:most]}…")


def figure(value: float, digits: int = 6) -> str:
    """A number as people write one: 600000000, not 6e+08.

    Args:
        value: any; one that is not finite is ``inf``, ``-inf`` or ``nan``.
        digits: those that count.
    """
    text = f"{value:.{digits}g}"
    _, e, exponent = text.partition("e")
    if not e or abs(int(exponent)) > _MOST_DIGITS:
        return text
    from decimal import Decimal  # every start imports this module, and hardly any writes such a number

    return f"{Decimal(text):f}"
