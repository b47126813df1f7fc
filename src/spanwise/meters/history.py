"""What watched metrics were at moments of the past, in bounded memory.

A sample is a collection of the SDK's, with cumulative points. Kept is what rules and statistics ask for:

- of counters and histograms the growth of all attribute sets that a watch matches, as a sum, because a sum is
  what is asked for. Of each set there is only its last value. One sample more than of the others, since
  growth over so many of them is to the one before;
- of gauges and up-down counters every matching set on its own, up to 64, because each is held against a
  limit.

Memory: 16 bytes a sample of a counter or a gauge, some 150 of a histogram. With the 1,000 samples of the
shipped thresholds 16 and 150 kB; 8 MB for all watches together is the most. And the last value of each set of
a counter or a histogram, some 0.4 and 1 kB.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from spanwise.labels import label_text
from spanwise.log import Log
from spanwise.meters.ring import Ring
from spanwise.meters.total import Total

__all__ = ["Growth", "History", "Watch"]

_logger = Log("spanwise.meters")

Watch = tuple[str, tuple[tuple[str, str], ...]]
"""A metric's name, and (attribute, value) pairs that must hold, compared as Prometheus has them: as text."""

_MOST_BYTES = 8_000_000
_MOST_SETS = 64


class Growth(NamedTuple):
    """How much a counter or a histogram grew.

    Attributes:
        total: by how much; of a histogram, the sum of what was measured.
        measurements: how many; of a counter, the same as ``total``.
        buckets: measurements by bucket, each bucket on its own; empty for a counter.
        bounds: the buckets' upper bounds but the last's, which has none.
    """

    total: float
    measurements: float
    buckets: tuple[float, ...] = ()
    bounds: tuple[float, ...] = ()


class History:
    """The samples of the watched metrics. Any thread may ask; one at a time may add.

    Args:
        samples: how many are kept, at least one.
        watched: from the beginning; :meth:`watch` adds more.
    """

    def __init__(self, samples: int, watched: Iterable[Watch] = ()) -> None:
        self._most = samples
        self._watched: dict[str, list[Watch]] = {}
        self._totals: dict[Watch, Total] = {}
        self._levels: dict[Watch, dict[tuple[Any, ...], tuple[dict[str, Any], Ring]]] = {}
        self._bytes = 0
        self._full = False
        self._begin()
        for each in watched:
            self.watch(each)

    def _begin(self) -> None:
        self._lock = threading.Lock()
        self._times: Ring = Ring(0, self._most)
        self._passing = False  # whether the newest sample makes room for the next

    def after_fork(self) -> None:
        """In a forked child: forgets the parent's samples."""
        self._begin()
        self._levels.clear()
        self._bytes = 0
        for watch, total in self._totals.items():
            ring = self._ring(len(total.now), watch[0], self._most + 1)
            total.begin_anew(ring or total.ring)

    def watch(self, watch: Watch) -> None:
        """Keeps a metric's values from the next sample on. A metric that there isn't costs nothing."""
        with self._lock:
            known = self._watched.setdefault(watch[0], [])
            if watch not in known:
                known.append(watch)

    def take(self, data: Any, time: float, *, keep: bool = True) -> None:
        """Takes a sample.

        Args:
            data: the SDK's MetricsData, with cumulative points; None where nothing was measured.
            time: seconds on a clock that is not set.
            keep: whether it stays; else the next one takes its place.
        """
        with self._lock:
            found = _by_name(data, self._watched)
            for name, metrics in found.items():
                for watch in self._watched[name]:
                    try:
                        self._take(watch, metrics, time)
                    except Exception as error:  # a point of a shape of its own costs its metric alone
                        _logger.debug("%s cannot be kept: %r", name, error)
            self._put(self._times, time, ())
            self._passing = not keep

    def _take(self, watch: Watch, metrics: list[tuple[str, Any]], time: float) -> None:
        points = [
            (scope, point)
            for scope, data in metrics
            for point in data.data_points
            if _matches(point.attributes or {}, watch[1])
        ]
        if not points:
            return
        if hasattr(points[0][1], "count") or getattr(metrics[0][1], "is_monotonic", False):
            self._take_total(watch, points, time)
        else:
            self._take_levels(watch, [point for _, point in points], time)

    def _take_total(self, watch: Watch, points: list[tuple[str, Any]], time: float) -> None:
        bounds = tuple(getattr(points[0][1], "explicit_bounds", ()))
        sets: dict[Hashable, list[float]] = {}
        for scope, point in points:
            if tuple(getattr(point, "explicit_bounds", ())) == bounds:
                key, row = (scope, frozenset((point.attributes or {}).items())), _row(point)
                before = sets.get(key)
                sets[key] = row if before is None else [a + b for a, b in zip(before, row, strict=True)]
        total = self._totals.get(watch)
        if total is None:
            width = len(next(iter(sets.values())))
            ring = self._ring(width, watch[0], self._most + 1)
            if ring is None:
                return
            total = self._totals[watch] = Total(ring, width, bounds)
        self._put(total.ring, time, total.add(sets))

    def _take_levels(self, watch: Watch, points: list[Any], time: float) -> None:
        levels = self._levels.setdefault(watch, {})
        for point in points:
            attributes = dict(point.attributes or {})
            key = tuple(sorted((name, repr(value)) for name, value in attributes.items()))
            known = levels.get(key)
            if known is None:
                if len(levels) >= _MOST_SETS:
                    self._drop_gone(levels)
                ring = self._ring(1, watch[0], self._most, refused=len(levels) >= _MOST_SETS)
                if ring is None:
                    continue
                known = levels[key] = (attributes, ring)
            self._put(known[1], time, (point.value,))

    def _put(self, ring: Ring, time: float, values: Iterable[float]) -> None:
        # Not a row that the sample before did not write: the metric was not there, or was kept.
        if self._passing and len(ring) and ring.time(len(ring) - 1) == self.newest:
            ring.replace(time, values)
        else:
            ring.put(time, values)

    def _ring(self, width: int, name: str, most: int, *, refused: bool = False) -> Ring | None:
        size = (width + 1) * 8 * most
        if not refused and self._bytes + size <= _MOST_BYTES:
            self._bytes += size
            return Ring(width, most)
        if not self._full:
            self._full = True
            _logger.warning(
                "the history of metrics is full: some values of %s are not in it. Keep fewer samples "
                "(history: in the thresholds file), or measure with fewer sets of attributes",
                name,
            )
        return None

    def _drop_gone(self, levels: dict[tuple[Any, ...], tuple[dict[str, Any], Ring]]) -> None:
        """Makes room for a set: by the one that was seen last the longest ago, if it was missing since."""
        oldest = min(levels, key=lambda key: levels[key][1].time(len(levels[key][1]) - 1))
        ring = levels[oldest][1]
        if ring.time(len(ring) - 1) < self.newest:
            del levels[oldest]
            self._bytes -= 16 * self._most

    @property
    def newest(self) -> float:
        """The time of the newest sample; before there is one, minus infinity."""
        return self._times.time(len(self._times) - 1) if len(self._times) else -math.inf

    def since(self, samples: int) -> float:
        """The time of the oldest of so many newest samples, or of the oldest of all; infinity without any."""
        held = len(self._times)
        return self._times.time(max(0, held - samples)) if held else math.inf

    @property
    def samples(self) -> int:
        """How many samples there are."""
        return len(self._times) - self._passing

    def levels(self, watch: Watch) -> list[tuple[dict[str, Any], float]]:
        """The values of a gauge or an up-down counter in the newest sample, with their attributes."""
        with self._lock:
            rings = self._levels.get(watch, {}).values()
            return [
                (attributes, ring.row(len(ring) - 1)[0])
                for attributes, ring in rings
                if ring.time(len(ring) - 1) == self.newest
            ]

    def past(self, watch: Watch) -> list[tuple[dict[str, Any], list[tuple[float, float]]]]:
        """All that is kept of them: (time, value), oldest first, by attributes."""
        with self._lock:
            return [
                (attributes, [(ring.time(number), ring.row(number)[0]) for number in range(len(ring))])
                for attributes, ring in self._levels.get(watch, {}).values()
            ]

    def growth(self, watch: Watch, window: float = math.inf, *, ago: float = 0.0) -> Growth | None:
        """How much a counter or a histogram grew within a window.

        Args:
            watch: one that is watched.
            window: seconds. Where it began before the process did, or before the oldest sample, the growth
                is that since then; infinity is since the process began (in a forked child: since the fork).
            ago: seconds from its end to the newest sample.

        Returns:
            None if it was never measured.
        """
        with self._lock:
            total = self._totals.get(watch)
            if total is None:
                return None
            end, start = self.newest - ago, self.newest - ago - window
            nothing = [0.0] * len(total.now)
            later = total.now if ago <= 0 else _at(total.ring, end) or nothing
            # A metric's first row stands for growth from nothing, unless rows before it made room.
            earlier = (
                nothing if window == math.inf else _at(total.ring, start) or self._before(total.ring, nothing)
            )
            grown = [max(0.0, new - old) for new, old in zip(later, earlier, strict=True)]
        if len(grown) == 1:
            return Growth(grown[0], grown[0])
        return Growth(grown[0], grown[1], tuple(grown[2:]), total.bounds)

    def _before(self, ring: Ring, nothing: list[float]) -> Iterable[float]:
        return ring.row(0) if len(ring) > self._most else nothing


def _at(ring: Ring, time: float) -> Sequence[float] | None:
    number = ring.until(time)
    return ring.row(number) if number >= 0 else None


def _by_name(data: Any, watched: Mapping[str, Any]) -> dict[str, list[tuple[str, Any]]]:
    """The data of the watched metrics, with the scope: more than one where several measure the same."""
    found: dict[str, list[tuple[str, Any]]] = {}
    for scope, metric in _metrics(data):
        if metric.name in watched:
            found.setdefault(metric.name, []).append((scope, metric.data))
    return found


def _metrics(data: Any) -> Iterator[tuple[str, Any]]:
    for resource in data.resource_metrics if data is not None else ():
        for scope in resource.scope_metrics:
            name = scope.scope.name
            yield from ((name, metric) for metric in scope.metrics)


def _matches(attributes: Mapping[str, Any], wanted: tuple[tuple[str, str], ...]) -> bool:
    return all(label_text(attributes.get(key)) == value for key, value in wanted)


def _row(point: Any) -> list[float]:
    """A counter's value, or a histogram's sum, count and buckets, an exponential one's left out."""
    if not hasattr(point, "count"):
        return [point.value]
    return [point.sum, point.count, *getattr(point, "bucket_counts", ())]
