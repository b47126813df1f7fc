"""Logfire, sending by OTLP instead of to its own service."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import logfire
from drivers.otel import flush_metrics

__all__ = ["emit", "flush", "flush_metrics", "instrument", "start"]


def start() -> None:
    """Configures it; the endpoint comes from the OTEL_ variables."""
    logfire.configure(send_to_logfire=False, console=False, service_name="bench")


def instrument(app: Any, engine: Any) -> None:
    """Instruments the libraries one by one, as it asks."""
    logfire.instrument_flask(app)
    logfire.instrument_sqlalchemy(engine)
    logfire.instrument_redis()


def emit(name: str, trees: Sequence[Sequence[Sequence[tuple[str, Any]]]]) -> None:
    """Makes each tree: a root span with its attributes, and its children."""
    begin = logfire.span
    for root, *children in trees:
        with begin(name) as span:
            for key, value in root:
                span.set_attribute(key, value)
            for attributes in children:
                with begin(name) as child:
                    for key, value in attributes:
                        child.set_attribute(key, value)


def flush() -> None:
    """Sends all that waits."""
    logfire.force_flush()
