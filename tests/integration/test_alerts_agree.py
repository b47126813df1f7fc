"""One verdict on metrics: the process's alerts and the generated Prometheus rules, sample by sample.

The same series go through real instruments, the history and the states here, through promtool there. Asked
at each sample is what fires: name, severity and series.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis import strategies as st
from opentelemetry.metrics import CallbackOptions, Observation
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from parts import need

from spanwise.alerts.figures import figures
from spanwise.alerts.figures import watches as watches_of
from spanwise.alerts.states import State
from spanwise.artefacts import prometheus_names
from spanwise.artefacts.prometheus import rules_file
from spanwise.meters.history import History
from spanwise.rules.model import MetricRule, Series

pytestmark = pytest.mark.real
SECOND = 1_000_000_000
INTERVAL = 30  # seconds from one sample to the next
SAMPLES = 36
BORN = 11  # counters begin after the longest window, so that Prometheus was there before them
LONGEST = 10
BOUNDS = (1.0, 2.0, 5.0)
BETWEEN = (0.5, 1.5, 3.0, 9.0)  # a value in each bucket

Labels = tuple[tuple[str, str], ...]
Steps = list[Any]
"""By sample: a gauge's value, None where it is gone; by how much a counter grew; of a histogram, how
many measurements came to each bucket."""


@dataclass
class Scenario:
    """A metric (with another below the line of a ratio) and the rules about it."""

    rules: tuple[MetricRule, ...]
    series: dict[tuple[str, Labels], Steps] = field(default_factory=dict)


def severities(draw: Any, limits: st.SearchStrategy[float]) -> list[tuple[str, float]]:
    low, high = sorted((draw(limits), draw(limits)))
    return draw(
        st.sampled_from([[("warning", low)], [("critical", high)], [("warning", low), ("critical", high)]])
    )


HOLDS = st.sampled_from([0, 0, 30, 45, 60, 120])
WINDOWS = st.integers(1, LONGEST).map(lambda samples: samples * INTERVAL)
RARE = st.sampled_from([0, 0, 0, 0, 1, 1, 2, 7])


def after_birth(draw: Any, each: st.SearchStrategy[Any]) -> Steps:
    """Of a counter that comes into being, or never does."""
    born = draw(st.integers(BORN, SAMPLES + 3))
    return [None] * born + draw(
        st.lists(each, min_size=max(0, SAMPLES - born), max_size=max(0, SAMPLES - born))
    )


@st.composite
def level(draw: Any, name: str) -> Scenario:
    of = Series(name, "By", "gauge")
    values = st.sampled_from([0, 3, 4, 5, 6, 9, 4.000000001, None])
    # Values that stay for a while, so that holds are reached.
    steps = st.lists(st.tuples(values, st.integers(1, 6)), min_size=SAMPLES, max_size=SAMPLES).map(
        lambda runs: [value for value, count in runs for _ in range(count)][:SAMPLES]
    )
    hold = draw(HOLDS)
    rules = tuple(
        MetricRule(name, "level", of, limit, severity, hold=hold * SECOND)
        for severity, limit in severities(draw, st.sampled_from([0.0, 3.0, 4.0, 5.0]))
    )
    sets = [(), (("k", "a"),)] if draw(st.booleans()) else [(("k", "a"),), (("k", "b"), ("l", "x"))]
    return Scenario(rules, {(name, labels): draw(steps) for labels in sets})


@st.composite
def increase(draw: Any, name: str) -> Scenario:
    chosen = draw(st.sampled_from([(), (("k", "a"),)]))
    of = Series(name, "{trip}", "counter", chosen)
    window, hold = draw(WINDOWS), draw(HOLDS)
    rules = tuple(
        MetricRule(name, "increase", of, limit, severity, window=window * SECOND, hold=hold * SECOND)
        for severity, limit in severities(draw, st.sampled_from([0.0, 1.0, 2.5, 5.0]))
    )
    return Scenario(rules, {(name, (("k", value),)): after_birth(draw, RARE) for value in "ab"})


@st.composite
def ratio(draw: Any, name: str) -> Scenario:
    apart = draw(st.booleans())
    below = Series(f"{name}.all" if apart else name, "{event}", "counter")
    above = Series(name, "{event}", "counter", (("outcome", "failure"),))
    window, hold, minimum = draw(WINDOWS), draw(HOLDS), draw(st.sampled_from([0, 0, 3, 10]))
    rules = tuple(
        MetricRule(name, "ratio", above, limit, severity, of=below, window=window * SECOND,
                   hold=hold * SECOND, minimum=minimum)
        for severity, limit in severities(draw, st.sampled_from([0.0, 0.1, 0.25, 1 / 3, 0.5]))
    )  # fmt: skip
    found = {(name, (("outcome", "failure"),)): after_birth(draw, RARE)}
    if apart:
        found[(below.metric, ())] = after_birth(draw, RARE)
    else:
        found[(name, (("outcome", "success"),))] = after_birth(draw, RARE)
    return Scenario(rules, found)


@st.composite
def quantile(draw: Any, name: str) -> Scenario:
    of = Series(name, "s", "histogram")
    window, hold, minimum = draw(WINDOWS), draw(HOLDS), draw(st.sampled_from([0, 0, 3, 10]))
    share = draw(st.sampled_from([0.5, 0.9, 0.95, 0.99]))
    rules = tuple(
        MetricRule(name, "quantile", of, limit, severity, quantile=share, window=window * SECOND,
                   hold=hold * SECOND, minimum=minimum)
        for severity, limit in severities(draw, st.sampled_from([1.0, 2.0, 1.37, 4.11, 5.0]))
    )  # fmt: skip
    counts = st.tuples(*[st.sampled_from([0, 0, 1, 2, 13])] * 4)
    # rate() does not see what a series begins with (last test): it begins long before, and so quickly
    # that it is above no limit.
    began = [(1, 0, 0, 0)] + [(0, 0, 0, 0)] * (BORN - 1)
    later = st.lists(counts, min_size=SAMPLES - BORN, max_size=SAMPLES - BORN)
    scenario = Scenario(rules, {(name, (("route", value),)): began + draw(later) for value in "ab"})
    # Where the share at most at an edge is the quantile itself, rate() has rounded it: the figure is
    # then that edge, or one in 10^15 beside it. No count tells them apart (README, honest limits).
    for now in range(SAMPLES):
        grown = [0, 0, 0, 0]
        for steps in scenario.series.values():
            for counted in steps[max(0, now - window // INTERVAL + 1) : now + 1]:
                grown = [a + b for a, b in zip(grown, counted or (0, 0, 0, 0), strict=True)]
        rank, so_far = Fraction(repr(share)) * sum(grown), 0
        for count in grown:
            so_far += count
            assume(not sum(grown) or so_far != rank)
    return scenario


def scenarios(*kinds: Any) -> st.SearchStrategy[list[Scenario]]:
    return st.tuples(*(kind(f"m{number}") for number, kind in enumerate(kinds))).map(list)


# -- here -----------------------------------------------------------------------------------------


class Process:
    """Real instruments for the series, and the alerts about them."""

    def __init__(self, scenarios: Sequence[Scenario]) -> None:
        self.reader = InMemoryMetricReader()
        self.provider = MeterProvider([self.reader], shutdown_on_exit=False)
        self.meter = self.provider.get_meter("app")
        self.now = 0
        self.histograms: list[tuple[Any, Labels, Steps]] = []
        self.states = [State(rule) for scenario in scenarios for rule in scenario.rules]
        self.history = History(100, [watch for state in self.states for watch in watches_of(state.rule)])
        for scenario in scenarios:
            self.make(scenario)

    def make(self, scenario: Scenario) -> None:
        rule = scenario.rules[0]
        for name in sorted({name for name, _ in scenario.series}):
            sets = [(labels, steps) for (known, labels), steps in scenario.series.items() if known == name]
            if rule.form == "quantile":
                made = self.meter.create_histogram(
                    name, "s", explicit_bucket_boundaries_advisory=list(BOUNDS)
                )
                self.histograms += [(made, labels, steps) for labels, steps in sets]
            elif rule.form == "level":
                self.meter.create_observable_gauge(name, [self.gauge(sets)])
            else:
                self.meter.create_observable_counter(name, [self.counter(sets)])

    def gauge(self, sets: list[tuple[Labels, Steps]]) -> Any:
        def observe(_: CallbackOptions) -> list[Observation]:
            now = [(labels, steps[self.now]) for labels, steps in sets]
            return [Observation(value, dict(labels)) for labels, value in now if value is not None]

        return observe

    def counter(self, sets: list[tuple[Labels, Steps]]) -> Any:
        def observe(_: CallbackOptions) -> list[Observation]:
            now = [(labels, steps[: self.now + 1]) for labels, steps in sets]
            return [
                Observation(sum(step or 0 for step in steps), dict(labels))
                for labels, steps in now
                if steps[-1:] != [None] and steps
            ]

        return observe

    def sample(self) -> set[tuple[Labels, ...]]:
        for made, labels, steps in self.histograms:
            for value, count in zip(
                BETWEEN, (steps[self.now] if self.now < len(steps) else None) or (), strict=False
            ):
                for _ in range(count):
                    made.record(value, dict(labels))
        self.history.take(self.reader.get_metrics_data(), float(self.now * INTERVAL))
        found = set()
        for state in self.states:
            state.sample(float(self.now * INTERVAL), figures(state.rule, self.history))
            said = (("alertname", state.rule.name), ("severity", state.rule.severity))
            found |= {(said, labels) for labels in state.firing}
        self.now += 1
        return found


# -- there ----------------------------------------------------------------------------------------


def in_prometheus(scenarios: Sequence[Scenario]) -> dict[str, str]:
    """The series in promtool's notation."""
    found = {"up": f"1+0x{SAMPLES}"}
    for scenario in scenarios:
        rule = scenario.rules[0]
        for (name, labels), steps in scenario.series.items():
            of = rule.series if name == rule.series.metric else rule.of
            assert of is not None
            written = prometheus_names.metric(of)
            known = {"service_name": "s", **dict(labels)}
            if rule.form == "level":
                found[_selector(written, known)] = " ".join(
                    "stale" if step is None else str(step) for step in steps
                )
            elif rule.form != "quantile":
                found[_selector(written, known)] = _counted(steps)
            else:
                # The SDK exports a histogram once it has measured something.
                first = next((number for number, step in enumerate(steps) if step and any(step)), len(steps))
                late = [None if number < first else step for number, step in enumerate(steps)]
                for number, edge in enumerate(("1", "2", "5", "+Inf")):
                    part = [None if step is None else sum(step[: number + 1]) for step in late]
                    found[_selector(f"{written}_bucket", {**known, "le": edge})] = _counted(part)
                found[_selector(f"{written}_count", known)] = found[
                    _selector(f"{written}_bucket", {**known, "le": "+Inf"})
                ]
    return {series: values for series, values in found.items() if values.replace("_", "").strip()}


def _counted(steps: Steps) -> str:
    total, said = 0, []
    for step in steps[:SAMPLES]:
        total += step or 0
        said.append("_" if step is None else str(total))
    return " ".join(said)


def _selector(name: str, labels: dict[str, str]) -> str:
    return f"{name}{{{','.join(f'{key}={chr(34)}{value}{chr(34)}' for key, value in labels.items())}}}"


def promtool(
    scenarios: Sequence[Scenario], fires: Sequence[set[Any]], rules: Sequence[MetricRule] = ()
) -> str:
    """What promtool has to say against the process's alerts; empty where it agrees."""
    expected = [
        [
            {
                "labels": _selector(
                    "ALERTS", {"alertstate": "firing", "service_name": "s", **dict(said), **dict(labels)}
                ),
                "value": 1,
            }
            for said, labels in sorted(each)
        ]
        for each in fires
    ]
    tree = {
        "rule_files": ["rules.yaml"],
        "evaluation_interval": f"{INTERVAL}s",
        "tests": [
            {
                "interval": f"{INTERVAL}s",
                "input_series": [
                    {"series": series, "values": values}
                    for series, values in in_prometheus(scenarios).items()
                ],
                "promql_expr_test": [
                    {
                        "expr": 'ALERTS{alertstate="firing"}',
                        "eval_time": f"{now * INTERVAL}s",
                        "exp_samples": each,
                    }
                    for now, each in enumerate(expected)
                ],
            }
        ],
    }
    with TemporaryDirectory() as folder:
        held = tuple(rules) or tuple(rule for scenario in scenarios for rule in scenario.rules)
        Path(folder, "rules.yaml").write_text(rules_file(held), encoding="utf-8")
        Path(folder, "tests.yaml").write_text(yaml.safe_dump(tree), encoding="utf-8")
        done = subprocess.run(
            [
                need("promtool", "apt-get install prometheus"),
                "test",
                "rules",
                str(Path(folder, "tests.yaml")),
            ],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
    said = done.stdout + done.stderr
    assert done.returncode in (0, 1), said
    assert ("SUCCESS" in said) is (done.returncode == 0), said
    return _differences(said) if done.returncode else ""


def _differences(said: str) -> str:
    """promtool's complaint, as what fires only here and only there."""
    found = []
    for time, here, there in re.findall(r"time: (\S+),\n\s+exp:(.*)\n\s+got:(.*)", said):
        mine, its = (set(re.findall(r"\{.*?\}", each)) for each in (here, there))
        found += [f"{time}: only in the process: {each}" for each in sorted(mine - its)]
        found += [f"{time}: only in Prometheus: {each}" for each in sorted(its - mine)]
    return "\n".join(found) or said


SLOW = settings(
    max_examples=12,
    # Not shrunk: that would run promtool for minutes. What disagrees is said by name and time.
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large,
                           HealthCheck.large_base_example],
)  # fmt: skip


@SLOW
@given(scenarios(*[level] * 4, *[increase] * 4, *[ratio] * 5, *[quantile] * 3))
def test_the_process_and_prometheus_agree_sample_by_sample(drawn: list[Scenario]) -> None:
    process = Process(drawn)
    fires = [process.sample() for _ in range(SAMPLES)]
    assume(any(fires))
    assert promtool(drawn, fires) == ""


# -- where Prometheus is only near ----------------------------------------------------------------


@SLOW
@given(
    window=st.integers(2 * INTERVAL + 1, LONGEST * INTERVAL - 1).filter(lambda window: window % INTERVAL),
    steps=st.lists(RARE, min_size=SAMPLES, max_size=SAMPLES),
    limits=st.lists(st.sampled_from([0.0, 0.5, 1.0, 2.5, 5.0, 9.0]), min_size=5, max_size=5, unique=True),
)
def test_a_window_that_is_no_whole_number_of_samples(
    window: int, steps: list[int], limits: list[float]
) -> None:
    """Both figures lie between the growth over a sample less and that over one more, stretched."""
    of = Series("odd", "{trip}", "counter")
    rules = [
        MetricRule(f"odd{limit}", "increase", of, limit, "warning", window=window * SECOND)
        for limit in limits
    ]
    drawn = [Scenario((rule,), {("odd", ()): steps}) for rule in rules]
    process = Process(drawn[:1])
    process.states = [State(rule) for rule in rules]
    sure: list[set[Any]] = []
    doubtful: set[tuple[int, str]] = set()
    whole = window // INTERVAL
    for now in range(SAMPLES):
        mine = {dict(said)["alertname"] for said, _ in process.sample()}
        within = sum(steps[max(0, now - whole + 1) : now + 1])
        around = sum(steps[max(0, now - whole) : now + 1]) * window / (window - 2 * INTERVAL)
        sure.append(set())
        for rule in rules:
            # Until the window is full, Prometheus was not there before what it sees.
            if now <= LONGEST or within <= rule.limit < around:
                doubtful.add((now, rule.name))
                continue
            assert (rule.name in mine) is (within > rule.limit)
            if rule.name in mine:
                sure[now].add(((("alertname", rule.name), ("severity", "warning")), ()))
    said = promtool(drawn[:1], sure, list(rules))
    wrong = [
        line
        for line in said.splitlines()
        if (_index(line), re.findall(r'alertname="(.*?)"', line)[0]) not in doubtful
    ]
    assert wrong == []


def _index(line: str) -> int:
    """Of which sample one of the differences is."""
    parts = {unit: int(count) for count, unit in re.findall(r"(\d+)([hms])", line.split(":")[0])}
    return (parts.get("h", 0) * 3600 + parts.get("m", 0) * 60 + parts.get("s", 0)) // INTERVAL


def test_what_a_histogram_begins_with_counts_in_the_process_alone() -> None:
    """rate() does not see a series' first value. The next measurements are seen by both."""
    rule = MetricRule("new", "quantile", Series("new", "s", "histogram"), 2.0, "warning", quantile=0.5,
                      window=4 * INTERVAL * SECOND)  # fmt: skip
    slow, none = (0, 0, 0, 1), (0, 0, 0, 0)
    steps = [None] * BORN + [slow] + [none] * 9 + [slow] * 2 + [none] * (SAMPLES - BORN - 12)
    drawn = [Scenario((rule,), {("new", ()): steps})]
    process = Process(drawn)
    fires = [process.sample() for _ in range(SAMPLES)]
    said = promtool(drawn, fires).splitlines()
    assert [_index(line) for line in said] == [BORN, BORN + 1, BORN + 2, BORN + 3]
    assert all("only in the process" in line for line in said)
    assert sum(map(bool, fires)) == 4 + 5
