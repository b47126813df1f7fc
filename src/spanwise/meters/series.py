"""One instrument's measurements by attributes, from the call until they are folded."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import deque
from collections.abc import Iterable, Mapping
from operator import itemgetter
from time import time_ns
from typing import Any

from spanwise import names
from spanwise.log import Log
from spanwise.meters import sdk_reservoirs, sdk_shape
from spanwise.meters.amounts import PLAIN, Refused, amount_of, checked
from spanwise.meters.attributes import attributes_of
from spanwise.meters.sdk_reservoirs import Candidate

__all__ = ["MOST_SETS", "OVERFLOW", "Series", "SeriesTable", "offer"]

MOST_SETS = 2_000
"""Attribute sets of one instrument, the overflow's included. The specification's default:
https://opentelemetry.io/docs/specs/otel/metrics/sdk/#cardinality-limits"""

OVERFLOW = {names.METRIC_OVERFLOW: True}
"""The attributes of all measurements beyond."""

# The SDK's logger, so that filters that applications have for its messages go on working.
_logger = Log("opentelemetry.sdk.metrics._internal.instrument")

_INT64 = 1 << 63


class Series:
    """Measurements that wait, and the aggregations that they are folded into.

    Args:
        consumer: the provider's, which keeps the readers.
        instrument: the SDK's.
        attributes: of all its measurements, cleaned.

    Attributes:
        pending: amounts in order. Never replaced: the recording holds on to it.
        looked: whether its aggregations are known.
        edges: between which only the last candidate may become an exemplar; None: all may, as far as known.
        sampled: the candidates, where all may: those measured within a sampled span.
        latest: the candidates between edges, by the number of the upper one. Many that wait would be many
            objects for the garbage collector to look at, again and again: a tenth of a request's cost.
    """

    __slots__ = (
        "_aggregations",
        "_attributes",
        "_began",
        "_consumer",
        "_instrument",
        "_storages",
        "_under_way",
        "edges",
        "latest",
        "looked",
        "pending",
        "sampled",
    )

    def __init__(self, consumer: Any, instrument: Any, attributes: Mapping[str, Any]) -> None:
        self._consumer = consumer
        self._instrument = instrument
        self._attributes = attributes
        self._began = time_ns()
        self._storages: object = None
        self._aggregations: tuple[Any, ...] = ()
        # Amounts that were taken, and the aggregations that have yet to get them.
        self._under_way: tuple[list[Any], list[list[Any]]] | None = None
        self.pending: list[float] = []
        self.looked = False
        self.edges: tuple[float, ...] | None = None
        self.sampled: deque[Candidate] = deque()
        self.latest: dict[int, Candidate] = {}

    def fold(self, refused: Refused, *, signed: bool, wait: bool) -> bool:
        """Adds what waits to the aggregations of all readers. One thread at a time.

        Args:
            refused: gets the amounts that cannot be used.
            signed: whether negative amounts are allowed.
            wait: whether to wait for the SDK's locks. They are not reentrant: who measures may do so in a
                finalizer, on top of a collection that holds them.

        Returns:
            Whether it was done, or there was nothing to do.
        """
        if not wait and self._is_busy():
            return False
        if self._under_way is not None:  # an exception that came from outside ended the last fold
            self._add(refused, signed=signed)
        count = len(self.pending)
        if not count:
            return True
        aggregations = self.look()
        pending, left = self.pending, [[each, 0] for each in aggregations]
        # One step, as exceptions from outside come at calls. What is appended meanwhile stays.
        self._under_way = pending[:count], left
        del pending[:count]
        self._add(refused, signed=signed)
        return True

    def _add(self, refused: Refused, *, signed: bool) -> None:
        amounts, left = self._under_way  # type: ignore[misc]
        total: float = 0
        try:
            total = sum(amounts)
            sure = (
                type(total) in PLAIN
                and type(amounts[-1]) in PLAIN
                and -_INT64 <= total < _INT64
                and (signed or min(amounts) >= 0)
            )
        except Exception:
            sure = False
        if not sure:
            amounts = checked(amounts, refused, signed=signed)
            total = sum(amounts)
        while left and amounts:
            try:
                sdk_shape.add_next(left, self._instrument, amounts, total)
            except Exception as error:
                done = left[-1][1]
                if done:  # a class of somebody else's, which goes on with the next amount
                    refused.add(amounts[done - 1], error)
                elif sure:
                    sure = False
                    amounts = checked(amounts, refused, signed=signed)
                    total = sum(amounts)
                else:
                    refused.add(total, error)
                    del left[-1]
        self._under_way = None

    def _is_busy(self) -> bool:
        if self._storages is not sdk_shape.storages(self._consumer):
            return sdk_shape.is_taken(self._consumer, self._instrument)
        return sdk_shape.are_taken(self._aggregations)

    def candidates(self) -> list[Candidate]:
        """Takes what may become an exemplar."""
        latest, self.latest = self.latest, {}
        sampled = self.sampled
        return [*[sampled.popleft() for _ in range(len(sampled))], *latest.values()]

    def look(self) -> tuple[Any, ...]:
        """The aggregations that it is folded into now: a reader may have been added."""
        storages = sdk_shape.storages(self._consumer)
        if self._storages is not storages:
            try:
                found = sdk_shape.aggregations(
                    self._consumer, self._instrument, self._attributes, self._began
                )
            except Exception as error:  # a view or a reader of the application's
                _logger.seldom("a reader gets nothing of %s: %s", self._instrument.name, error)
                found = self._aggregations
            self._aggregations, self._storages = found, storages
            self.edges = sdk_reservoirs.exemplar_edges(found)
            self.looked = True
            self._began = time_ns()
            self._sort()
        return self._aggregations

    def _sort(self) -> None:
        """Leaves one candidate between two edges, now that they are known."""
        edges, sampled = self.edges, self.sampled
        if edges is None:
            return
        for candidate in [sampled.pop() for _ in range(len(sampled))]:  # the newest first
            try:
                if 0.0 <= candidate[0] < math.inf:
                    self.latest.setdefault(bisect_left(edges, candidate[0]), candidate)
            except Exception:  # whatever compares like nothing else: the fold says so
                continue


def offer(all_series: Iterable[Series], *, signed: bool) -> None:
    """Offers the candidates of some series to the reservoirs of their aggregations, the oldest first.

    A view that drops attributes has one aggregation for several series, and its reservoir keeps the last.
    """
    by_aggregation: dict[int, tuple[Any, list[Candidate]]] = {}
    for series in all_series:
        if series.latest or series.sampled:
            candidates = _usable(series.candidates(), signed=signed)
            for aggregation in series.look():
                by_aggregation.setdefault(id(aggregation), (aggregation, []))[1].extend(candidates)
    for aggregation, found in by_aggregation.values():
        try:
            sdk_reservoirs.offer(aggregation, sorted(found, key=itemgetter(1)))
        except Exception as error:  # a reservoir of the application's
            _logger.seldom("exemplars could not be offered: %s: %s", type(error).__name__, error)


def _usable(candidates: list[Candidate], *, signed: bool) -> list[Candidate]:
    usable = []
    for amount, *rest in candidates:
        try:
            usable.append((amount_of(amount, signed=signed), *rest))
        except Exception:  # which the fold tells
            continue
    return usable  # type: ignore[return-value]


class SeriesTable:
    """An instrument's series, by what the SDK tells attribute sets apart by. Bounded.

    Args:
        consumer: the provider's, which keeps the readers.
        instrument: the SDK's.
    """

    def __init__(self, consumer: Any, instrument: Any) -> None:
        self._consumer = consumer
        self._instrument = instrument
        self.reset()

    def reset(self) -> None:
        """Forgets them all, with what waits in them."""
        self._series: dict[Any, Series] = {}
        self._overflow: dict[None, Series] = {}  # one at most: a dictionary has it made once among threads

    def __len__(self) -> int:
        return len(self._series)

    def series(self) -> list[Series]:
        """All of them, at one moment."""
        return [*self._series.values(), *self._overflow.values()]

    def find(self, attributes: Any) -> tuple[Series, Mapping[str, Any]]:
        """The series of these attributes, new or not, and the attributes as the SDK cleans them.

        Counted are sets as the views leave them: of a thousand users' requests, one a route may be left.
        Where no more are taken, it is the overflow's.

        Raises:
            Exception: whatever attributes of the application's own class raise.
        """
        cleaned = attributes_of(attributes)
        kept = sdk_shape.kept_keys(self._consumer, self._instrument)
        counted = cleaned
        if kept is not None:
            counted = {key: value for key, value in cleaned.items() if key in kept}
        key = sdk_shape.identity(counted)
        found = self._series.get(key)
        if found is None:
            if len(self._series) >= MOST_SETS - 1:
                return self._beyond(), cleaned
            made = Series(self._consumer, self._instrument, counted)
            found = self._series.setdefault(key, made)
        return found, cleaned

    def _beyond(self) -> Series:
        found = self._overflow.get(None)
        if found is not None:
            return found
        made = Series(self._consumer, self._instrument, OVERFLOW)
        found = self._overflow.setdefault(None, made)
        if found is made:
            _logger.warning(
                "%s has more than %d sets of attributes: further ones are counted together, as %s. "
                "Leave out attributes with many values, or drop them by a view",
                self._instrument.name,
                MOST_SETS - 1,
                names.METRIC_OVERFLOW,
            )
        return found
