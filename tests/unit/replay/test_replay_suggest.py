"""Proposed limits: a file that can be used, near the data's quantiles, for what is busy."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from spanwise import names
from spanwise.replay.sketch import Sketch
from spanwise.replay.spans import Span
from spanwise.replay.suggest import FEWEST, OPERATIONS_MOST, Suggestions
from spanwise.rules.model import AttributeMatch, Match, SpanRule, by_precedence
from spanwise.thresholds.load import load, lower, read

MS = 1_000_000
SHIPPED = by_precedence(lower(load()))
SERVER, CLIENT = 2, 3


def span(took: int, name: str = "GET", kind: int = SERVER, **attributes: Any) -> Span:
    return Span(b"t" * 16, name, kind, 10**18, 10**18 + took, 0, attributes, 1)


def route(text: str) -> dict[str, str]:
    return {names.HTTP_ROUTE: text}


def suggested(made: Suggestions) -> dict[str, SpanRule]:
    """The rules of the proposed file."""
    return {rule.name: rule for rule in by_precedence(read(made.text()).rules)}


def test_quantiles_become_readable_limits() -> None:
    made = Suggestions(SHIPPED, SHIPPED)
    for number in range(1, 1_001):
        made.add(span(number * MS), "http.server")
    text = made.text()
    assert "  # 1,000 spans\n  http.server:\n    good: 800ms\n    acceptable: 1s\n    poor: 1.2s\n" in text
    shipped = {rule.name: rule for rule in SHIPPED}
    assert suggested(made)["http.server"].matches == shipped["http.server"].matches


def test_fewer_spans_than_p99_needs_give_a_note() -> None:
    made = Suggestions(SHIPPED, SHIPPED)
    for _ in range(FEWEST - 1):
        made.add(span(MS), "auth")
    assert "# Fewer spans: auth." in made.text()
    assert "spans:\n" not in made.text()
    made.add(span(MS), "auth")
    # A sketch's quantile is up to 1/64 above; the next readable value is 1.2.
    assert suggested(made)["auth"].good == 1.2 * MS


def test_a_route_that_is_no_text_is_none() -> None:
    made = Suggestions(SHIPPED, SHIPPED)
    for route in (({"values": []},), ["/shop"], 5):
        for _ in range(FEWEST):
            made.add(span(MS, "GET /shop", **{names.HTTP_ROUTE: route}), "auth")
    assert f"# {3 * FEWEST} spans" in made.text()


def test_equal_durations_give_limits_that_rise() -> None:
    made = Suggestions(SHIPPED, SHIPPED)
    for _ in range(FEWEST):
        made.add(span(0), "auth")
    rule = suggested(made)["auth"]
    assert (rule.good, rule.acceptable, rule.poor) == (1_000, 1_200, 1_500)


def test_busy_operations_get_limits_of_their_own_and_the_busiest_comes_first() -> None:
    made = Suggestions(SHIPPED, SHIPPED)
    for number in range(300):
        made.add(span(10 * MS, **route("/busy")), "http.server")
        if number < 150:
            made.add(span(700 * MS, **route("/slow")), "http.server")
        if number < 50:
            made.add(span(MS, **route("/rare")), "http.server")
        made.add(span(2 * MS, "SELECT", CLIENT), "db.client")
    text = made.text()
    assert text.index("  /busy:") < text.index("  /slow:")
    rules = suggested(made)
    slow = AttributeMatch(names.HTTP_ROUTE, "/slow")
    assert rules["/slow"].matches == (Match("server", attributes=(slow,)),)
    assert rules["/slow"].good == 800 * MS
    assert "/rare" not in rules
    assert "SELECT" not in rules, "the only operation of its rule"


def test_a_rule_of_the_user_s_is_written_with_its_match() -> None:
    match = Match("server", "x", (AttributeMatch("a", None), AttributeMatch("b", True)))
    mine = SpanRule("mine", (match,), 1, 2, 3)
    made = Suggestions((*SHIPPED, mine), SHIPPED)
    for _ in range(FEWEST):
        made.add(span(MS, "x", a=1, b=True), "mine")
    assert suggested(made)["mine"].matches == mine.matches


def test_an_operation_that_would_not_decide_is_not_proposed() -> None:
    narrow = SpanRule("narrow", (Match("server", "GET", (AttributeMatch("a", 1),)),), 1, 2, 3)
    made = Suggestions((*SHIPPED, narrow), SHIPPED)
    for number in range(2 * FEWEST):
        made.add(span(MS, "GET", a=1, **route(f"/{number % 2}")), "narrow")
    assert {"/0", "/1"}.isdisjoint(suggested(made))


def test_a_name_that_is_taken_is_not_taken_again() -> None:
    made = Suggestions(SHIPPED, SHIPPED)
    for _ in range(FEWEST):
        for name in ("db.client", "other"):
            made.add(span(MS, name, CLIENT), "http.client")
            made.add(span(MS, name, SERVER), "http.server")
    rules = suggested(made)
    assert {"db.client (client)", "db.client (server)", "other"} < rules.keys()
    assert rules["db.client"] == {rule.name: rule for rule in SHIPPED}["db.client"]


def test_operations_are_bounded() -> None:
    made = Suggestions(SHIPPED, SHIPPED)
    for number in range(10 * OPERATIONS_MOST):
        made.add(span(MS, f"operation {number}"), "http.server")
    assert len(made._of_operations) == OPERATIONS_MOST
    assert len(made._memo) <= 4 * OPERATIONS_MOST
    assert "10,000 spans" in made.text()


ODD = ["*", "off", "true", "1", "", " ", "a: b", "- x", "#", "${env:X}", '"', "'", "\u2028", "{{", "x" * 300]
TEXTS = st.text(max_size=12) | st.sampled_from(ODD)


@given(
    st.lists(TEXTS, min_size=2, max_size=4, unique=True),
    st.booleans(),
    st.integers(0, 5),
    st.integers(0, 10**15),
)
def test_whatever_operations_are_called_the_file_can_be_used(
    texts: list[str], routed: bool, kind: int, took: int
) -> None:
    mine = SpanRule("any", (Match(attributes=(AttributeMatch("a", None),)),), 1, 2, 3)
    made = Suggestions((*SHIPPED, mine), SHIPPED)
    for text in texts:
        for _ in range(FEWEST):
            sent = span(took, "n", kind, **route(text)) if routed else span(took, text, kind)
            made.add(sent, "any")
    said = {
        (match.name, tuple(each.value for each in match.attributes))
        for rule in suggested(made).values()
        for match in rule.matches
    }
    for text in texts:
        proposed = (None, (text,)) in said if routed else (text, ()) in said
        assert proposed == (text.isprintable() and text.strip() not in ("", "*"))


SHARES = st.sampled_from([0.01, 0.5, 0.75, 0.95, 0.99, 1.0])


@given(st.lists(st.integers(-5, 2**62), min_size=1, max_size=200), SHARES)
def test_a_sketch_is_never_below_and_hardly_above_the_quantile(durations: list[int], share: float) -> None:
    sketch = Sketch()
    for each in durations:
        sketch.add(each)
    ordered = sorted(max(0, each) for each in durations)
    exact = ordered[max(1, -(-round(share * 100) * len(ordered) // 100)) - 1]
    found = sketch.quantile(share)
    assert exact <= found <= exact + exact // 64 + 1
    assert sketch.total == len(durations)
