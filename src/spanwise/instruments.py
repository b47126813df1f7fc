"""Makes instruments of the metrics in :mod:`spanwise.names`, so that name, unit and kind agree."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Generic, TypeVar
from weakref import WeakKeyDictionary

from opentelemetry.context import Context
from opentelemetry.metrics import CallbackOptions, Meter, Observation
from opentelemetry.trace import SpanContext

from spanwise.fixed import Fixed
from spanwise.names import Metric

__all__ = ["ByMeter", "Callback", "make", "recorder"]

T = TypeVar("T")
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


def recorder(instrument: Any, attributes: Fixed) -> Callable[..., None]:
    """What measures with attributes that are the same each time: half the cost of the instrument's method.

    Args:
        instrument: a histogram or a counter, of any provider's.
        attributes: of the measurements; they remember the one instrument that they were last used with.

    Returns:
        A function of the amount, of the context that it was measured in and, by who knows it, of the span
        context in that, if its span is sampled.
    """
    owner, record = attributes.bound
    if owner is not instrument:
        method = getattr(instrument, "record", None) or instrument.add
        bind = getattr(method, "bind", None)
        record = _unbound(method, attributes) if bind is None else bind(attributes)
        attributes.bound = (instrument, record)
    return record  # type: ignore[no-any-return]


def _unbound(method: Callable[..., None], attributes: Fixed) -> Callable[..., None]:
    def record(amount: float, context: Context, _: SpanContext | None = None) -> None:
        method(amount, attributes, context)

    return record


class ByMeter(Generic[T]):
    """Holds what observes the observable instruments of a meter: one a meter, by calling this.

    A meter keeps the first callbacks of an instrument and ignores those of a second one by its name. Whoever
    is switched off and on again has therefore to be the same object.

    Args:
        kind: makes it, with its instruments.
    """

    def __init__(self, kind: Callable[[Meter], T]) -> None:
        self._kind = kind
        self._made: WeakKeyDictionary[Meter, T] = WeakKeyDictionary()

    def __call__(self, meter: Meter) -> T:
        found = self._made.get(meter)
        if found is None:
            found = self._made[meter] = self._kind(meter)
        return found
