"""Which alerts on metrics would have fired, and when.

Every 15 s, as often as Prometheus looks in compose/prometheus.yml, a rule's figure is made of the spans that
ended within its window, for each service. The condition must hold at each look for the rule's ``for``. Counts
are exact, where Prometheus stretches what it scraped to the window: see ``spanwise generate``'s rules.

A quantile is above a limit exactly where more than the rest of the measurements are, so that no buckets are
needed; the figure told is their share.

What is held: a count by rule, service and slice of time, at most SLICES_MOST of them (some 100 MB). A slice
is 15 s, or less where a window asks for it.
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
from spanwise.replay.spans import KINDS, Span
from spanwise.rules.model import MetricRule

__all__ = ["SLICES_MOST", "STEP", "Alert", "Alerts"]

STEP: Final = 15_000_000_000
"""Nanoseconds from one look at a rule's condition to the next."""

SLICES_MOST: Final = 1_000_000

# A slice must not be so short that a window needs thousands of them.
_SHORTEST: Final = 1_000_000_000

Slices = dict[int, int]


@dataclass(frozen=True)
class Alert:
    """One alert that would have fired.

    Attributes:
        rule: the rule's name.
        severity: ``warning`` or ``critical``.
        service: whose measurements they are; empty where the spans name none.
        since, fired: nanoseconds since the epoch: when the condition began to hold, and when it had for long
            enough.
        resolved: when it ceased to hold; None where it held at the last span.
        worst: the highest figure while it held: a share, a count; for a quantile, the share beyond the limit.
    """

    rule: str
    severity: str
    service: str
    since: int
    fired: int
    resolved: int | None
    worst: float


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
        uncounted: measurements that found no room any more: alerts may be missing.
    """

    def __init__(
        self, rules: tuple[MetricRule, ...], dimensions: tuple[str, ...], slices: int = SLICES_MOST
    ) -> None:
        self._room = slices
        self.uncounted = 0
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
                self._count(each.resolution, counts[service], span.end)
        if verdict is not None and verdict.rating != GOOD:
            for each, counts in self._rated:
                if (
                    each.rating in (None, verdict.rating)
                    and each.rule in (None, verdict.rule)
                    and each.kind in (None, span.kind)
                    and each.holds(span, service, resource)
                ):
                    self._count(each.resolution, counts[service], span.end)
        if span.end > self._last:
            self._last = span.end

    def _count(self, resolution: int, slices: Slices, end: int) -> None:
        # A span that ends exactly when it is looked is seen.
        number = -(-end // resolution)
        if number in slices:
            slices[number] += 1
        elif self._room > 0:
            self._room -= 1
            slices[number] = 1
        else:
            self.uncounted += 1

    def fired(self) -> Iterator[Alert]:
        """The alerts, by rule, severity and service, each in the order of time."""
        for watched in sorted(self._watched, key=lambda each: (each.rule.name, each.rule.severity)):
            rest = watched.below or watched.above
            for service in sorted(self._counts[rest].keys() | self._counts[watched.above].keys()):
                above = self._counts[watched.above].get(service, {})
                yield from self._of(watched, service, above, self._counts[rest].get(service, {}))

    def _of(self, watched: _Watched, service: str, above: Slices, below: Slices) -> Iterator[Alert]:
        rule, since, fired, worst, previous = watched.rule, None, None, 0.0, None
        for now, figure in _figures(watched, above, below, self._last):
            # Between two looks at which there is nothing to see, nothing holds.
            gone = previous is not None and now - previous > STEP
            if fired is not None and since is not None and (gone or figure is None):
                resolved = previous + STEP if gone and previous is not None else now
                yield Alert(rule.name, rule.severity, service, since, fired, resolved, worst)
            if gone or figure is None:
                since = fired = None
                worst = 0.0
            if figure is not None:
                since = now if since is None else since
                worst = max(worst, figure)
                if fired is None and now - since >= rule.hold:
                    fired = now
            previous = now
        if fired is not None and since is not None and previous is not None:
            over = previous + STEP <= self._last
            yield Alert(
                rule.name, rule.severity, service, since, fired, previous + STEP if over else None, worst
            )


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
