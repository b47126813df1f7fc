"""Which alerts on metrics would have fired, and when.

Every 15 s, as often as Prometheus looks in compose/prometheus.yml, a rule's figure is made of the spans that
ended within its window, for each service. The condition must hold at each look for the rule's ``for``. Counts
are exact, where Prometheus stretches what it scraped to the window: see ``spanwise generate``'s rules.

A quantile is above a limit exactly where more than the rest of the measurements are, so that no buckets are
needed; the figure told is their share.

What is held: a count by rule, service and slice of time. A slice is 15 s, or less where a window asks for it.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from spanwise.rating.verdict import Verdict
from spanwise.replay.ratings import GOOD
from spanwise.replay.series import NotInTraces, Tally, tally
from spanwise.replay.slices import SLICES_MOST, Alert, Room, Slices, states
from spanwise.replay.spans import KINDS, Span
from spanwise.rules.model import MetricRule

__all__ = ["STEP", "Alerts"]

STEP: Final = 15_000_000_000
"""Nanoseconds from one look at a rule's condition to the next."""

# A slice must not be so short that a window needs thousands of them.
_SHORTEST: Final = 1_000_000_000


@dataclass(frozen=True)
class _Watched:
    """A rule with what it is computed from.

    Attributes:
        above: what is measured; for a quantile, what is beyond the limit.
        below: what it is a share of; None for a count.
        window: slices.
    """

    rule: MetricRule
    above: Tally
    below: Tally | None
    window: int


class Alerts:
    """Counts the measurements of each rule, span by span.

    Args:
        rules: the metric rules.
        dimensions: the attributes by which the Collector's span metrics are told apart.
        slices: how many counts are held at most.

    Attributes:
        unanswered: (rule's name, why spans do not answer it), each once.
    """

    def __init__(
        self, rules: tuple[MetricRule, ...], dimensions: tuple[str, ...], slices: int = SLICES_MOST
    ) -> None:
        self._room = Room(slices)
        self.unanswered: list[tuple[str, str]] = []
        self._watched: list[_Watched] = []
        self._last = 0
        for rule in rules:
            try:
                self._watched.append(_watch(rule, dimensions))
            except NotInTraces as reason:
                if (rule.name, str(reason)) not in self.unanswered:
                    self.unanswered.append((rule.name, str(reason)))
        tallies = {each for watched in self._watched for each in (watched.above, watched.below) if each}
        self._counts: dict[Tally, dict[str, Slices]] = {each: defaultdict(dict) for each in tallies}
        # Most spans are good: what wants a rating is not asked of them.
        asked = [each for each in self._counts.items() if each[0].rating is None and each[0].rule is None]
        self._plain = [[each for each in asked if each[0].kind in (None, kind)] for kind in range(len(KINDS))]
        self._rated = [each for each in self._counts.items() if each not in asked]

    @property
    def uncounted(self) -> int:
        """Measurements that found no room: alerts may be missing."""
        return self._room.uncounted

    def add(self, span: Span, verdict: Verdict | None, service: str, resource: Mapping[str, Any]) -> None:
        """Counts a span.

        Args:
            span: the span.
            verdict: how it is rated; None where no rule is about it.
            service: its resource's service.
            resource: its resource's attributes.
        """
        for each, counts in self._plain[span.kind]:
            if each.holds(span, service, resource):
                self._room.count(counts[service], each.resolution, span.end)
        if verdict is not None and verdict.rating != GOOD:
            for each, counts in self._rated:
                if (
                    each.rating in (None, verdict.rating)
                    and each.rule in (None, verdict.rule)
                    and each.kind in (None, span.kind)
                    and each.holds(span, service, resource)
                ):
                    self._room.count(counts[service], each.resolution, span.end)
        if span.end > self._last:
            self._last = span.end

    def fired(self) -> Iterator[Alert]:
        """The alerts, by rule, severity and service, each in the order of time."""
        for watched in sorted(self._watched, key=lambda each: (each.rule.name, each.rule.severity)):
            rest = watched.below or watched.above
            for service in sorted(self._counts[rest].keys() | self._counts[watched.above].keys()):
                above = self._counts[watched.above].get(service, {})
                figures = _figures(watched, above, self._counts[rest].get(service, {}), self._last)
                rule = watched.rule
                for since, fired, resolved, worst in states(figures, STEP, rule.hold, self._last):
                    yield Alert(rule.name, rule.severity, service, since, fired, resolved, worst)


def _watch(rule: MetricRule, dimensions: tuple[str, ...]) -> _Watched:
    if rule.form == "level":
        raise NotInTraces(f"{rule.series.metric} is measured, not counted")
    resolution = max(_SHORTEST, math.gcd(STEP, rule.window))
    beyond = rule.limit if rule.quantile is not None else None
    above = tally(rule.series, resolution, dimensions, beyond)
    below = None
    if rule.of is not None or rule.quantile is not None:
        below = tally(rule.of or rule.series, resolution, dimensions)
    return _Watched(rule, above, below, -(-rule.window // resolution))


def _figures(
    watched: _Watched, above: Slices, below: Slices, last: int
) -> Iterator[tuple[int, float | None]]:
    """(time, the figure where the rule's condition holds) at each look that has anything in its window."""
    resolution = watched.above.resolution
    per_step = STEP // resolution
    numbers = sorted(above.keys() | below.keys())
    # By their slices' number: what comes into the window next, and what leaves it next.
    entering = leaving = many = of = 0
    number = 0
    while entering < len(numbers) or leaving < entering:
        # Nothing in the window: on to the look that sees the next slice.
        number = -(-numbers[entering] // per_step) * per_step if leaving == entering else number + per_step
        if number * resolution - STEP >= last:
            return
        while entering < len(numbers) and numbers[entering] <= number:
            many += above.get(numbers[entering], 0)
            of += below.get(numbers[entering], 0)
            entering += 1
        while leaving < entering and numbers[leaving] <= number - watched.window:
            many -= above.get(numbers[leaving], 0)
            of -= below.get(numbers[leaving], 0)
            leaving += 1
        if leaving < entering:
            yield number * resolution, _figure(watched.rule, many, of)


def _figure(rule: MetricRule, many: int, of: int) -> float | None:
    """The figure, where the condition holds."""
    if rule.form == "increase":
        return many if many > rule.limit else None
    if not of or of < rule.minimum:
        return None
    share = many / of
    if rule.quantile is not None:
        # Above the limit: fewer than the quantile's share are within it.
        return share if of - many < rule.quantile * of else None
    return share if share > rule.limit else None
