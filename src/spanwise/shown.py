"""Foreign text as a terminal may have it: a leaf, since reports of several rooms show some."""

from __future__ import annotations

__all__ = ["printable"]


def printable(text: str) -> str:
    """The text without what a terminal would act upon."""
    return "".join(each if each.isprintable() else repr(each)[1:-1] for each in text)
