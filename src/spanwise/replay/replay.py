"""Spans in, and out what the thresholds would have done with them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from spanwise import names
from spanwise.rating.verdict import Verdict
from spanwise.replay.alerts import Alerts
from spanwise.replay.objectives import Objectives
from spanwise.replay.ratings import judge
from spanwise.replay.sampling import Kept, TailSampling
from spanwise.replay.slices import Alert
from spanwise.replay.spans import Batch
from spanwise.replay.suggest import Suggestions
from spanwise.rules.model import RATINGS, MetricRule, Objective, Rule, Sampling, SpanRule

__all__ = ["Outcome", "Replay"]


@dataclass(frozen=True)
class Outcome:
    """What would have happened.

    Attributes:
        spans: spans that were read.
        unruled: those that no rule is about.
        first, last: when the first span began and the last one ended, in nanoseconds; 0 without spans.
        ratings: spans by rating, best first, by rule.
        alerts: the alerts that would have fired, by rule, severity and service; then those of objectives.
        unanswered: (rule's name, why it cannot be told from traces).
        uncounted: measurements that found no room: alerts may be missing.
        traces: all traces, their spans and bytes.
        kept: the same of what is kept, by policy.
        baseline: the percentage of the rest that is to be kept.
        long: traces that the Collector decides before it has seen them whole.
    """

    spans: int
    unruled: int
    first: int
    last: int
    ratings: dict[str, dict[str, int]]
    alerts: tuple[Alert, ...]
    unanswered: tuple[tuple[str, str], ...]
    uncounted: int
    traces: Kept
    kept: dict[str, Kept]
    baseline: float
    long: int


class Replay:
    """Takes spans, batch by batch, in any order.

    Args:
        rules: as the thresholds were lowered to.
        dimensions: the attributes by which the Collector's span metrics are told apart.
        suggestions: takes the spans that a rule is about too; None where nothing is to be proposed.
    """

    def __init__(
        self, rules: tuple[Rule, ...], dimensions: tuple[str, ...], suggestions: Suggestions | None = None
    ) -> None:
        self._rules = [rule for rule in rules if isinstance(rule, SpanRule)]
        self._judge = judge(rules)
        self._alerts = Alerts(tuple(rule for rule in rules if isinstance(rule, MetricRule)), dimensions)
        self._objectives = Objectives(tuple(rule for rule in rules if isinstance(rule, Objective)))
        self._rule = next(rule for rule in rules if isinstance(rule, Sampling))
        self._sampling = TailSampling(self._rule)
        self._suggestions = suggestions
        self._counts: Counter[Verdict | None] = Counter()
        self._first, self._last = 0, 0

    def add(self, batch: Batch) -> list[Verdict | None]:
        """Takes spans.

        A rating that a span carries is that of the limits which held when it was recorded: it is rated anew.

        Returns:
            Each span's verdict, ``good`` too; None where no rule is about it.
        """
        given = batch.resource.get(names.SERVICE_NAME)
        service = given if isinstance(given, str) else ""
        said = []
        for span in batch.spans:
            attributes = span.attributes
            if names.RATING in attributes:
                for key in (names.RATING, names.RATING_RULE, names.RATING_LIMIT):
                    attributes.pop(key, None)
            verdict = self._judge(span.name, span.kind, attributes, span.end - span.start)
            said.append(verdict)
            self._alerts.add(span, verdict, service, batch.resource)
            self._objectives.add(span, verdict, service)
            self._sampling.add(span, verdict.rating if verdict is not None else None)
            if verdict is not None and self._suggestions is not None:
                self._suggestions.add(span, verdict.rule)
            if span.start < self._first or not self._first:
                self._first = span.start
            if span.end > self._last:
                self._last = span.end
        self._counts.update(said)
        return said

    def outcome(self) -> Outcome:
        """What would have happened. Nothing is to be added afterwards."""
        self._sampling.finish()
        ratings = {rule.name: dict.fromkeys(RATINGS, 0) for rule in self._rules}
        for verdict, count in self._counts.items():
            if verdict is not None:
                ratings[verdict.rule][verdict.rating] += count
        return Outcome(
            spans=self._counts.total(),
            unruled=self._counts[None],
            first=self._first,
            last=self._last,
            ratings=ratings,
            alerts=(*self._alerts.fired(), *self._objectives.fired()),
            unanswered=tuple(self._alerts.unanswered),
            uncounted=self._alerts.uncounted + self._objectives.uncounted,
            traces=self._sampling.total,
            kept=self._sampling.policies,
            baseline=self._rule.baseline,
            long=self._sampling.long,
        )
