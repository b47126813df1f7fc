"""ddtrace, launched by ddtrace-run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ddtrace.trace import tracer


def start() -> None:
    """The launcher has started it."""


def instrument(app: Any, engine: Any) -> None:
    """The launcher has instrumented everything."""


def emit(name: str, trees: Sequence[Sequence[Sequence[tuple[str, Any]]]]) -> None:
    """Makes each tree: a root span with its tags, and its children."""
    begin = tracer.trace
    for root, *children in trees:
        with begin(name) as span:
            for key, value in root:
                span.set_tag(key, value)
            for attributes in children:
                with begin(name) as child:
                    for key, value in attributes:
                        child.set_tag(key, value)


def flush() -> None:
    """Sends all that waits."""
    tracer.flush()
