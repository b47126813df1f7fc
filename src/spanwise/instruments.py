"""Makes instruments of the metrics in :mod:`spanwise.names`, so that name, unit and kind agree."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from opentelemetry.metrics import CallbackOptions, Meter, Observation

from spanwise.names import Metric

__all__ = ["Callback", "make"]

Callback = Callable[[CallbackOptions], Iterable[Observation]]

_SYNCHRONOUS = {
    "counter": "create_counter",
    "updowncounter": "create_up_down_counter",
    "gauge": "create_gauge",
}
_OBSERVABLE = {
    "counter": "create_observable_counter",
    "updowncounter": "create_observable_up_down_counter",
    "gauge": "create_observable_gauge",
}


def make(meter: Meter, metric: Metric, *callbacks: Callback) -> Any:
    """The instrument of a metric.

    Args:
        meter: makes it.
        metric: name, unit, description, kind, and a histogram's boundaries.
        callbacks: observe it when metrics are collected, on the delivery thread; without any, the instrument
            is one to record with. A histogram takes none.

    Returns:
        What the meter makes: of any meter's class, hence untyped.
    """
    if metric.kind == "histogram":
        buckets = metric.buckets or None
        return meter.create_histogram(
            metric.name, metric.unit, metric.description, explicit_bucket_boundaries_advisory=buckets
        )
    if callbacks:
        create = getattr(meter, _OBSERVABLE[metric.kind])
        return create(metric.name, list(callbacks), metric.unit, metric.description)
    return getattr(meter, _SYNCHRONOUS[metric.kind])(metric.name, metric.unit, metric.description)
