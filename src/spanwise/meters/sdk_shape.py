"""Every place where the meters rely on how the SDK's metrics look inside, and nothing else.

Written against opentelemetry-sdk 1.45 (`TESTED_SDK`). Each item has a check in
tests/unit/meters/test_metrics_shape.py that goes red when another version looks different. Where the process
can tell at import (`SHAPE_HOLDS`), instruments are left as the SDK makes them.
"""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import repeat
from time import time_ns
from typing import Any, Final

from opentelemetry.context import Context
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.view import DefaultAggregation
from opentelemetry.trace import SpanContext

from spanwise.meters import sdk_reservoirs
from spanwise.meters.amounts import PLAIN

__all__ = [
    "SHAPE_HOLDS",
    "TESTED_SDK",
    "add_all",
    "add_next",
    "aggregations",
    "are_taken",
    "call_last",
    "forget_others",
    "identity",
    "is_taken",
    "kept_keys",
    "register_at_once",
    "renew_locks",
    "storages",
]

TESTED_SDK: Final = "1.45"
"""The SDK series (major.minor) that this module was written and tested against."""

_REENTRANT: Final = type(threading.RLock())

try:
    from opentelemetry.sdk.metrics._internal._view_instrument_match import _hash_attributes
    from opentelemetry.sdk.metrics._internal.aggregation import (
        _ExplicitBucketHistogramAggregation,
        _LastValueAggregation,
        _SumAggregation,
    )
    from opentelemetry.sdk.metrics._internal.measurement import Measurement
    from opentelemetry.sdk.metrics._internal.measurement_consumer import SynchronousMeasurementConsumer

    _found = True
except ImportError:
    _found = False


def identity(attributes: Mapping[str, Any]) -> Any:
    """What the SDK tells attribute sets apart by: values and their types, in any order."""
    return _hash_attributes(attributes)


def kept_keys(consumer: Any, instrument: Any) -> frozenset[str] | None:
    """The attribute keys that some view of some reader keeps; None where one keeps all, or there is none."""
    kept: set[str] = set()
    if not consumer._reader_storages:
        return None
    for storage in consumer._reader_storages.values():
        for match in storage._get_or_init_view_instrument_match(instrument):
            if match._view._attribute_keys is None:
                return None
            kept.update(match._view._attribute_keys)
    return frozenset(kept)


def is_taken(consumer: Any, instrument: Any) -> bool:
    """Whether :func:`aggregations` might have to wait for a lock, perhaps one of the thread that asks."""
    return any(
        _locked(match)
        for storage in consumer._reader_storages.values()
        for match in storage._instrument_view_instrument_matches.get(instrument, ())
    )


def are_taken(aggregations: Iterable[Any]) -> bool:
    """Whether :func:`add_next` or :func:`offer` might have to wait for a lock."""
    return any(_locked(each) or _locked(each._reservoir) for each in aggregations)


def _locked(owner: Any) -> bool:
    locked = getattr(getattr(owner, "_lock", None), "locked", None)  # those that have none are reentrant
    return locked is not None and locked()


def aggregations(
    consumer: Any, instrument: Any, attributes: Mapping[str, Any], began: int
) -> tuple[Any, ...]:
    """The aggregations of every reader and view that a measurement with these attributes goes to.

    The SDK makes them with the first measurement, and so does this, where there are none yet.

    Args:
        consumer: the provider's, which keeps the readers.
        instrument: the SDK's.
        attributes: as a measurement has them, cleaned.
        began: when that was, nanoseconds since 1970: what their points say.
    """
    found = []
    for storage in consumer._reader_storages.values():
        for match in storage._get_or_init_view_instrument_match(instrument):
            keys = match._view._attribute_keys
            kept = attributes if keys is None else {key: attributes[key] for key in attributes if key in keys}
            key = _hash_attributes(kept)
            aggregation = match._attributes_aggregation.get(key)
            if aggregation is None:
                with match._lock:
                    aggregation = match._attributes_aggregation.setdefault(key, _made(match, kept, began))
            found.append(aggregation)
    return tuple(found)


def forget_others(consumer: Any, instrument: Any, told: set[Any]) -> None:
    """Drops the aggregations of an observable instrument's sets that are not among these.

    Args:
        told: sets as :func:`identity` gives them.
    """
    for storage in consumer._reader_storages.values():
        for match in storage._get_or_init_view_instrument_match(instrument):
            keys = match._view._attribute_keys
            kept = told
            if keys is not None:
                kept = {(kind, tuple(pair for pair in pairs if pair[0] in keys)) for kind, pairs in told}
            with match._lock:
                for key in [key for key in match._attributes_aggregation if key not in kept]:
                    del match._attributes_aggregation[key]


def _made(match: Any, attributes: Mapping[str, Any], began: int) -> Any:
    chosen = match._view._aggregation
    if isinstance(chosen, DefaultAggregation):
        chosen = match._instrument_class_aggregation[match._instrument.__class__]
    reservoirs = match._view._exemplar_reservoir_factory
    return chosen._create_aggregation(match._instrument, dict(attributes), reservoirs, began)


def storages(consumer: Any) -> object:
    """Stands for the set of readers: another object when one was added or removed."""
    return consumer._reader_storages


class _WithLast(list[Any]):
    """The observable instruments, and one that is always the last."""

    def __init__(self, others: Iterable[Any], last: Any) -> None:
        super().__init__(others)
        self._last = last

    def __iter__(self) -> Iterator[Any]:
        yield from super().__iter__()
        yield self._last


def call_last(consumer: Any, instrument: Any) -> None:
    """Has ``instrument.callback`` called at each collection after those of all observable instruments."""
    consumer._async_instruments = _WithLast(consumer._async_instruments, instrument)


def register_at_once(consumer: Any) -> None:
    """Has observable instruments registered without the lock that a collection holds.

    A callback that hangs holds it for good, and whoever makes an observable instrument, the application or an
    instrumentor of ours, would wait with it. Adding to the list takes no lock: a collection that is under way
    goes over it by index. A consumer of another class may do more than that, and is left alone.
    """
    if type(consumer) is not SynchronousMeasurementConsumer:
        return

    def register(instrument: Any) -> None:
        consumer._async_instruments.append(instrument)

    consumer.register_asynchronous_instrument = register  # type: ignore[method-assign]


def renew_locks(provider: MeterProvider) -> None:
    """In a forked child: another thread of the parent's may have held any of them, and is not here."""
    consumer: Any = provider._measurement_consumer
    held: list[Any] = [consumer, *provider._meters.values()]
    for reader, storage in consumer._reader_storages.items():
        held += [reader, storage]
        for matches in list(storage._instrument_view_instrument_matches.values()):
            for match in matches:
                aggregations = list(match._attributes_aggregation.values())
                held += [match, *aggregations, *(each._reservoir for each in aggregations)]
    for each in held:
        for name in ("_lock", "_instrument_registration_lock"):
            lock = getattr(each, name, None)
            if lock is not None:
                setattr(each, name, threading.RLock() if isinstance(lock, _REENTRANT) else threading.Lock())


def add_all(aggregation: Any, instrument: Any, amounts: Sequence[float], total: float) -> None:
    """What as many calls of its ``aggregate`` would do, exemplars apart."""
    add_next([[aggregation, 0]], instrument, amounts, total)


def add_next(left: list[list[Any]], instrument: Any, amounts: Sequence[float], total: float) -> None:
    """Adds amounts to the last one of some aggregations, which is then left no more.

    Both happen without a call in between: an exception from outside, a timeout's or Ctrl-C's, comes at calls
    and jumps. Whoever goes on after one adds nothing twice.

    Args:
        left: pairs of an aggregation, of any class, and how many amounts are in it already; the SDK's three
            common classes take all amounts in one step.
        instrument: which measured them.
        amounts: checked, in order, at least one.
        total: their sum.

    Raises:
        Exception: they do not add up; then none was added.
    """
    entry = left[-1]
    aggregation = entry[0]
    kind = type(aggregation)
    if kind is _SumAggregation:
        with aggregation._lock:
            before = aggregation._value
            aggregation._value = total if before is None else before + total
            del left[-1]
    elif kind is _ExplicitBucketHistogramAggregation:
        # Counted before the lock is taken: the delivery may be collecting.
        counted = Counter(map(bisect_left, repeat(aggregation._boundaries), amounts))
        low, high = min(amounts), max(amounts)
        if not PLAIN.issuperset((type(low), type(high))):
            raise TypeError("amounts of other types are to be converted")
        with aggregation._lock:
            summed = aggregation._sum + total
            counts = aggregation._value
            counts = aggregation._get_empty_bucket_counts() if counts is None else counts[:]
            for bucket, count in counted.items():
                counts[bucket] += count
            if aggregation._record_min_max:
                low, high = min(aggregation._min, low), max(aggregation._max, high)
                aggregation._min, aggregation._max = low, high
            aggregation._value = counts
            aggregation._sum = summed
            del left[-1]
    elif kind is _LastValueAggregation:
        with aggregation._lock:
            aggregation._value = amounts[-1]
            del left[-1]
    else:
        if not entry[1] and not PLAIN.issuperset(map(type, amounts)):
            raise TypeError("amounts of other types are to be converted")
        for amount in amounts[entry[1] :]:
            entry[1] += 1
            aggregation.aggregate(Measurement(amount, time_ns(), instrument, Context()), False)
        del left[-1]


def _shape_holds() -> bool:
    """Whether a measurement still ends up where `aggregations` and `add_all` look for it."""
    if not _found:
        return False
    try:
        from opentelemetry.sdk.metrics.export import InMemoryMetricReader
        from opentelemetry.sdk.resources import Resource

        provider = MeterProvider([InMemoryMetricReader()], Resource({}), shutdown_on_exit=False)
        meter = provider.get_meter("spanwise.check")
        consumer: Any = provider._measurement_consumer
        sdk_reservoirs.takes_exemplars(provider)
        for instrument, call in (
            (meter.create_counter("c"), "add"),
            (meter.create_histogram("h"), "record"),
            (meter.create_gauge("g"), "set"),
        ):
            getattr(instrument, call)(1, {"k": "v"})
            (found,) = aggregations(consumer, instrument, {"k": "v"}, 1)
            add_all(found, instrument, (2,), 2)
            sdk_reservoirs.offer(found, ((2, 1, SpanContext(1, 2, False), {}),))
            sdk_reservoirs.exemplar_edges((found,))
            if kept_keys(consumer, instrument) is not None:
                return False
        return True
    except Exception:
        return False


SHAPE_HOLDS: Final = _shape_holds()
