"""What the application is told about its use of the small API: each thing once, and never by an exception."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from difflib import get_close_matches
from typing import Any, Final

from spanwise.log import DEBUG, WARNING, Log

__all__ = ["guarded", "is_amount", "shown", "suggestion", "tell", "text"]

_logger = Log("spanwise")

# Texts that are remembered. Beyond, they are told at debug level: a text made of data must fill neither the
# memory nor the log.
_MOST: Final = 200
_told: set[str] = set()


def tell(message: str) -> None:
    """Logs a warning, at debug level when it was logged before.

    Args:
        message: names the thing, the place and what to do.
    """
    level = WARNING
    if message in _told or len(_told) >= _MOST:
        level = DEBUG
    else:
        _told.add(message)
    _logger.log(level, "%s", message)


def guarded(doing: str, function: Callable[..., Any], *arguments: Any) -> Any:
    """Calls a function of ours. What it raises is told, and costs telemetry only.

    Args:
        doing: what fails then, after "could not".
        function, arguments: the call. A ValueError's text is for the user.

    Returns:
        What it returns; None where it raised.
    """
    try:
        return function(*arguments)
    except ValueError as error:
        tell(f"could not {doing}: {text(error)}")
    except Exception as error:
        tell(
            f"could not {doing} ({type(error).__name__}: {text(error)}); the application is not affected, "
            "but telemetry is missing. Please report this"
        )
    return None


def is_amount(value: object) -> bool:
    """Whether a value is a finite number from 0 on."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < math.inf


def text(value: object) -> str:
    """A value as a text; a placeholder where its ``__str__`` raises."""
    try:
        return str(value)
    except Exception:
        return f"<{type(value).__name__}>"


def shown(value: object) -> str:
    """A value as a warning shows it: as code has it, and not more than 80 characters."""
    try:
        return repr(value)[:80]
    except Exception:
        return f"<{type(value).__name__}>"


def suggestion(given: object, known: Iterable[str]) -> str:
    """Asks whether the nearest was meant, or lists what there is."""
    choices = list(known)
    close = get_close_matches(text(given).lower().replace(" ", "_"), choices, n=1)
    return f"Did you mean {close[0]!r}?" if close else f"There are: {', '.join(choices)}"
