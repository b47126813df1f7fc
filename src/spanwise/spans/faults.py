"""One logged warning for what goes wrong in code that spans call: processors, samplers, verdicts."""

from __future__ import annotations

from spanwise.log import DEBUG, WARNING, Log

__all__ = ["failed", "printable", "told"]

_logger = Log(__name__)
_seen: set[tuple[str, str]] = set()
# More kinds of failure than this in one process are one failure with many faces; the set stays small.
_AT_MOST = 100


def failed(what: str, culprit: object, error: BaseException) -> None:
    """Logs a failure with its traceback, once for each place and class; later ones at debug level.

    Args:
        what: what was being done, for example ``on_end``.
        culprit: the object whose code raised.
        error: what it raised.
    """
    name = f"{type(culprit).__module__}.{type(culprit).__qualname__}"
    first = (what, name) not in _seen and len(_seen) < _AT_MOST
    if first:
        _seen.add((what, name))
    _logger.log(
        WARNING if first else DEBUG,
        "%s of %s raised; the application goes on. Further ones are logged at debug level.",
        what,
        name,
        exc_info=error,
    )


def printable(value: object) -> str:
    """str(value), or a placeholder with its type when that raises."""
    try:
        return str(value)
    except Exception:
        return f"<unprintable {type(value).__qualname__}>"


def told(error: BaseException) -> tuple[str, str | None]:
    """An exception's message and stack trace without what `spanwise.privacy.exceptions` takes for data.

    Returns:
        The message, and the stack trace where it is not Python's own.
    """
    try:
        from spanwise.privacy.exceptions import redacted  # most processes that start see no exception

        safe = redacted(error)
    except Exception as problem:
        failed("describe an exception", error, problem)
        return "", ""
    return (printable(error), None) if safe is None else (safe.message, safe.stacktrace)
