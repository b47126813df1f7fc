"""A snapshot of the process, out of the history of its metrics."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from spanwise import names
from spanwise.meters import watched
from spanwise.meters.history import History
from spanwise.meters.resident import resident_bytes
from spanwise.meters.sampler import Sampler

__all__ = ["Controllers", "Preloads", "Statistics", "Trend", "take"]

# A trend is of the newest samples: an hour of them at the shipped interval.
_TREND_SAMPLES = 120
# Fewer say nothing: two halves of three.
_LEAST_SAMPLES = 6
# The same for the durations in each half.
_LEAST_MEASUREMENTS = 10
# Memory goes up and down by some percent with each request.
_STABLE = 0.05


@dataclass(frozen=True)
class Controllers:
    """What is tracked by ``spanwise.controllers``.

    Attributes:
        total: all that are held.
        ready, loading, failed: by state.
    """

    total: int = 0
    ready: int = 0
    loading: int = 0
    failed: int = 0


@dataclass(frozen=True)
class Preloads:
    """What was loaded ahead since the process began.

    Attributes:
        total: attempts that ended, in whatever way.
        success_rate: the share of them that succeeded, 0 to 1; None without any.
        mean_time: seconds an attempt took; None without any.
    """

    total: int = 0
    success_rate: float | None = None
    mean_time: float | None = None


@dataclass(frozen=True)
class Trend:
    """Where a figure is going: the later half of the newest 120 samples against the earlier half.

    Attributes:
        metric: what it is of.
        direction: ``rising``, ``falling``, ``stable`` (within 5 %), or ``unknown`` with fewer than 6 samples.
        change: the later half's figure above the earlier's, as a share of that; None where it is unknown.
    """

    metric: str
    direction: str = "unknown"
    change: float | None = None


@dataclass(frozen=True)
class Statistics:
    """The process at this moment.

    Attributes:
        memory: bytes of physical memory in use; None where the system does not tell.
        controllers: those tracked.
        preloads: what was loaded ahead.
        memory_trend: of the memory in use, by the median.
        performance_trend: of the mean duration of requests served, or, without ten of those in each half, of
            preloads. Rising is slower.
        samples: in the history. 0 where telemetry is off, or the process has just begun.
        interval: seconds between two samples; None where none are taken.
    """

    memory: int | None
    controllers: Controllers
    preloads: Preloads
    memory_trend: Trend
    performance_trend: Trend
    samples: int
    interval: float | None

    def as_dict(self) -> dict[str, Any]:
        """The same as plain dictionaries, numbers and strings, for JSON."""
        return asdict(self)


def take(sampler: Sampler | None) -> Statistics:
    """The statistics now.

    Args:
        sampler: whose history is read, brought up to date first; None where there is none.
    """
    if sampler is None:
        history, interval = History(1), None
    else:
        sampler.refresh()
        history, interval = sampler.history, sampler.interval
    return Statistics(
        memory=_memory(),
        controllers=_controllers(history),
        preloads=_preloads(history),
        memory_trend=_memory_trend(history),
        performance_trend=_performance_trend(history),
        samples=history.samples,
        interval=interval,
    )


def _memory() -> int | None:
    try:
        return resident_bytes()
    except Exception:
        return None


def _controllers(history: History) -> Controllers:
    states: dict[str, int] = {}
    for attributes, value in history.levels(watched.STATES):
        state = str(attributes.get(names.CONTROLLER_STATE))
        states[state] = states.get(state, 0) + int(value)
    return Controllers(
        total=int(sum(value for _, value in history.levels(watched.CONTROLLERS))),
        ready=states.get("ready", 0),
        loading=states.get("loading", 0),
        failed=states.get("failed", 0),
    )


def _preloads(history: History) -> Preloads:
    tried, succeeded = history.growth(watched.PRELOADS), history.growth(watched.PRELOADED)
    times = history.growth(watched.PRELOAD_TIMES)
    total = int(tried.total) if tried is not None else 0
    return Preloads(
        total=total,
        success_rate=(succeeded.total if succeeded is not None else 0.0) / total if total else None,
        mean_time=times.total / times.measurements if times is not None and times.measurements else None,
    )


def _memory_trend(history: History) -> Trend:
    metric, values = (
        watched.MEMORY[0],
        [value for _, rows in history.past(watched.MEMORY) for _, value in rows],
    )
    values = values[-_TREND_SAMPLES:]
    if len(values) < _LEAST_SAMPLES:
        return Trend(metric)
    half = len(values) // 2
    return _trend(metric, _median(values[:half]), _median(values[-half:]))


def _performance_trend(history: History) -> Trend:
    if history.samples >= _LEAST_SAMPLES:
        span = history.newest - history.since(_TREND_SAMPLES)
        for watch in (watched.REQUESTS, watched.PRELOAD_TIMES):
            earlier = history.growth(watch, span / 2, ago=span / 2)
            later = history.growth(watch, span / 2)
            if earlier is None or later is None:
                continue
            if min(earlier.measurements, later.measurements) >= _LEAST_MEASUREMENTS:
                before, after = (each.total / each.measurements for each in (earlier, later))
                return _trend(watch[0], before, after)
    return Trend(watched.REQUESTS[0])


def _trend(metric: str, before: float, after: float) -> Trend:
    if not before:
        return Trend(metric)
    change = after / before - 1
    if abs(change) <= _STABLE:
        return Trend(metric, "stable", change)
    return Trend(metric, "rising" if change > 0 else "falling", change)


def _median(values: Sequence[float]) -> float:
    ordered, middle = sorted(values), len(values) // 2
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2
