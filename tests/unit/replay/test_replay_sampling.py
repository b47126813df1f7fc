"""Tail sampling: by trace, by the first policy that wants it, in bounded memory."""

from __future__ import annotations

from fractions import Fraction
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spanwise.replay.sampling import Kept, TailSampling, baseline_keeps, baseline_threshold
from spanwise.replay.spans import ERROR, Span
from spanwise.rules.model import Sampling

S = 1_000_000_000
RULE = Sampling(("error", "poor", "critical"), 0.0, 10 * S)


def span(trace: int, size: int = 10, status: int = 0, end: int = 100 * S) -> Span:
    return Span(trace.to_bytes(16, "big"), "x", 2, end - 1, end, status, {}, size)


def sampled(rule: Sampling, *spans: tuple[Span, str | None], held: int = 100) -> TailSampling:
    found = TailSampling(rule, held)
    for each, rating in spans:
        found.add(each, rating)
    found.finish()
    return found


def test_a_trace_is_kept_whole_by_its_first_policy() -> None:
    found = sampled(
        RULE,
        (span(1, 5, ERROR), "critical"),
        (span(1, 7), None),
        (span(2, 11), "poor"),
        (span(2, 13), "good"),
        (span(3, 17), "acceptable"),
    )
    assert found.total == Kept(3, 5, 53)
    assert found.policies == {"error": Kept(1, 2, 12), "rated": Kept(1, 2, 24), "baseline": Kept(0, 0, 0)}


def test_only_what_is_to_be_kept_is() -> None:
    rule = Sampling(("acceptable",), 0.0, S)
    found = sampled(rule, (span(1, 1, ERROR), "critical"), (span(2), "acceptable"))
    assert found.policies == {"error": Kept(0, 0, 0), "rated": Kept(1, 1, 10), "baseline": Kept(0, 0, 0)}


@pytest.mark.parametrize(("percentage", "kept"), [(0.0, 0), (100.0, 1_000)])
def test_the_baseline_keeps_none_or_all_at_its_ends(percentage: float, kept: int) -> None:
    found = sampled(Sampling((), percentage, S), *((span(each), None) for each in range(1, 1_001)))
    assert found.policies["baseline"].traces == kept


def test_the_baseline_keeps_its_share_of_random_ids() -> None:
    random, threshold = Random(5), baseline_threshold(10.0)
    kept = sum(baseline_keeps(random.randbytes(16), threshold) for _ in range(20_000))
    assert abs(kept - 2_000) < 5 * (20_000 * 0.1 * 0.9) ** 0.5


@given(st.floats(0.0, 100.0))
def test_the_greatest_hash_is_within_a_rounding_of_the_share(percentage: float) -> None:
    exact = Fraction(percentage / 100) * ((1 << 64) - 1)
    assert abs(baseline_threshold(percentage) - exact) <= 1
    assert 0 <= baseline_threshold(percentage) < 1 << 64


@given(st.lists(st.tuples(st.integers(1, 30), st.booleans()), max_size=60), st.integers(1, 8))
def test_nothing_is_lost_or_counted_twice_however_few_traces_are_held(
    sent: list[tuple[int, bool]], held: int
) -> None:
    found = sampled(RULE, *((span(trace, trace, ERROR * bad), None) for trace, bad in sent), held=held)
    assert found.total.spans == len(sent)
    assert found.total.size == sum(trace for trace, _ in sent)
    assert found.total.traces >= len({trace for trace, _ in sent})
    assert len(found._young) == len(found._old) == 0


def test_a_trace_s_spans_may_lie_apart_by_as_many_traces_as_are_held() -> None:
    others = [(span(each), None) for each in range(2, 12)]
    near = sampled(RULE, (span(1), None), *others, (span(1, 10, ERROR), None), held=11)
    assert near.policies["error"] == Kept(1, 2, 20)
    assert near.total.traces == 11
    far = sampled(RULE, (span(1), None), *others * 3, (span(1, 10, ERROR), None), held=5)
    assert far.policies["error"] == Kept(1, 1, 10)


def test_no_more_traces_are_held_than_two_generations() -> None:
    found = TailSampling(RULE, 10)
    for each in range(1, 1_000):
        found.add(span(each), None)
        assert len(found._young) + len(found._old) <= 20


def test_traces_longer_than_the_decision_waits_are_told() -> None:
    found = sampled(
        RULE,
        (span(1, end=100 * S), None),
        (span(1, end=110 * S), None),
        (span(2, end=111 * S), None),
        (span(2, end=100 * S), None),
        (span(2, end=101 * S), None),
        (span(2, end=100 * S - 1), None),
        (span(3), None),
    )
    assert found.long == 1
