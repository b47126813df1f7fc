"""Functions put in the place of others, and back."""

from __future__ import annotations

from typing import Any, Final

__all__ = ["Patches"]

_ABSENT: Final = object()


class Patches:
    """What was replaced. An attribute that a class had only inherited is taken away again."""

    def __init__(self) -> None:
        self._replaced: list[tuple[Any, str, Any]] = []

    def put(self, owner: Any, name: str, value: Any) -> None:
        """Replaces an attribute of a class or module."""
        self._replaced.append((owner, name, vars(owner).get(name, _ABSENT)))
        setattr(owner, name, value)

    def undo(self) -> None:
        """Puts everything back, the last first."""
        while self._replaced:
            owner, name, before = self._replaced.pop()
            if before is _ABSENT:
                delattr(owner, name)
            else:
                setattr(owner, name, before)
