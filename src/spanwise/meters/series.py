"""One instrument's measurements by attributes, from the call until they are folded."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping, Sequence
from operator import itemgetter
from typing import Any

from spanwise import names
from spanwise.log import Log
from spanwise.meters import sdk_shape
from spanwise.meters.sdk_shape import Candidate

__all__ = ["MOST_SETS", "OVERFLOW", "Series", "SeriesTable"]

MOST_SETS = 2_000
"""Attribute sets of one instrument, the overflow's included. The specification's default:
https://opentelemetry.io/docs/specs/otel/metrics/sdk/#cardinality-limits"""

OVERFLOW = {names.METRIC_OVERFLOW: True}
"""The attributes of all measurements beyond."""

# The SDK's logger, so that filters that applications have for its messages go on working.
_logger = Log("opentelemetry.sdk.metrics._internal.instrument")


class Series:
    """Measurements that wait, and the aggregations that they are folded into.

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
        "_consumer",
        "_instrument",
        "_storages",
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
        self._storages: object = None
        self._aggregations: tuple[Any, ...] = ()
        self.pending: list[float] = []
        self.looked = False
        self.edges: tuple[float, ...] | None = None
        self.sampled: deque[Candidate] = deque()
        self.latest: dict[int, Candidate] = {}

    def fold(self, *, signed: bool) -> None:
        """Adds what waits to the aggregations of all readers. One thread at a time.

        Args:
            signed: whether negative amounts are allowed.
        """
        amounts: Sequence[float] = self.pending[:]
        if not amounts:
            return
        # What is appended meanwhile stays.
        del self.pending[: len(amounts)]
        latest, self.latest = self.latest, {}
        candidates = [self.sampled.popleft() for _ in range(len(self.sampled))]
        candidates += sorted(latest.values(), key=itemgetter(1))  # a view's own bucket may span several
        total: float = 0
        try:
            total = sum(amounts)
            fine = math.isfinite(total) and (signed or min(amounts) >= 0)
        except Exception:
            fine = False
        if not fine:
            amounts = [amount for amount in amounts if self._usable(amount, signed=signed)]
            if not amounts:
                return
            candidates = [each for each in candidates if self._usable(each[0], signed=signed, quiet=True)]
        for aggregation in self.look():
            try:
                sdk_shape.add_all(aggregation, self._instrument, amounts, sum(amounts) if not fine else total)
            except Exception:
                self._one_by_one(aggregation, amounts)
            if candidates:
                sdk_shape.offer(aggregation, candidates)

    def _one_by_one(self, aggregation: Any, amounts: Sequence[float]) -> None:
        """Amounts that do not add up, such as a Decimal among floats: one costs itself alone."""
        for amount in amounts:
            try:
                sdk_shape.add_all(aggregation, self._instrument, (amount,), amount)
            except Exception as error:
                _logger.warning(
                    "Amount %r on %s cannot be added, ignoring measurement: %s",
                    amount,
                    self._instrument.name,
                    error,
                )

    def look(self) -> tuple[Any, ...]:
        """The aggregations that it is folded into now: a reader may have been added."""
        storages = sdk_shape.storages(self._consumer)
        if self._storages is not storages:
            self._aggregations = sdk_shape.aggregations(self._consumer, self._instrument, self._attributes)
            self._storages = storages
            self.looked = True
            self.edges = sdk_shape.exemplar_edges(self._aggregations)
        return self._aggregations

    def _usable(self, amount: Any, *, signed: bool, quiet: bool = False) -> bool:
        """What the SDK checks on each call; told in its words."""
        name = self._instrument.name
        try:
            if not math.isfinite(amount):
                problem = f"Amount {amount} is not finite on {name}, ignoring measurement."
            elif not signed and amount < 0:
                problem = f"Amount must be non-negative on {name}."
            else:
                return True
        except Exception as error:
            problem = f"Amount {amount!r} on {name} cannot be used, ignoring measurement: {error}"
        if not quiet:
            _logger.warning("%s", problem)
        return False


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
        self._overflows = False

    def __len__(self) -> int:
        return len(self._series)

    def series(self) -> list[Series]:
        """All of them, at one moment."""
        return list(self._series.values())

    def find(self, attributes: Any) -> Series | None:
        """The series of these attributes, new or not; None where no more sets are taken.

        Counted are sets as the views leave them: of a thousand users' requests, one a route may be left.
        """
        cleaned = sdk_shape.attributes_of(self._instrument, attributes)
        kept = sdk_shape.kept_keys(self._consumer, self._instrument)
        if kept is not None:
            cleaned = {key: value for key, value in cleaned.items() if key in kept}
        key = sdk_shape.identity(cleaned)
        found = self._series.get(key)
        if found is not None:
            return found
        if len(self._series) >= MOST_SETS - 1:
            if not self._overflows:
                self._overflows = True
                _logger.warning(
                    "%s has more than %d sets of attributes: further ones are counted together, as %s. "
                    "Leave out attributes with many values, or drop them by a view",
                    self._instrument.name,
                    MOST_SETS - 1,
                    names.METRIC_OVERFLOW,
                )
            return None
        return self._series.setdefault(key, Series(self._consumer, self._instrument, cleaned))
