"""The neutral rules: what the thresholds file says, in terms that every consumer can express.

A consumer (the process, the Collector, Prometheus) reads these and nothing else. Everything is exact:
durations are whole nanoseconds, and a comparison is always "greater than".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from spanwise.rules.alerting import Alerting, Severity

__all__ = [
    "CRITICAL",
    "MISSED",
    "RATINGS",
    "SPAN_KINDS",
    "AttributeMatch",
    "Burn",
    "History",
    "Instrument",
    "Match",
    "MetricRule",
    "Objective",
    "Rule",
    "Sampling",
    "Scalar",
    "Series",
    "SpanRule",
    "Trigger",
    "by_precedence",
]

RATINGS: Final = ("good", "acceptable", "poor", "critical")
"""Best first. Good spans are not marked."""

CRITICAL: Final = "critical"

MISSED: Final = ("poor", "critical")
"""The ratings with which a span misses an objective. A failed span misses it whatever its rating."""

SPAN_KINDS: Final = ("internal", "server", "client", "producer", "consumer")

Scalar: TypeAlias = str | int | bool
"""What an attribute is compared with. Not float: equality of rounded numbers is no rule."""


@dataclass(frozen=True, slots=True)
class AttributeMatch:
    """One condition on an attribute.

    Attributes:
        key: the attribute's name.
        value: what it must equal, type and all (``True`` is not ``1``); None where it need only be there.
    """

    key: str
    value: Scalar | None = None


@dataclass(frozen=True, slots=True)
class Match:
    """Conditions on a span that must all hold. Without any, every span matches.

    Attributes:
        kind: one of SPAN_KINDS, or None for any.
        name: the span's exact name, or None for any.
        attributes: conditions on attributes, sorted by key.
    """

    kind: str | None = None
    name: str | None = None
    attributes: tuple[AttributeMatch, ...] = ()

    @property
    def specificity(self) -> int:
        """How narrow the match is. An exact name counts 8, an attribute's value 4, its presence 2, a kind 1.

        With these weights a named route (4) beats ``http.server`` (kind and presence: 3), and a route
        given in addition to a kind of operation beats the route alone.
        """
        values = sum(4 if each.value is not None else 2 for each in self.attributes)
        return values + (8 if self.name is not None else 0) + (1 if self.kind is not None else 0)


@dataclass(frozen=True, slots=True)
class SpanRule:
    """Rates finished spans by duration.

    good ≤ ``good`` < acceptable ≤ ``acceptable`` < poor ≤ ``poor`` < critical.

    Attributes:
        name: the rule's name, written on the spans it rates.
        matches: the rule holds for a span that any of these matches.
        good, acceptable, poor: the edges in nanoseconds, in rising order.
    """

    name: str
    matches: tuple[Match, ...]
    good: int
    acceptable: int
    poor: int

    @property
    def edges(self) -> tuple[tuple[str, int], ...]:
        """(rating, the limit in nanoseconds beyond which it holds), worst first."""
        return (("critical", self.poor), ("poor", self.acceptable), ("acceptable", self.good))

    @property
    def specificity(self) -> int:
        """That of its broadest match, so that a rule is never more specific than what it lets in."""
        return min(match.specificity for match in self.matches)


Instrument: TypeAlias = Literal["gauge", "updowncounter", "counter", "histogram"]


@dataclass(frozen=True, slots=True)
class Series:
    """Which measurements a metric rule looks at.

    Attributes:
        metric: the OpenTelemetry name.
        unit: its UCUM unit; Prometheus's name is made with it.
        instrument: what makes it; with the unit ``1``, a gauge has another name in Prometheus than an
            up-down counter.
        labels: (attribute, value) pairs that must hold, sorted.
    """

    metric: str
    unit: str
    instrument: Instrument
    labels: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class MetricRule:
    """Alerts when a figure made of metrics is greater than a limit.

    Attributes:
        name: the rule's name; one rule a severity shares it.
        form: how the figure is made: the ``level`` of a series, the ``ratio`` of two series' increases,
            the ``increase`` of one, or a ``quantile`` of one, the last three over the window.
        series: what is measured; the numerator of a ratio.
        limit: the figure may be this high; in the metric's unit, a share for a ratio.
        severity: ``info``, ``warning`` or ``critical``.
        of: the denominator of a ratio.
        quantile: between 0 and 1, for a quantile.
        window: nanoseconds; 0 for a level.
        hold: nanoseconds for which the limit must be passed before the alert fires, and kept to again before
            it is resolved.
        minimum: measurements in the window below which nothing is said.
    """

    name: str
    form: Literal["level", "ratio", "increase", "quantile"]
    series: Series
    limit: float
    severity: Severity
    of: Series | None = None
    quantile: float | None = None
    window: int = 0
    hold: int = 0
    minimum: int = 0

    @property
    def unit(self) -> str:
        """The UCUM unit of the figure and its limit: a share has none."""
        return "1" if self.form == "ratio" else self.series.unit


@dataclass(frozen=True, slots=True)
class Sampling:
    """Which traces the Collector keeps.

    Attributes:
        keep: ``error`` and ratings; a trace with such a span is kept.
        baseline: percentage of all other traces that is kept, 0 to 100.
        decision_wait: nanoseconds from a trace's first span to the decision.
    """

    keep: tuple[str, ...]
    baseline: float
    decision_wait: int


@dataclass(frozen=True, slots=True)
class History:
    """How the process keeps its metrics' past.

    Attributes:
        interval: nanoseconds from one sample to the next.
        samples: how many are kept; 0 keeps none and takes none.
    """

    interval: int
    samples: int


@dataclass(frozen=True, slots=True)
class Burn:
    """Two windows over which an objective's budget is used up too quickly.

    Attributes:
        long: nanoseconds; what is missed over it is enough to act upon.
        short: nanoseconds; what is missed over it shows that it goes on.
        factor: how many times faster the budget is used up than it may be, as written in the workbook.
        limit: the share of missed spans beyond which, in both windows, the alert fires.
        severity: ``warning`` or ``critical``.
    """

    long: int
    short: int
    factor: str
    limit: float
    severity: Severity


@dataclass(frozen=True, slots=True)
class Objective:
    """A share of the spans that one span rule decides is to be good or acceptable, and not failed.

    Attributes:
        name: the objective's name.
        rule: the span rule's name. The Collector marks the spans it decides with it, and says of each
            whether it meets the objective (MISSED): so ``total`` and ``missed`` count spans of any sender.
        good: the share, below 1.
        budget: the rest, exact in decimals.
        window: nanoseconds over which the share holds.
        total, missed: the series that count the spans.
        burns: when it alerts, the quickest use first.
        minimum: spans in the long window below which nothing is said.
    """

    name: str
    rule: str
    good: float
    budget: float
    window: int
    total: Series
    missed: Series
    burns: tuple[Burn, ...]
    minimum: int = 0


@dataclass(frozen=True, slots=True)
class Trigger:
    """What rolls a deployment back (``spanwise gate``), in place of the critical limit of its name.

    Attributes:
        name: the trigger's name.
        rule: the metric and its limit, with what the trigger says of its own; always critical.
    """

    name: str
    rule: MetricRule


Rule: TypeAlias = SpanRule | MetricRule | Objective | Trigger | Alerting | Sampling | History


def by_precedence(rules: tuple[Rule, ...]) -> tuple[SpanRule, ...]:
    """The span rules, the one that decides first: most specific, then by name.

    Every consumer takes this order, so that two rules which are equally specific cannot be
    taken in one order here and in another there.
    """
    spans = [rule for rule in rules if isinstance(rule, SpanRule)]
    return tuple(sorted(spans, key=lambda rule: (-rule.specificity, rule.name)))
