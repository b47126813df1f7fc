"""What the application is told about its use of the small API: each thing once, and never by an exception."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable
from difflib import get_close_matches
from typing import Any, Final

__all__ = ["guarded", "is_amount", "suggestion", "tell"]

_logger = logging.getLogger("spanwise")

# Texts that are remembered. Beyond, they are told at debug level: a text made of data must fill neither the
# memory nor the log.
_MOST: Final = 200
_told: set[str] = set()


def tell(text: str) -> None:
    """Logs a warning, at debug level when it was logged before.

    Args:
        text: names the thing, the place and what to do.
    """
    level = logging.WARNING
    if text in _told or len(_told) >= _MOST:
        level = logging.DEBUG
    else:
        _told.add(text)
    _logger.log(level, "%s", text)


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
        tell(f"could not {doing}: {error}")
    except Exception as error:
        tell(
            f"could not {doing} ({type(error).__name__}: {error}); the application is not affected, but "
            "telemetry is missing. Please report this"
        )
    return None


def is_amount(value: object) -> bool:
    """Whether a value is a finite number from 0 on."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < math.inf


def suggestion(given: object, known: Iterable[str]) -> str:
    """Asks whether the nearest was meant, or lists what there is."""
    choices = list(known)
    close = get_close_matches(str(given).lower().replace(" ", "_"), choices, n=1)
    return f"Did you mean {close[0]!r}?" if close else f"There are: {', '.join(choices)}"
