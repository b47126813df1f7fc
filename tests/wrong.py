"""Values that are wrong for most arguments, each made anew: what a property test passes to public calls."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from opentelemetry.trace import Link, SpanContext

__all__ = ["WRONG", "Raising"]


class Raising:
    """Raises whatever is asked of it."""

    def _raise(self, *_: Any) -> Any:
        raise ValueError("not with me")

    __str__ = __repr__ = __bool__ = __len__ = __iter__ = __eq__ = __hash__ = __getitem__ = _raise  # type: ignore[assignment]
    __index__ = __float__ = __call__ = _raise

    def __getattr__(self, name: str) -> Any:
        raise ValueError(name)


def cyclic() -> list[Any]:
    made: list[Any] = [1]
    made.append(made)
    return made


def deep() -> dict[str, Any]:
    made: dict[str, Any] = {}
    for _ in range(2000):
        made = {"k": made}
    return made


WRONG: dict[str, Callable[[], Any]] = {
    "none": lambda: None,
    "five": lambda: 5,
    "minus": lambda: -1,
    "float": lambda: 1.5,
    "nan": lambda: math.nan,
    "infinity": lambda: math.inf,
    "huge": lambda: 10**30,
    "true": lambda: True,
    "text": lambda: "x",
    "empty": lambda: "",
    "surrogate": lambda: "\ud800",
    "bytes": lambda: b"\xff",
    "list": list,
    "numbers": lambda: [1, 2],
    "pairs": lambda: [("a", 1)],
    "tuple": lambda: (1,),
    "mapping": lambda: {"a": 1},
    "odd keys": lambda: {5: 6, None: 7, ("a",): 8, "": 9},
    "odd values": lambda: {"a": object(), "b": Raising(), "c": cyclic(), "d": {1: {2: 3}}},
    "object": object,
    "raising": Raising,
    "cyclic": cyclic,
    "deep": deep,
    "function": lambda: print,
    "class": lambda: int,
    "error": lambda: ValueError("x"),
    "generator": lambda: iter([1, 2]),
    "set": lambda: {1},
    "link": lambda: Link(SpanContext(1, 2, False)),
    "odd link": lambda: Link(5, 6),  # type: ignore[arg-type]
    "links": lambda: [None, 5, Link(None), Link("x", {"a": 1}), Link(SpanContext(1, 2, False), 5)],  # type: ignore[arg-type]
    "context": lambda: SpanContext(1, 2, False),
}
