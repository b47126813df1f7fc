"""No telemetry: what everything else is compared with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def start() -> None:
    """Nothing to start."""


def instrument(app: Any, engine: Any) -> None:
    """Nothing to instrument."""


def emit(name: str, trees: Sequence[Sequence[Sequence[tuple[str, Any]]]]) -> None:
    """Nothing to emit."""


def flush() -> None:
    """Nothing to flush."""
