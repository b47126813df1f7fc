"""Puts ours in the place of a library's functions, and takes it away again.

A plain function in the place of a plain function: objects made before and after behave alike, and a call
costs one more Python call (wrapt's proxies cost 2 µs, and wrapt imports asyncio).
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from types import TracebackType
from typing import Any, Final

__all__ = ["Patches"]

_ABSENT: Final = object()


class Patches:
    """What was replaced. As a context manager, one that raises has replaced nothing::

    with patches:
        patches.replace(Client, "get", wrapping)
    """

    def __init__(self) -> None:
        self._made: list[tuple[Any, str, Any, Any]] = []

    def replace(self, owner: Any, name: str, make: Callable[[Any], Any], *, here: bool = False) -> None:
        """Replaces a function, method or property.

        Args:
            owner: the class or module. Where a class inherits the method, that of the ancestor is replaced.
            name: the method's.
            make: gets the original, gives the one that takes its place.
            here: replaces it on this very class, from which it is taken away again where that inherits it.

        Raises:
            AttributeError: there is none of that name.
        """
        if isinstance(owner, type):
            found = next((each for each in owner.__mro__ if name in vars(each)), None)
            place = owner if here else found
        else:
            place = found = owner if name in vars(owner) else None
        if found is None or place is None:
            what = f"{owner.__module__}.{owner.__qualname__}" if isinstance(owner, type) else owner.__name__
            raise AttributeError(f"{what} has no {name}()")
        original = vars(found)[name]
        ours = make(original)
        if callable(original):
            functools.update_wrapper(ours, original)
        before = vars(place).get(name, _ABSENT)
        setattr(place, name, ours)
        self._made.append((place, name, before, ours))

    def restore(self) -> None:
        """Puts back what is still ours, the last first. What somebody put on top stays, and calls ours."""
        while self._made:
            owner, name, before, ours = self._made.pop()
            if vars(owner).get(name, _ABSENT) is not ours:
                continue
            if before is _ABSENT:
                delattr(owner, name)
            else:
                setattr(owner, name, before)

    def __enter__(self) -> Patches:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            self.restore()
