"""Unit tests for the Prometheus rules (`promtool test rules`): each just under and just over its limit.

They prove the PromQL, with series of the kind that the rule is about, growing evenly. The service in them
is called "checked". ``ALERTS`` is Prometheus's own series about the alerts that fire.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any, Final

from spanwise.artefacts import prometheus_names, promql
from spanwise.artefacts.ottl import string
from spanwise.artefacts.prometheus import WINDOW, budget_alert
from spanwise.artefacts.stamp import stamp
from spanwise.artefacts.written import as_yaml
from spanwise.rules.model import Burn, MetricRule, Objective, Rule, Series

__all__ = ["tests_file"]

_MINUTE: Final = 60_000_000_000

# How far from a limit a test stays: far above the rounding of sums, far below what anybody would notice.
_NEAR: Final = 1e-6
# How many times what it grows in a test a counter holds before: `rate` does not stretch below nought.
_BEFORE: Final = 1_000
# What happens each minute where only a share counts.
_MANY: Final = 1_000_000

Values = Mapping[str, str]
"""Series in PromQL -> their values in promtool's notation."""


def tests_file(rules: tuple[Rule, ...]) -> str:
    """The test file as YAML text; it lies in a folder beside the rules' folder."""
    tests: list[dict[str, Any]] = []
    metrics = sorted(
        (rule for rule in rules if isinstance(rule, MetricRule)), key=lambda rule: (rule.name, rule.severity)
    )
    for rule in metrics:
        tests += _level(rule) if rule.form == "level" else _windowed(rule)
    for objective in sorted(
        (rule for rule in rules if isinstance(rule, Objective)), key=lambda rule: rule.name
    ):
        for burn in objective.burns:
            tests += _burn(objective, burn)
    tree = {"rule_files": ["../rules/spanwise.yaml"], "evaluation_interval": "1m", "tests": tests}
    return stamp(rules) + as_yaml(tree)


def _level(rule: MetricRule) -> Iterator[dict[str, Any]]:
    over = math.nextafter(rule.limit, math.inf) if rule.limit else _NEAR
    minutes = -(-rule.hold // _MINUTE)

    def values(value: float) -> Values:
        return {_series(rule.series): f"{_plain(value)}+0x{minutes + 3}"}

    times = {minutes: True} | ({minutes - 1: False} if minutes else {})
    yield _test(rule, "just over the limit", values(over), times)
    yield _test(rule, "at the limit", values(rule.limit), {minutes + 2: False})


def _windowed(rule: MetricRule) -> Iterator[dict[str, Any]]:
    """Of a figure over a window: near the limit once the window is full, and at first."""
    full = -(-(rule.window + rule.hold) // _MINUTE) + 5
    steps = _steps(rule.window)
    interval = rule.window // steps
    length = -(-full * _MINUTE // interval) + 1
    shares = {True: rule.limit * (1 + _NEAR) or _NEAR, False: rule.limit * (1 - _NEAR)}
    for fires, share in shares.items():
        grows = _growth(rule, share, steps)
        if grows is None:
            continue
        said = "just over the limit" if fires else "just under the limit"
        yield _test(rule, said, _steady(grows, length), {full: fires}, interval)
        if fires and rule.minimum:
            # As many as _MANY a step, by as much too few.
            scarce = rule.minimum * (1 - _NEAR) / (_MANY * steps)
            few = {series: each * scarce for series, each in grows.items()}
            yield _test(rule, "over the limit, too few", _steady(few, length), {full: False}, interval)
    if rule.form == "increase":
        yield from _first_value(rule, interval)


def _first_value(rule: MetricRule, interval: int) -> Iterator[dict[str, Any]]:
    """A counter that begins with what is too much: nothing was there that it could have grown from."""
    hold = -(-rule.hold // _MINUTE)
    if rule.window <= (hold + 3) * _MINUTE:
        return  # after the window it is no longer new, and then the alert has not been held long enough
    before = _steps(rule.window) + 1
    minute = -(-before * interval // _MINUTE) + hold + 1
    after = (hold + 3) * _MINUTE // interval
    for fires, value in ((True, math.floor(rule.limit) + 1), (False, math.floor(rule.limit))):
        born = {
            "up": f"1+0x{before + after}",
            _series(rule.series): f"_x{before} {value}+0x{after}",
        }
        said = "a new series just over the limit" if fires else "a new series at the limit"
        yield _test(rule, said, born, {minute: fires}, interval)


def _growth(rule: MetricRule, figure: float, steps: int) -> dict[str, float] | None:
    """By how much each series grows in a step, so that the figure is this high; None where it cannot be."""
    if rule.form == "increase":
        return {_series(rule.series): figure / steps}
    if rule.form == "quantile":
        # The share at most at the limit: under it, the quantile is above.
        over = figure > rule.limit
        within = (rule.quantile or 0) * ((1 - _NEAR) if over else (1 + _NEAR))
        if within > 1:
            within = 1.0
        edges = (rule.limit, rule.limit * 2 or 1.0)
        counts = {promql.number(edges[0]): within, promql.number(edges[1]): 1.0, "+Inf": 1.0}
        found = {_series(rule.series, "_bucket", le=edge): _MANY * count for edge, count in counts.items()}
        return {**found, _series(rule.series, "_count"): float(_MANY)}
    below = rule.of or rule.series
    above_labels, below_labels = dict(rule.series.labels), dict(below.labels)
    same = rule.series.metric == below.metric
    if same and below_labels.items() >= above_labels.items():
        return None  # all that is counted below is counted above: the ratio is never near a limit
    if same and above_labels.items() > below_labels.items():
        if figure > 1:
            return None
        key = min(set(above_labels) - set(below_labels))
        rest = {**above_labels, key: f"not {above_labels[key]}"}
        others = Series(below.metric, below.unit, "counter", tuple(sorted(rest.items())))
        return {_series(rule.series): _MANY * figure, _series(others): _MANY * (1 - figure)}
    return {_series(rule.series): _MANY * figure, _series(below): float(_MANY)}


def _burn(rule: Objective, burn: Burn) -> Iterator[dict[str, Any]]:
    met = Series(
        rule.missed.metric,
        rule.missed.unit,
        "counter",
        tuple((key, "true" if value == "false" else value) for key, value in rule.missed.labels),
    )
    interval = min(_MINUTE, burn.short // 5)
    length = 30 * _MINUTE // interval
    for fires in (True, False):
        share = burn.limit * (1 + _NEAR if fires else 1 - _NEAR)
        grows = {_series(rule.missed): _MANY * share, _series(met): _MANY * (1 - share)}
        labels = {"severity": burn.severity, WINDOW: promql.duration(burn.long)}
        yield {
            "name": f"{rule.name}, {labels[WINDOW]}: just {'over' if fires else 'under'} the limit",
            "interval": promql.duration(interval),
            "input_series": _input(_steady(grows, length)),
            "promql_expr_test": [
                _fires(
                    budget_alert(rule),
                    {"severity": burn.severity, WINDOW: promql.duration(burn.long)},
                    25,
                    fires,
                )
            ],
        }


def _test(
    rule: MetricRule, said: str, values: Values, fires: Mapping[int, bool], interval: int = _MINUTE
) -> dict[str, Any]:
    return {
        "name": f"{rule.name}, {rule.severity}: {said}",
        "interval": promql.duration(interval),
        "input_series": _input(values),
        "promql_expr_test": [
            _fires(rule.name, {"severity": rule.severity}, minute, fired)
            for minute, fired in sorted(fires.items())
        ],
    }


def _steady(grows: Mapping[str, float], length: int) -> Values:
    """Counters that have been counting for long, and grow evenly."""
    return {
        series: f"{_plain(math.ceil(each * length * _BEFORE))}+{_plain(each)}x{length}"
        for series, each in grows.items()
    }


def _input(values: Values) -> list[dict[str, str]]:
    return [{"series": series, "values": said} for series, said in values.items()]


def _fires(alert: str, labels: Mapping[str, str], minute: int, fires: bool) -> dict[str, Any]:
    told = {"alertname": alert, "alertstate": "firing", **labels}
    selected = ",".join(f"{key}={string(value)}" for key, value in told.items())
    return {
        "expr": f"count(ALERTS{{{selected}}})",
        "eval_time": f"{minute}m",
        "exp_samples": [{"labels": "{}", "value": 1}] if fires else [],
    }


def _series(series: Series, suffix: str = "", **more: str) -> str:
    labels = {promql.SERVICE: "checked"}
    labels |= {prometheus_names.label(key): value for key, value in series.labels}
    inside = ",".join(f"{key}={string(value)}" for key, value in {**labels, **more}.items())
    return f"{prometheus_names.metric(series)}{suffix}{{{inside}}}"


def _steps(window: int) -> int:
    """How many scrapes a window holds in a test: one a minute, five at least."""
    return max(5, window // _MINUTE)


def _plain(value: float) -> str:
    """A number without an exponent, the same double: the notation of series has none."""
    text = repr(float(value))
    return (f"{Decimal(text):f}" if "e" in text else text).removesuffix(".0")
