"""A library's classes: their instances found."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Any

__all__ = ["Function", "instances"]

Function = Callable[..., Any]


def instances(of: type) -> list[Any]:
    """All objects of a class and its subclasses that there are: each refers to its class."""
    kinds: list[type] = [of]
    for kind in kinds:
        below: list[type] = type.__subclasses__(kind)
        kinds += [each for each in below if each not in kinds]
    # By type: asking any other object for its class may run its code.
    return [each for each in gc.get_referrers(*kinds) if type(each) in kinds]
