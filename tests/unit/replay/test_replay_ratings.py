"""Replay rates a recorded span as the process did, by whatever rules, at every edge."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random
from typing import Any

import pytest
from google.protobuf import json_format
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.trace import SpanKind

from rating_traffic import Sent, request, rules_of, traffic
from spanwise import names
from spanwise.rating.lowered import compile_rules
from spanwise.rating.verdict import Verdict
from spanwise.replay.ratings import GOOD, judge
from spanwise.replay.replay import Replay
from spanwise.replay.sources import read_file
from spanwise.replay.spans import Losses
from spanwise.rules.model import SPAN_KINDS, AttributeMatch, Match, Rule, Sampling, SpanRule
from spanwise.thresholds.load import load, lower

SAMPLING = Sampling((), 10.0, 10**9)


def replayed(rules: tuple[Rule, ...], file: Path) -> list[Verdict | None]:
    """Each span's verdict as the process gives it: none where it is good."""
    losses, run = Losses(), Replay((*rules, SAMPLING), ())
    said = [each for batch in read_file(file, losses, lambda _: None) for each in run.add(batch)]
    assert not losses, losses.problems
    return [None if each is None or each.rating == GOOD else each for each in said]


def as_json(message: ExportTraceServiceRequest) -> str:
    """As the Collector writes it: ids in hexadecimal, kinds as numbers."""
    document = json_format.MessageToDict(message, use_integers_for_enums=True)
    spans = message.resource_spans[0].scope_spans[0].spans
    written = document["resourceSpans"][0]["scopeSpans"][0].get("spans", [])
    for span, each in zip(spans, written, strict=True):
        each["traceId"], each["spanId"] = span.trace_id.hex(), span.span_id.hex()
    return json.dumps(document)


def in_the_process(rules: tuple[Rule, ...], sent: list[Sent]) -> list[Verdict | None]:
    verdict = compile_rules(rules)
    return [verdict(each.name, each.kind, each.attributes, each.duration) for each in sent if each.kind]


@settings(max_examples=60)
@given(st.randoms(use_true_random=False), st.integers(0, 3), st.integers(0, 1 << 30))
def test_the_process_and_replay_agree_on_every_span(
    tmp_path: Path, drawn: Random, count: int, seed: int
) -> None:
    # The rules are drawn, and so made simpler until they tell why; the spans about them are too many for it.
    rules: tuple[Rule, ...] = rules_of(drawn, count)
    random = Random(seed)
    sent = traffic(rules, random)
    message = request(sent, random)
    protobuf, json_lines = tmp_path / "traces.pb", tmp_path / "traces.jsonl"
    protobuf.write_bytes(message.SerializeToString())
    json_lines.write_text(as_json(message))
    expected = in_the_process(rules, sent)
    for file in (protobuf, json_lines):
        said = zip(sent, replayed(rules, file), strict=True) if sent else ()
        assert [each for span, each in said if span.kind] == expected


def test_the_shipped_rules_at_every_edge_in_every_rating(tmp_path: Path) -> None:
    rules, random = lower(load()), Random(6)
    sent = traffic(rules, random)
    file = tmp_path / "traces.pb"
    file.write_bytes(request(sent, random).SerializeToString())
    said = replayed(rules, file)
    assert [each for span, each in zip(sent, said, strict=True) if span.kind] == in_the_process(rules, sent)
    found = {(each.rule, each.rating) for each in said if each}
    assert len(found) == 3 * sum(isinstance(rule, SpanRule) for rule in rules), "each rule, each rating"


def test_good_names_the_rule_that_decided() -> None:
    broad = SpanRule("broad", (Match("server"),), 1, 2, 3)
    narrow = SpanRule("narrow", (Match(attributes=(AttributeMatch("r", "/a"),)),), 100, 200, 300)
    judged = judge((broad, narrow))
    assert judged("x", 2, {"r": "/a"}, 50) == (GOOD, "narrow", 1e-7)
    assert judged("x", 2, {}, -5) == (GOOD, "broad", 1e-9)
    assert judged("x", 2, {}, 3) == ("poor", "broad", 2e-9)
    assert judged("x", 1, {}, 50) is None


def test_a_span_without_a_kind_is_of_none() -> None:
    of_kinds = [SpanRule(f"{kind}s", (Match(kind),), 1, 2, 3) for kind in SPAN_KINDS]
    judged = judge((*of_kinds, SpanRule("named", (Match(name="n"),), 1, 2, 3)))
    assert judged("x", 0, {}, 9) is None
    assert judged("n", 0, {}, 9) == ("critical", "named", 3e-9)
    assert judged("x", 5, {}, 9) == ("critical", "consumers", 3e-9)


@pytest.mark.parametrize(
    ("duration", "rated"), [(2**64 - 1, "good"), (2**63, "good"), (2**63 - 1, "critical")]
)
def test_a_clock_that_is_centuries_wrong_is_the_collector_s(duration: int, rated: str) -> None:
    found = judge((SpanRule("r", (Match("server"),), 1, 2, 3),))("x", 2, {}, duration)
    assert found is not None
    assert found.rating == rated


def test_what_a_span_was_rated_before_does_not_count(tmp_path: Path) -> None:
    rule = SpanRule("new", (Match("server"),), 10, 20, 30)
    old: dict[str, Any] = {names.RATING: "critical", names.RATING_RULE: "old", names.RATING_LIMIT: 1.0}
    random = Random(1)
    file = tmp_path / "t.pb"
    file.write_bytes(request([Sent("x", SpanKind.SERVER, old, 15)], random).SerializeToString())
    assert replayed((rule,), file) == [("acceptable", "new", 1e-8)]
    # The process that rates it anew sees none of the old one.
    of_rated = SpanRule("rated", (Match(attributes=(AttributeMatch(names.RATING),)),), 1, 2, 3)
    assert replayed((of_rated,), file) == [None]


def test_the_period_is_from_the_first_start_to_the_last_end_in_whatever_order(tmp_path: Path) -> None:
    sent = request([Sent("x", SpanKind.SERVER, {}, 15)] * 3, Random(1))
    for number, span in zip((2, 1, 3), sent.resource_spans[0].scope_spans[0].spans, strict=True):
        span.start_time_unix_nano, span.end_time_unix_nano = number * 100, 1_000 - number
    file = tmp_path / "t.pb"
    file.write_bytes(sent.SerializeToString())
    run = Replay((SAMPLING,), ())
    for batch in read_file(file, Losses(), lambda _: None):
        assert run.add(batch) == [None] * 3
    outcome = run.outcome()
    assert (outcome.spans, outcome.unruled, outcome.first, outcome.last) == (3, 3, 100, 999)
