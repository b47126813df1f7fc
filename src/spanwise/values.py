"""Text to value: what the settings' variables may hold.

Each parser raises ValueError for what it cannot use, and :class:`Partly` where some of it can be. No message
shows the text itself: it may be secret.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable, Mapping
from urllib.parse import unquote

from spanwise.shown import short_repr

__all__ = [
    "Partly",
    "boolean",
    "headers",
    "milliseconds",
    "names",
    "one_of",
    "pairs",
    "path",
    "sentences",
    "specified_boolean",
    "unreadable",
    "whole",
    "without_secrets",
]

# A time-out shorter than that is most likely meant in seconds, which other SDKs take it for.
_SHORTEST_TIMEOUT = 100
_LONGEST_NAME = 40  # characters of a header's name in a message
_MOST_TOLD = 5  # of pairs that cannot be sent
_NO_PATH = "not a valid path"
# RFC 9110, 5.6.2
_TOKEN = frozenset("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
# Those that say how a request is framed: an export sets them itself, and another's would break it.
_OURS = frozenset(
    ("connection", "content-encoding", "content-length", "content-type", "expect", "te", "trailer")
) | {"transfer-encoding", "upgrade"}


class Partly(ValueError):
    """Something of a text can be used.

    Args:
        value: what holds.
        what: what is wrong with the rest, and what became of it.
    """

    def __init__(self, value: object, what: str) -> None:
        super().__init__(what)
        self.value = value


def specified_boolean(text: str) -> bool:
    """True or false as the specification spells them: ``true`` and ``false``, in any case."""
    return one_of("true", "false")(text) == "true"


def boolean(text: str) -> bool:
    """True or false as people spell them in our own settings: also 1, yes, on, and their opposites."""
    return one_of("true", "1", "yes", "on", "false", "0", "no", "off")(text) in ("true", "1", "yes", "on")


def names(text: str) -> tuple[str, ...]:
    """Names separated by commas; empty ones are left out."""
    return tuple(part.strip() for part in text.split(",") if part.strip())


def whole(least: int, most: int) -> Callable[[str], int]:
    """A parser of whole numbers from ``least`` up; above ``most``, that one holds."""

    def parse(text: str) -> int:
        # int() refuses thousands of digits as no number at all.
        huge = len(text) > 50 and text.isascii() and text.isdigit()
        try:
            number = most + 1 if huge else int(text)
        except ValueError:
            number = least - 1
        if number < least:
            raise ValueError(f"expected a whole number, {least} or more")
        if number > most:
            raise Partly(most, f"the maximum is {most}")
        return number

    return parse


def milliseconds(most: int) -> Callable[[str], int]:
    """A parser of time-outs up to ``most``. One that hardly any server can meet is used, with a message."""
    parse_number = whole(1, most)

    def parse(text: str) -> int:
        number = parse_number(text)
        if number < _SHORTEST_TIMEOUT:
            raise Partly(number, f"the unit is milliseconds. Did you mean {number * 1000}?")
        return number

    return parse


def pairs(text: str) -> list[tuple[str, str | None]]:
    """``key=value`` pairs separated by commas, percent-encoded; None as a value where there is no ``=``."""
    found: list[tuple[str, str | None]] = []
    for part in names(text):
        key, separator, value = part.partition("=")
        found.append((unquote(key.strip()), unquote(value.strip()) if separator else None))
    return found


def path(text: str) -> str:
    """A path that a file system can have."""
    try:
        usable = b"\0" not in os.fsencode(text)
    except UnicodeEncodeError:  # a surrogate
        usable = False
    if not usable:
        raise ValueError(_NO_PATH)
    return text


def headers(
    given: str | Mapping[object, object] | Iterable[tuple[object, object]],
) -> tuple[tuple[str, str], ...]:
    """Names in lower case and values of HTTP headers, from text, a mapping or pairs.

    Raises:
        Partly: some can be sent. It tells which cannot, by position and name, never by value.
        ValueError: none can.
    """
    if isinstance(given, str):
        found: list[tuple[object, object]] = [*pairs(given)]
    else:
        found = list(given.items() if isinstance(given, Mapping) else given)
    good: dict[str, str] = {}
    bad = []
    for position, (name, value) in enumerate(found, 1):
        problem = _problem(name, value)
        if problem:
            bad.append(f"pair {position}{problem}")
        else:
            good[str(name).lower()] = str(value)
    if bad:
        more = [f"and {len(bad) - _MOST_TOLD} more"] if len(bad) > _MOST_TOLD else []
        what = "; ".join([*bad[:_MOST_TOLD], *more])
        raise Partly(tuple(good.items()), what) if good else ValueError(what)
    return tuple(good.items())


def _problem(name: object, value: object) -> str:
    """Why a header cannot be sent, to follow its position; empty where it can."""
    if value is None:
        # The whole of it may be a token that stands here by mistake.
        return " has no '=' (write a comma within a value as %2C)"
    if not isinstance(name, str) or not isinstance(value, (str, int, float)):
        return " is not text"
    shown = f" ({_shown(name)})"
    if not name or not _TOKEN.issuperset(name):
        return f"{shown} is not a valid header name"
    if name.lower() in _OURS:
        return f"{shown} is set by the exporter itself"
    # Latin-1 without control characters is what HTTP/1.1 carries (RFC 9110, 5.5).
    if any((each < " " and each != "\t") or each == "\x7f" or each > "\xff" for each in str(value)):
        return f"{shown} has a character in its value that no header can carry"
    return ""


def _shown(name: str) -> str:
    """A header's name for a message, without what may be a secret: ``Authorization: Bearer …`` has one."""
    shown = name.partition(":")[0]
    first, blank, _ = shown.strip().partition(" ")
    if blank and first.lower() in ("authorization", "basic", "bearer", "token", "apikey", "api-key"):
        shown = f"{first} …"
    return short_repr(shown, _LONGEST_NAME)


def sentences(first: str, second: str) -> str:
    """Two sentences of a message in one text."""
    return f"{first}{'' if first.endswith('?') else '.'} {second}"


def one_of(*allowed: str) -> Callable[[str], str]:
    """A parser of the ``allowed`` words, in any case."""

    def parse(text: str) -> str:
        value = text.strip().lower()
        if value not in allowed:
            raise ValueError(f"expected one of {', '.join(allowed)}")
        return value

    return parse


def without_secrets(url: str) -> str:
    """A URL as a message may show it: without user, password and query."""
    scheme, slashes, rest = url.partition("//")
    host, slash, path = (rest if slashes else url).partition("/")
    start = f"{scheme}{slashes}" if slashes else ""
    return f"{start}{host.rpartition('@')[2]}{slash}{path.partition('?')[0]}"


def unreadable(path: str) -> str:
    """Why a file or folder cannot be read; empty where it can. It is not opened: a pipe would block."""
    try:
        kind = os.stat(path).st_mode
        if stat.S_ISFIFO(kind) or stat.S_ISSOCK(kind):
            return "Not a regular file"
        return "" if os.access(path, os.R_OK) else "Permission denied"
    except OSError as error:
        return error.strerror or type(error).__name__
    except ValueError:  # a NUL, or what no file system has for a character
        return _NO_PATH
