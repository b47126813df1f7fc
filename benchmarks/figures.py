"""Measurements summed up: medians and spreads, what arrived, and the targets."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median

from benchmarks.arms import OFF, OURS, PLAIN, STOCK, THEIRS
from benchmarks.collect import Measurement
from benchmarks.plan import WORKLOADS

__all__ = ["TARGETS", "Results", "Spread", "Target", "digits"]


@dataclass(frozen=True)
class Spread:
    """A figure over the rounds."""

    median: float
    low: float
    high: float


@dataclass(frozen=True)
class Target:
    """What ours is to reach: at most this share of another arm's figure, or this much where there is none."""

    title: str
    workload: str
    figure: str
    against: str
    at_most: float
    arm: str = OURS


TARGETS: Sequence[Target] = (
    Target("span, 8 attributes, created to exported, process CPU", "span_cost", "process_8", STOCK, 0.12),
    Target("the same", "span_cost", "process_8", "ddtrace", 0.5),
    Target("encode only", "encode_cost", "process", STOCK, 0.10),
    Target("histogram record, process CPU", "metric_cost", "record_process", STOCK, 0.15),
    Target("added time of a process that imports Flask, exit included", "start_up", "wall", STOCK, 0.18),
    Target("such a process by opentelemetry-instrument", "start_up", "wall", STOCK, 0.40, THEIRS),
    Target("such a process with telemetry disabled, ms", "start_up", "wall", "", 25, OFF),
    Target("added peak memory of it", "start_up", "rss", STOCK, 0.35),
    Target(
        "added to a Flask request with 3 SQL and 2 Redis calls, process CPU",
        "flask_request",
        "process",
        STOCK,
        0.15,
    ),
    Target("such a request", "flask_request", "process", "ddtrace", 0.15),
)
# The other target: no span dropped at this rate.
DROPS = ("job_slowdown", "work-10000")


def digits(value: float) -> str:
    """A figure with three significant digits, as many as such a measurement bears."""
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def _over(values: Sequence[float], plain: Sequence[float]) -> list[float]:
    """What was measured over the plain one beside it, of the same round: the machine changes all the time.

    Where one of them failed nobody knows which lay beside which, and the median of the round has to do.
    """
    beside = plain if len(plain) == len(values) else [median(plain)] * len(values)
    return [value - base for value, base in zip(values, beside, strict=True)]


class Results:
    """The measurements of one run.

    Args:
        measurements: all of them, in any order.
    """

    def __init__(self, measurements: Iterable[Measurement]) -> None:
        self._all = list(measurements)

    def arms(self, workload: str) -> list[str]:
        """The arms that were measured, in the order in which they first were."""
        return list(dict.fromkeys(each.arm for each in self._all if each.workload == workload))

    def spread(self, workload: str, figure: str, arm: str) -> Spread | None:
        """An arm's figure, over plain where the workload says so; None where it could not be measured."""
        found = self._values(workload, figure, arm)
        if WORKLOADS[workload].over_plain and arm != PLAIN:
            plain = self._values(workload, figure, PLAIN)
            found = {turn: _over(values, plain[turn]) for turn, values in found.items() if turn in plain}
        every = [value for values in found.values() for value in values]
        return Spread(median(every), min(every), max(every)) if every else None

    def ratio(self, workload: str, figure: str, arm: str, against: str) -> float | None:
        """Median against median; None where either is missing, or nothing can be a share of it."""
        own, other = self.spread(workload, figure, arm), self.spread(workload, figure, against)
        if own is None or other is None or other.median <= 0:
            return None
        return own.median / other.median

    def reached(self, target: Target) -> float | None:
        """Ours against the target's arm, or as it is."""
        if target.against:
            return self.ratio(target.workload, target.figure, target.arm, target.against)
        found = self.spread(target.workload, target.figure, target.arm)
        return None if found is None else found.median

    def lost(self, workload: str, arm: str, name: str | None = None) -> float | None:
        """Share of what was sent that did not arrive, 0 to 1; None where nothing is to arrive.

        More than was sent may arrive, as some add spans of their own: that is no loss, and makes up
        for none under another name.
        """
        sent = gone = 0.0
        for each in self._of(workload, arm):
            for key in each.sent if name is None else each.sent.keys() & {name}:
                sent += each.sent[key]
                gone += max(0.0, each.sent[key] - each.arrived.get(key, 0))
        return gone / sent if sent else None

    def behind(self, workload: str, arm: str, rate: str, slowest: str) -> float | None:
        """Share of the spans that a rate asks for which the arm had no time to make, 0 to 1.

        Args:
            rate, slowest: span names that end in ``-`` and the rate. The slowest, which every arm keeps,
                tells how long one took.
        """
        asked = made = 0.0
        for each in self._of(workload, arm):
            if rate in each.sent and slowest in each.sent:
                asked += each.sent[slowest] / int(slowest.split("-")[1]) * int(rate.split("-")[1])
                made += each.sent[rate]
        return max(0.0, 1 - made / asked) if asked else None

    def fewest_attributes(self, workload: str, arm: str, name: str) -> float | None:
        """Least mean attributes of a span of this name over the rounds."""
        found = [each.attributes[name] for each in self._of(workload, arm) if name in each.attributes]
        return min(found, default=None)

    def a_request(self, workload: str, arm: str) -> float | None:
        """Spans that arrived, a request; None where the workload has no requests."""
        found = [each for each in self._of(workload, arm) if each.requests]
        if not found:
            return None
        return sum(each.arrived["*"] for each in found) / sum(each.requests for each in found)

    def errors(self, workload: str, arm: str) -> list[str]:
        """What went wrong, each once."""
        return list(dict.fromkeys(each.error for each in self._of(workload, arm) if each.error))

    def _of(self, workload: str, arm: str) -> list[Measurement]:
        return [each for each in self._all if each.workload == workload and each.arm == arm]

    def _values(self, workload: str, figure: str, arm: str) -> dict[int, list[float]]:
        """An arm's figure by round; a round may have several."""
        rounds: dict[int, list[float]] = {}
        for each in self._of(workload, arm):
            if figure in each.values:
                rounds.setdefault(each.round, []).append(each.values[figure])
        return rounds
