"""A library's classes: their methods replaced and restored, their instances found."""

from __future__ import annotations

import functools
import gc
from collections.abc import Callable
from typing import Any

__all__ = ["Function", "Replacements", "instances"]

Function = Callable[..., Any]


class Replacements:
    """Methods that ours stand in for."""

    def __init__(self) -> None:
        self._replaced: list[tuple[type, str, Any, Any]] = []

    def replace(self, owner: type, name: str, replacing: Callable[[Any], Any]) -> None:
        """Puts another one in a method's place, or in a property's.

        Args:
            owner: the class that defines it.
            name: its name.
            replacing: makes the other one of the original.
        """
        original = owner.__dict__[name]
        ours = replacing(original)
        if callable(original):
            functools.update_wrapper(ours, original)
        setattr(owner, name, ours)
        self._replaced.append((owner, name, original, ours))

    def restore(self) -> None:
        """Puts the originals back. What somebody has put on top of ours stays."""
        for owner, name, original, ours in self._replaced:
            if owner.__dict__.get(name) is ours:
                setattr(owner, name, original)
        self._replaced.clear()


def instances(of: type) -> list[Any]:
    """All objects of a class and its subclasses that there are: each refers to its class."""
    kinds: list[type] = [of]
    for kind in kinds:
        below: list[type] = type.__subclasses__(kind)
        kinds += [each for each in below if each not in kinds]
    # By type: asking any other object for its class may run its code.
    return [each for each in gc.get_referrers(*kinds) if type(each) in kinds]
