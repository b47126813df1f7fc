"""`add`, `record` and `set` at a seventh of the SDK's cost: a call appends, the fold comes later.

The SDK makes an object for each measurement, cleans and hashes its attributes, takes a lock for each reader,
and adds. All but the last is the same for the same attributes. So the first measurement of a set finds its
series in the SDK's way; the next ones find it by the attributes' values. All append the amount. Amounts are
folded into the SDK's own aggregations when a reader collects, in one step for many of them.
"""

from __future__ import annotations

import math
from _thread import RLock
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from time import time_ns
from typing import Any

from opentelemetry.metrics import UpDownCounter
from opentelemetry.metrics import _Gauge as Gauge

from spanwise.context import SPAN_KEY, get_context
from spanwise.log import Log
from spanwise.meters.amounts import Refused, amount_of
from spanwise.meters.attributes import SIMPLE
from spanwise.meters.series import MOST_SETS, Series, SeriesTable, offer

__all__ = ["Recording"]

_logger = Log("spanwise.meters")

# Amounts of one instrument that wait at most before the recording thread folds them itself: some 250 bytes
# each, with what an exemplar needs. Shared among its series: few of them fold seldom, many often.
_MOST_WAITING = 16_384
_MOST_OF_ONE = 1_024
_LEAST_OF_ONE = 8

# Candidates that wait before it is known which of them may become exemplars.
_MOST_SAMPLED = 32

_INFINITE = math.inf

_FAILED = "measurements could not be added up: %s; please report this"

# Attribute sets as they were written. The same set in another order is another one of these.
_MOST_KNOWN = 4 * MOST_SETS

# A member of an enumeration of texts counts with its text where that was there first: to a receiver they are
# the same.

Measure = Callable[..., None]


class _Known:
    """Attributes as somebody wrote them, and their series.

    Attributes:
        attributes: a copy of them.
        keys: theirs, in order.
        types: of the values, in order; None where all are texts.
        series: theirs.
        pending: the series' amounts.
    """

    __slots__ = ("attributes", "keys", "pending", "series", "types")

    def __init__(self, attributes: dict[str, Any], types: list[type], series: Series) -> None:
        self.attributes = attributes
        self.keys = [*attributes]
        self.types = None if set(types) <= {str} else types
        self.series, self.pending = series, series.pending


class Recording:
    """The quick way into one instrument.

    Args:
        instrument: a counter, an up-down counter, a histogram or a gauge of the SDK's.
        method: the name of its method that records.
        consumer: the provider's, which keeps the readers.
        exemplars: whether measurements within sampled spans may become exemplars.

    Attributes:
        measure: what to call instead of the method.
    """

    def __init__(self, instrument: Any, method: str, consumer: Any, *, exemplars: bool) -> None:
        self._instrument = instrument
        self._stock: Measure = getattr(type(instrument), method).__get__(instrument)
        self._signed = isinstance(instrument, (Gauge, UpDownCounter))
        self._table = SeriesTable(consumer, instrument)
        self._known: dict[tuple[Any, ...], _Known] = {}
        self._exemplars = exemplars
        self._refused = Refused(instrument.name)
        self.reset()
        self.measure = self._quick(exemplars=exemplars)
        # What a wrong call says is what the instrument's own method says.
        self.measure.__name__, self.measure.__qualname__ = method, self._stock.__qualname__

    def reset(self) -> None:
        """Starts empty: in a forked child what waits is the parent's. What was folded is in both."""
        self._lock = RLock()
        self._folding = False
        self._most_waiting = _MOST_OF_ONE
        self._table.reset()
        self._known.clear()
        self._era = object()

    def forget(self) -> None:
        """Looks at everything anew: the instrument was turned on or off."""
        self._known.clear()
        self._era = object()

    def fold(self) -> None:
        """Adds all that waits to the SDK's aggregations, and offers the exemplars."""
        with self._lock:
            self._fold(self._table.series(), wait=True)
        self._refused.tell()

    def _relieve(self, series: Series) -> None:
        """Folds one because much waits, unless somebody does, perhaps this thread below a signal handler."""
        if self._folding:
            return
        try:
            with self._lock:
                self._fold((series,), wait=False)
            self._refused.tell()
        except Exception as error:
            # It is the application's thread, which has another thing to do.
            _logger.seldom(_FAILED, error)

    def _fold(self, chosen: Sequence[Series], *, wait: bool) -> None:
        if self._folding:  # the lock is reentrant: a signal handler may collect on top of a fold
            return
        try:
            self._folding = True
            all_matter = []
            for series in chosen:
                try:
                    if series.fold(self._refused, signed=self._signed, wait=wait) and series.edges is None:
                        all_matter.append(series)
                except Exception as error:  # one costs no other
                    _logger.seldom(_FAILED, error)
            # Those of buckets wait for the other series': a view may have one bucket for several.
            offer(chosen if wait else all_matter, signed=self._signed)
        finally:
            self._folding = False

    def _quick(self, *, exemplars: bool) -> Measure:
        known, first, relieve, keep = self._known, self._first, self._relieve, self._keep

        def measure(amount: float, attributes: Any = None, context: Any = None) -> None:
            try:
                # The values find the set; the comparison makes sure of the keys.
                if attributes:
                    values = (*attributes.values(),)
                    found = known[values]
                    if found.keys != [*attributes] or (
                        found.types is not None and found.types != [*map(type, values)]
                    ):
                        raise LookupError
                else:
                    found = known[()]
            except Exception:
                first(amount, attributes, context)
                return
            if exemplars:
                try:
                    span: Any = (get_context() if context is None else context).get(SPAN_KEY)
                    if span is not None:
                        of_span = span.get_span_context()
                        if of_span.trace_flags & 1:
                            keep(found.series, amount, of_span, found.attributes)
                except Exception:  # a context or a span that is none: no exemplar
                    pass
            pending = found.pending
            pending.append(amount)
            if len(pending) >= self._most_waiting:
                relieve(found.series)

        measure.bind = self._bound(exemplars=exemplars)  # type: ignore[attr-defined]
        return measure

    def _bound(self, *, exemplars: bool) -> Callable[[Any], Measure]:
        """Makes what records with the same attributes each time: it looks them up once an era."""
        first, relieve, keep = self._first, self._relieve, self._keep

        def bind(attributes: Any) -> Measure:
            state: tuple[object, Any] = (None, None)  # one value: threads read and write both at once

            def record(amount: float, context: Any, within: Any = None) -> None:
                nonlocal state
                era, series = state
                if era is not self._era:
                    era = self._era  # before: what changes from here on is looked at again
                    found = first(amount, attributes, context)
                    if found is not None:
                        state = era, found
                    return
                if exemplars:
                    if within is None:
                        span: Any = context.get(SPAN_KEY)
                        if span is not None:
                            of_span = span.get_span_context()
                            if of_span.trace_flags & 1:
                                within = of_span
                    if within is not None:
                        # What `_keep` does, as far as it goes without the call: each statement comes here.
                        edges = series.edges
                        try:
                            if edges is not None and 0.0 <= amount < _INFINITE:
                                candidate = amount, time_ns(), within, attributes
                                series.latest[bisect_left(edges, amount)] = candidate
                            else:
                                keep(series, amount, within, attributes)
                        except Exception:  # it cannot be compared: no exemplar
                            pass
                pending = series.pending
                pending.append(amount)
                if len(pending) >= self._most_waiting:
                    relieve(series)

            return record

        return bind

    def _keep(self, series: Series, amount: float, of_span: Any, attributes: Any) -> None:
        """Notes a measurement that may become an exemplar."""
        edges = series.edges
        if edges is None:
            series.sampled.append((amount, time_ns(), of_span, attributes))
            if not series.looked and len(series.sampled) >= _MOST_SAMPLED:
                self._relieve(series)  # then the edges are known
            return
        try:
            # What is unusable must not take the place of what is not.
            if 0.0 <= amount < _INFINITE:
                series.latest[bisect_left(edges, amount)] = (amount, time_ns(), of_span, attributes)
        except Exception:  # whatever compares like nothing else: the fold says so
            return

    def _first(self, amount: float, attributes: Any, context: Any) -> Series | None:
        """Attributes not known as they are written. Returns their series; None: nothing is recorded."""
        if not self._instrument._is_enabled():
            self._stock(amount, attributes, context)
            return None
        try:
            amount = amount_of(amount, signed=self._signed)
        except Exception as error:  # it must not make a point that says 0
            self._refused.add(amount, error)
            self._refused.tell()
            return None
        series, cleaned = self._find(attributes)
        if self._exemplars:
            try:
                span: Any = (get_context() if context is None else context).get(SPAN_KEY)
                of_span = None if span is None else span.get_span_context()
                if of_span is not None and of_span.trace_flags & 1:
                    self._keep(series, amount, of_span, cleaned)
            except Exception:  # a context or a span that is none: no exemplar
                pass
        series.pending.append(amount)
        if len(series.pending) >= self._most_waiting:
            self._relieve(series)
        return series

    def _find(self, attributes: Any) -> tuple[Series, Mapping[str, Any]]:
        """The series of these attributes, and they cleaned; those of none where they cannot be read."""
        try:
            found = self._table.find(attributes)
            self._remember(attributes, found[0])
            return found
        except Exception as error:
            _logger.seldom(
                "attributes of a measurement cannot be read, it counts without any: %s: %s",
                type(error).__name__,
                error,
            )
            return self._table.find(None)

    def _remember(self, attributes: Any, series: Series) -> None:
        if attributes and not isinstance(attributes, Mapping):  # which the SDK has told
            return
        written = dict(attributes) if attributes else {}
        types = [*map(type, written.values())]
        if not SIMPLE.issuperset(types):
            return
        if len(self._known) >= _MOST_KNOWN:
            self._known.clear()
        self._known[tuple(written.values())] = _Known(written, types, series)
        self._most_waiting = max(_LEAST_OF_ONE, min(_MOST_OF_ONE, _MOST_WAITING // max(len(self._table), 1)))
