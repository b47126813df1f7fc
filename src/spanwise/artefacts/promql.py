"""The rules' figures and conditions in PromQL.

Where Prometheus can only come near (ACCURACY says it on each alert):

- ``increase`` stretches what it saw to the whole window, by less than two scrapes.
- It does not see a counter's first value, with which a new series begins: the first error of a kind would
  never alert. So a series that was not there before the window counts with all it has. Where Prometheus
  itself was not there before, that would be all that ever happened: then the plain increase has to do.
- A quantile between two edges of a histogram's buckets is interpolated; whether it is above an edge is
  exact, and every limit on a duration is one in the Collector's and in the application's histograms.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from spanwise import names
from spanwise.artefacts import prometheus_names
from spanwise.artefacts.ottl import string
from spanwise.rules.model import Burn, MetricRule, Objective, Series

__all__ = [
    "ACCURACY",
    "OBJECTIVE",
    "REMAINING",
    "SERVICE",
    "burning",
    "condition",
    "counted",
    "duration",
    "figure",
    "measured",
    "number",
    "ratio_name",
    "recordings",
]

Labels = tuple[tuple[str, str], ...]

SERVICE: Final = prometheus_names.label(names.SERVICE_NAME)
OBJECTIVE: Final = "objective"
"""The label that tells an objective's recorded series from another's."""

REMAINING: Final = "spanwise:objective_budget:remaining_ratio"
_MISSED: Final = "spanwise:objective_missed:rate5m"
_TOTAL: Final = "spanwise:objective_total:rate5m"
_RECORDED: Final = "5m"

_STRETCHED: Final = "increase() stretches what it saw to the window: less than two scrapes more or less"
ACCURACY: Final = {
    "level": "exact, at each scrape",
    "increase": _STRETCHED,
    "ratio": f"{_STRETCHED}, above and below the line",
    "quantile": "exact where the limit is an edge of the histogram's buckets, else interpolated; "
    "rate() does not see what a series begins with",
    "objective": "rate() does not see a series' first value: the first miss of a new kind does not count",
}
"""By a rule's form: how near Prometheus's figure is to the count."""

# How long before a window a series, or Prometheus itself, is looked for.
_BEFORE: Final = "1h"


def figure(rule: MetricRule) -> str:
    """What is compared with the rule's limit."""
    window = duration(rule.window)
    if rule.form == "level":
        return prometheus_names.selector(rule.series)
    if rule.form == "increase":
        return _grown(rule.series, window)
    if rule.form == "ratio" and rule.of is not None:
        return f"{_grown(rule.series, window)} / {_grown(rule.of, window)}"
    buckets = prometheus_names.selector(rule.series, "_bucket")
    summed = f"sum by ({SERVICE}, le) (rate({buckets}[{window}]))"
    return f"histogram_quantile({number(rule.quantile or 0)}, {summed})"


def condition(rule: MetricRule) -> str:
    """The rule's condition. Two rules of one name differ in severity, and both may hold."""
    above = f"{figure(rule)} > {number(rule.limit)}"
    return f"{above} and {counted(rule)} >= {rule.minimum}" if rule.minimum else above


def counted(rule: MetricRule) -> str:
    """How many measurements the figure of a ratio or a quantile is made of."""
    window = duration(rule.window)
    return _grown(rule.of, window) if rule.of else _grown(rule.series, window, "_count")


def measured(rule: MetricRule, scope: Labels = ()) -> str:
    """The figure where it can be told, nought included, for those who must tell "none" from "not known".

    A counter has no series of a kind that did not occur yet: no failed call, no share of failures. It is
    nought where the calls as such are counted.

    Args:
        rule: a rule within the scope.
        scope: (attribute, value) pairs of the rule's series that say whose they are, not of which kind.
    """
    window = duration(rule.window)
    if rule.form == "ratio" and rule.of is not None:
        of = _grown(rule.of, window)
        return f"({_grown(rule.series, window)} or 0 * {of}) / {of}"
    every = replace(rule.series, labels=tuple(sorted(scope)))
    if rule.form == "increase" and every != rule.series:
        return f"{_grown(rule.series, window)} or 0 * {_grown(every, window)}"
    return figure(rule)


def recordings(rule: Objective) -> list[tuple[str, str]]:
    """(name, expression) of what is recorded for an objective, in the order of need."""
    windows = sorted({each for burn in rule.burns for each in (burn.long, burn.short)})
    missed, total = (f"sum by ({SERVICE}) (rate({{}}[{{}}]))",) * 2
    selected = prometheus_names.selector(rule.missed), prometheus_names.selector(rule.total)

    def missed_in(window: str) -> str:
        # Without any miss there is no such series, and the share is nought.
        return f"({missed.format(selected[0], window)} or 0 * {total_in(window)})"

    def total_in(window: str) -> str:
        return total.format(selected[1], window)

    found = [
        (ratio_name(window), f"{missed_in(duration(window))} / {total_in(duration(window))}")
        for window in windows
    ]
    found += [(_MISSED, missed_in(_RECORDED)), (_TOTAL, total_in(_RECORDED))]
    mine, period = f"{{{OBJECTIVE}={string(rule.name)}}}", duration(rule.window)
    share = f"avg_over_time({_MISSED}{mine}[{period}]) / avg_over_time({_TOTAL}{mine}[{period}])"
    return [*found, (REMAINING, f"1 - {share} / {number(rule.budget)}")]


def ratio_name(window: int) -> str:
    """The recorded share of missed spans over a window."""
    return f"spanwise:objective_missed:ratio_rate{duration(window)}"


def burning(rule: Objective, burn: Burn) -> str:
    """The condition under which an objective's budget is used up too quickly."""
    mine, limit = f"{{{OBJECTIVE}={string(rule.name)}}}", number(burn.limit)
    both = " and ".join(f"{ratio_name(each)}{mine} > {limit}" for each in (burn.long, burn.short))
    if not rule.minimum:
        return both
    return f"{both} and on ({SERVICE}) {_grown(rule.total, duration(burn.long))} >= {rule.minimum}"


def number(value: float) -> str:
    """A number as PromQL reads it, the same double."""
    return str(int(value)) if value == int(value) else repr(value)


def duration(nanoseconds: int) -> str:
    """A duration as PromQL reads it."""
    # Prometheus knows no unit below the millisecond; a shorter window would not hold two scrapes anyway.
    milliseconds = -(-nanoseconds // 1_000_000)
    for unit, size in (("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000)):
        if milliseconds and milliseconds % size == 0:
            return f"{milliseconds // size}{unit}"
    return f"{milliseconds}ms"


def _grown(series: Series, window: str, suffix: str = "") -> str:
    """How much a counter grew over a window, for each service."""
    counter = prometheus_names.selector(series, suffix)

    def before(selected: str) -> str:
        return f"last_over_time({selected}[{_BEFORE}] offset {window})"

    grown = f"increase({counter}[{window}])"
    known = f"({grown} and {before(counter)})"
    new = f"(max_over_time({counter}[{window}]) and on () {before('up')})"
    return f"sum by ({SERVICE}) ({known} or {new} or {grown})"
