"""What is told, and how often: throttle, repeat, the worse severity, what is resolved."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from spanwise.alerts.announcing import Announcing
from spanwise.alerts.states import State
from spanwise.rules.alerting import Alerting
from spanwise.rules.model import MetricRule, Series

SECOND = 1_000_000_000
THROTTLE, REPEAT, INTERVAL = 300, 3600, 30
ALERTING = Alerting(THROTTLE * SECOND, REPEAT * SECOND, ())
MEMORY = Series("memory", "By", "gauge")
WARNING = MetricRule("memory", "level", MEMORY, 5.0, "warning")
CRITICAL = MetricRule("memory", "level", MEMORY, 8.0, "critical")


class Told:
    """A gauge of two series with a warning and a critical limit, sampled every half minute."""

    def __init__(self, *rules: MetricRule) -> None:
        self.states = [State(rule) for rule in rules or (WARNING, CRITICAL)]
        self.announcing = Announcing(self.states, ALERTING)
        self.now = 0

    def sample(self, value: float, other: float = 0.0) -> list[str]:
        for state in self.states:
            state.sample(self.now, {(("k", "a"),): value, (("k", "b"),): other})
        told = [
            f"{state.rule.severity} {status}"
            for state, status, _, _, _ in self.announcing.sample(self.now, self.now + 1e9)
        ]
        self.now += INTERVAL
        return told

    def samples(self, *values: float) -> dict[int, list[str]]:
        """What was told, by the sample's number."""
        return {number: told for number, value in enumerate(values) if (told := self.sample(value))}


def test_an_alert_is_told_at_once_and_resolved_after_the_throttle() -> None:
    assert Told().samples(1, 6, *[1] * 30) == {1: ["warning firing"], 11: ["warning resolved"]}


def test_one_that_flaps_is_told_of_once_a_throttle() -> None:
    told = Told().samples(*[6, 1] * 60)
    # As resolved and as firing by turns, ten samples apart at the least; or not at all.
    assert min(b - a for a, b in zip(told, list(told)[1:], strict=False)) >= THROTTLE // INTERVAL
    assert [each for _, each in sorted(told.items())][:2] == [["warning firing"], ["warning resolved"]]


def test_one_that_goes_on_is_told_again_after_the_repeat() -> None:
    assert list(Told().samples(*[6] * 300)) == [0, 120, 240]


def test_the_worse_is_told_at_once_and_the_milder_is_not_told_meanwhile() -> None:
    told = Told().samples(6, 9, *[9] * 200, *[6] * 12, *[1] * 20)
    assert told[0] == ["warning firing"]
    assert told[1] == ["critical firing"]
    assert told[121] == ["critical firing"]  # its repeat; the warning's does not come
    assert told[202] == ["critical resolved", "warning firing"]
    assert told[214] == ["warning resolved"]
    assert sorted(told) == [0, 1, 121, 202, 214]


def test_a_warning_that_was_never_told_is_told_once_it_is_only_a_warning() -> None:
    assert Told().samples(9, *[9] * 12, 6) == {
        0: ["critical firing"],
        13: ["critical resolved", "warning firing"],
    }


def test_both_are_resolved_together() -> None:
    assert Told().samples(6, 9, *[1] * 20) == {
        0: ["warning firing"],
        1: ["critical firing"],
        10: ["warning resolved"],
        11: ["critical resolved"],
    }


def test_another_series_is_told_after_the_throttle() -> None:
    told = Told(WARNING)
    assert told.sample(6) == ["warning firing"]
    assert [told.sample(6, 7) for _ in range(10)] == [*([[]] * 9), ["warning firing"]]


def test_a_series_that_ends_is_told_while_the_alert_goes_on() -> None:
    a, b = (("k", "a"),), (("k", "b"),)
    state = State(WARNING)
    announcing = Announcing([state], ALERTING)
    told = []
    for number in range(60):
        state.sample(number * INTERVAL, {a: 6.0 if number < 5 else 0.0, b: 7.0 if number < 35 else 0.0})
        for _, status, series, _, ended in announcing.sample(number * INTERVAL, float(number)):
            told.append((number, status, series, ended))
    assert told == [
        (0, "firing", {a: 6.0, b: 7.0}, {}),
        (10, "firing", {b: 7.0}, {a: 6.0}),
        (35, "resolved", {b: 7.0}, {}),
    ]


def test_since_when_it_fires_is_kept_until_it_is_resolved() -> None:
    state = State(WARNING)
    announcing = Announcing([state], ALERTING)
    told = []
    for number in range(300):
        state.sample(number * INTERVAL, {(): 6.0 if 10 <= number < 260 else 0.0})
        told += [
            (status, since) for _, status, _, since, _ in announcing.sample(number * INTERVAL, float(number))
        ]
    assert told == [("firing", 10.0), ("firing", 10.0), ("firing", 10.0), ("resolved", 10.0)]


@given(st.lists(st.tuples(st.sampled_from([0, 6, 9]), st.integers(1, 15)), max_size=40))
def test_whatever_happens_it_is_told_in_turn_and_throttled(runs: list[tuple[int, int]]) -> None:
    values = [value for value, count in runs for _ in range(count)] + [0] * 40
    told = Told().samples(*values)
    for severity in ("warning", "critical"):
        mine = [
            (number, each.split()[1])
            for number, several in told.items()
            for each in several
            if each.startswith(severity)
        ]
        statuses = [status for _, status in mine]
        # Every firing is resolved in the end, and nothing is resolved that was not told.
        assert statuses[-1:] in ([], ["resolved"])
        assert statuses[:1] in ([], ["firing"])
        assert ("resolved", "resolved") not in set(itertools.pairwise(statuses))
        assert all(b[0] - a[0] >= 10 for a, b in itertools.pairwise(mine))
    first = next((number for number, value in enumerate(values) if value == 9), None)
    if first is not None:
        assert "critical firing" in told[first]
