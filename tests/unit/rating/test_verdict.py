"""Verdicts: edges, the most specific rule, and agreement with a plain reading of the rules."""

from __future__ import annotations

from dataclasses import asdict
from enum import Enum
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.trace import SpanKind

from spanwise.alerts import shipped as alerts
from spanwise.rating import shipped
from spanwise.rating.edges import edges
from spanwise.rating.lowered import candidates, compile_rules
from spanwise.rules.alerting import Alerting
from spanwise.rules.model import AttributeMatch, History, Match, MetricRule, SpanRule, by_precedence
from spanwise.thresholds.load import load, lower

S = 1_000_000_000
SHIPPED = compile_rules(lower(load()))
GET = {"http.request.method": "GET"}


@pytest.mark.parametrize(
    ("duration", "rating", "limit"),
    [
        *((0, None, None), (S, None, None), (S + 1, "acceptable", 1.0), (3 * S, "acceptable", 1.0)),
        *((3 * S + 1, "poor", 3.0), (5 * S, "poor", 3.0), (5 * S + 1, "critical", 5.0), (-5, None, None)),
    ],
)
def test_edges_belong_to_the_better_rating(duration: int, rating: str | None, limit: float | None) -> None:
    found = SHIPPED("GET /", SpanKind.SERVER, GET, duration)
    if rating is None:
        assert found is None
    else:
        assert found == (rating, "http.server", limit)


def test_a_span_without_a_rule_is_not_rated() -> None:
    assert SHIPPED("x", SpanKind.INTERNAL, {}, 1 << 62) is None
    assert SHIPPED("x", SpanKind.CONSUMER, GET, 1 << 62) is None


def test_the_most_specific_rule_decides_also_that_it_is_good() -> None:
    broad = SpanRule("broad", (Match("server"),), 1, 2, 3)
    narrow = SpanRule("narrow", (Match(attributes=(AttributeMatch("r", "/a"),)),), 100, 200, 300)
    verdict = compile_rules((broad, narrow))
    assert verdict("x", SpanKind.SERVER, {"r": "/a"}, 50) is None
    assert verdict("x", SpanKind.SERVER, {"r": "/b"}, 50) == ("critical", "broad", 3e-9)


def test_equally_specific_rules_are_taken_by_name_whatever_their_order() -> None:
    one = SpanRule("a", (Match("server"),), 1, 2, 3)
    two = SpanRule("b", (Match("server"),), 1, 2, 3)
    for rules in ((one, two), (two, one)):
        found = compile_rules(rules)("x", SpanKind.SERVER, {}, 9)
        assert found is not None
        assert found.rule == "a"


def test_values_are_compared_type_and_all_and_never_raise() -> None:
    rule = SpanRule("r", (Match(attributes=(AttributeMatch("k", True),)),), 1, 2, 3)
    text = SpanRule("t", (Match(attributes=(AttributeMatch("k", "x"),)),), 1, 2, 3)
    verdict = compile_rules((rule, text))

    class Word(str, Enum):
        X = "x"

    for value, rated in [(True, "r"), (1, None), ("x", "t"), (Word.X, "t"), (["x"], None), (None, None)]:
        found = verdict("n", SpanKind.SERVER, {"k": value}, 9)
        assert (found and found.rule) == rated, value


VALUES: st.SearchStrategy[Any] = st.sampled_from(["a", "b", 1, 2, True, False])
KEYS = st.sampled_from(["k", "l", "m"])
MATCHES = st.builds(
    lambda kind, name, attributes: Match(
        kind, name, tuple(AttributeMatch(key, value) for key, value in sorted(attributes.items()))
    ),
    st.sampled_from([None, "server", "client", "internal", "producer", "consumer"]),
    st.sampled_from([None, "n1", "n2"]),
    st.dictionaries(KEYS, st.none() | VALUES, max_size=2),
)
RULES = st.lists(
    st.tuples(
        st.lists(MATCHES, min_size=1, max_size=3), st.lists(st.integers(0, 30), min_size=3, max_size=3)
    ),
    max_size=5,
).map(
    lambda drawn: tuple(
        SpanRule(f"r{number}", tuple(matches), a, a + b + 1, a + b + c + 2)
        for number, (matches, (a, b, c)) in enumerate(drawn)
    )
)


def plain(rules: Any, name: str, kind: SpanKind, attributes: dict[str, Any], duration: int) -> Any:
    def matches(match: Match) -> bool:
        return (
            match.kind in (None, kind.name.lower())
            and match.name in (None, name)
            and all(
                each.key in attributes
                and (
                    each.value is None
                    or (type(each.value), each.value) == (type(attributes[each.key]), attributes[each.key])
                )
                for each in match.attributes
            )
        )

    for rule in by_precedence(rules):
        if any(matches(match) for match in rule.matches):
            for rating, edge in rule.edges:
                if duration > edge:
                    return rating, rule.name, edge / S
            return None
    return None


@given(
    RULES,
    st.sampled_from(["n1", "n2", "n3"]),
    st.sampled_from(list(SpanKind)),
    st.dictionaries(KEYS, VALUES),
    st.integers(-1, 100),
)
def test_the_index_finds_what_reading_the_rules_one_by_one_finds(
    rules: Any, name: str, kind: SpanKind, attributes: dict[str, Any], duration: int
) -> None:
    assert compile_rules(rules)(name, kind, attributes, duration) == plain(
        rules, name, kind, attributes, duration
    )


def test_the_generated_verdicts_are_the_shipped_thresholds() -> None:
    assert candidates(lower(load())) == shipped.CANDIDATES, "run scripts/shipped-verdicts"
    assert edges(lower(load())) == shipped.EDGES, "run scripts/shipped-verdicts"
    (history,) = (rule for rule in lower(load()) if isinstance(rule, History))
    assert asdict(history) == shipped.HISTORY, "run scripts/shipped-verdicts"
    held = tuple(rule for rule in lower(load()) if isinstance(rule, (MetricRule, Alerting, History)))
    assert held == alerts.RULES, "run scripts/shipped-verdicts"


@given(RULES, st.sampled_from(list(SpanKind)), st.dictionaries(KEYS, VALUES), st.integers(-1, 100))
def test_up_to_the_floor_no_span_is_rated(
    rules: Any, kind: SpanKind, attributes: dict[str, Any], duration: int
) -> None:
    verdict = compile_rules(rules)
    if duration <= verdict.floor:  # type: ignore[attr-defined]
        assert plain(rules, "n1", kind, attributes, duration) is None
    lowest = min((rule.edges[-1][1] for rule in rules), default=None)
    assert lowest is None or verdict.floor <= lowest  # type: ignore[attr-defined]
