"""Which alerts of objectives would have fired: where too much of a budget went in two windows at once.

Looked at every minute, as Prometheus does by the generated rules, for each service. A span counts for the
objective of the rule that decided it, and misses it by its rating or by having failed.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterator
from itertools import accumulate
from typing import Final

from spanwise.rating.verdict import Verdict
from spanwise.replay.slices import SLICES_MOST, Alert, Room, Slices, states
from spanwise.replay.spans import ERROR, Span
from spanwise.rules.model import MISSED, Burn, Objective

__all__ = ["MINUTE", "Objectives"]

MINUTE: Final = 60_000_000_000
"""Nanoseconds of a slice, and from one look to the next."""


class Objectives:
    """Counts the spans of each objective.

    Args:
        rules: the objectives.
        slices: how many counts are held at most.
    """

    def __init__(self, rules: tuple[Objective, ...], slices: int = SLICES_MOST) -> None:
        self._room = Room(slices)
        self._rules = sorted(rules, key=lambda rule: rule.name)
        wanted = {rule.rule for rule in rules}
        self._total: dict[str, dict[str, Slices]] = {rule: defaultdict(dict) for rule in wanted}
        self._missed: dict[str, dict[str, Slices]] = {rule: defaultdict(dict) for rule in wanted}
        self._last = 0

    @property
    def uncounted(self) -> int:
        """Spans that found no room: alerts may be missing."""
        return self._room.uncounted

    def add(self, span: Span, verdict: Verdict | None, service: str) -> None:
        """Counts a span.

        Args:
            span: the span.
            verdict: how it is rated; None where no rule is about it.
            service: its resource's service; the Collector counts no span without one.
        """
        if span.end > self._last:
            self._last = span.end
        if verdict is None or not service or verdict.rule not in self._total:
            return
        self._room.count(self._total[verdict.rule][service], MINUTE, span.end)
        if verdict.rating in MISSED or span.status == ERROR:
            self._room.count(self._missed[verdict.rule][service], MINUTE, span.end)

    def fired(self) -> Iterator[Alert]:
        """The alerts, by objective, service and window, each in the order of time."""
        for rule in self._rules:
            for service, missed in sorted(self._missed[rule.rule].items()):
                total, lost = _Sums(self._total[rule.rule][service]), _Sums(missed)
                for burn in rule.burns:
                    figures = _figures(rule, burn, total, lost, self._last)
                    for since, fired, resolved, worst in states(figures, MINUTE, 0, self._last):
                        yield Alert(
                            rule.name, burn.severity, service, since, fired, resolved, worst, burn.long
                        )


class _Sums:
    """Counts up to any slice."""

    def __init__(self, slices: Slices) -> None:
        self.numbers = sorted(slices)
        self._sums = [0, *accumulate(slices[number] for number in self.numbers)]

    def within(self, number: int, window: int) -> int:
        """How many in the window, in slices, that ends with this one."""
        to, before = bisect_right(self.numbers, number), bisect_right(self.numbers, number - window)
        return self._sums[to] - self._sums[before]


def _figures(
    rule: Objective, burn: Burn, total: _Sums, missed: _Sums, last: int
) -> Iterator[tuple[int, float | None]]:
    """(time, the share missed in the longer window where the condition holds) at each look with a miss."""
    long, short = -(-burn.long // MINUTE), -(-burn.short // MINUTE)
    seen = 0
    for miss in missed.numbers:
        # With no miss in the shorter window nothing holds.
        for number in range(max(seen + 1, miss), miss + short):
            if (number - 1) * MINUTE >= last:
                return
            seen = number
            of = total.within(number, long)
            share = missed.within(number, long) / of
            recent = missed.within(number, short) / total.within(number, short)
            holds = share > burn.limit and recent > burn.limit and of >= rule.minimum
            yield number * MINUTE, share if holds else None
