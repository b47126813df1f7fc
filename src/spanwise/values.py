"""Text to value: what the settings' variables may hold. Each raises ValueError on anything else."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import unquote

__all__ = [
    "at_least",
    "boolean",
    "headers",
    "names",
    "not_negative",
    "one_of",
    "positive",
    "specified_boolean",
]


def specified_boolean(text: str) -> bool:
    """True or false as the specification spells them: ``true`` and ``false``, in any case."""
    return one_of("true", "false")(text) == "true"


def boolean(text: str) -> bool:
    """True or false as people spell them in our own settings: also 1, yes, on, and their opposites."""
    return one_of("true", "1", "yes", "on", "false", "0", "no", "off")(text) in ("true", "1", "yes", "on")


def names(text: str) -> tuple[str, ...]:
    """Names separated by commas; empty ones are left out."""
    return tuple(part.strip() for part in text.split(",") if part.strip())


def at_least(least: int) -> Callable[[str], int]:
    """A parser of whole numbers from ``least`` up."""

    def parse(text: str) -> int:
        number = int(text)
        if number < least:
            raise ValueError(f"expected a whole number, {least} or more")
        return number

    return parse


positive, not_negative = at_least(1), at_least(0)


def headers(text: str) -> tuple[tuple[str, str], ...]:
    """``key=value`` pairs separated by commas, percent-encoded, keys in lower case."""
    pairs = []
    for part in names(text):
        key, separator, value = part.partition("=")
        if not separator or not key.strip():
            raise ValueError("expected key=value pairs separated by commas")
        pairs.append((unquote(key.strip()).lower(), unquote(value.strip())))
    return tuple(pairs)


def one_of(*allowed: str) -> Callable[[str], str]:
    """A parser of the ``allowed`` words, in any case."""

    def parse(text: str) -> str:
        value = text.strip().lower()
        if value not in allowed:
            raise ValueError(f"expected one of {', '.join(allowed)}")
        return value

    return parse
