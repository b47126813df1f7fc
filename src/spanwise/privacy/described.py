"""An exception's class and message as they are. What redacts them, a start need not import."""

from __future__ import annotations

__all__ = ["message_of", "type_name"]


def type_name(error: BaseException) -> str:
    """An exception's class as ``error.type`` wants it: with its module, except for built-in ones."""
    kind = type(error)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def message_of(error: BaseException | None) -> str:
    """An exception's message as it is; a placeholder where its ``__str__`` raises."""
    try:
        return "" if error is None else str(error)
    except Exception:
        return f"<{type(error).__name__} whose message cannot be read>"
