"""Every arm that is launched before the program and used through the OpenTelemetry API."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from opentelemetry import metrics, trace


def start() -> None:
    """The launcher has started it."""


def instrument(app: Any, engine: Any) -> None:
    """The launcher has instrumented everything."""


def emit(name: str, trees: Sequence[Sequence[Sequence[tuple[str, Any]]]]) -> None:
    """Makes each tree: a root span with its attributes, and its children."""
    begin = trace.get_tracer("bench").start_as_current_span
    for root, *children in trees:
        with begin(name) as span:
            for key, value in root:
                span.set_attribute(key, value)
            for attributes in children:
                with begin(name) as child:
                    for key, value in attributes:
                        child.set_attribute(key, value)


def flush() -> None:
    """Sends all spans that wait."""
    trace.get_tracer_provider().force_flush()


def flush_metrics() -> None:
    """Collects and sends the metrics."""
    metrics.get_meter_provider().force_flush()
