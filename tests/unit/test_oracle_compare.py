"""The comparison that the oracle tests rest on sees what it should."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.trace import (
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    set_span_in_context,
)

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from oracle_compare import Difference, Intended, Recorder, differences, unexplained

SAMPLED = TraceFlags(TraceFlags.SAMPLED)
Traffic = Callable[[Recorder], None]


def recorded(traffic: Traffic) -> dict[str, Any]:
    recorder = Recorder()
    with recorder.step("one"):
        traffic(recorder)
    return json.loads(json.dumps(recorder.steps))


def plain(recorder: Recorder, **changed: Any) -> None:
    """Two spans and three metrics."""
    tracer = recorder.tracer_provider.get_tracer("t")
    remote = NonRecordingSpan(SpanContext(1, changed.get("remote", 2), is_remote=True, trace_flags=SAMPLED))
    attributes = changed.get("attributes", {"a": 1, "b": ["x"]})
    with tracer.start_as_current_span("outer", set_span_in_context(remote), SpanKind.SERVER):
        if changed.get("more"):
            tracer.start_span("more").end()
        with tracer.start_as_current_span(
            changed.get("name", "inner"),
            changed.get("context"),
            changed.get("kind", SpanKind.CLIENT),
            attributes,
            record_exception=False,
        ) as span:
            if changed.get("status"):
                span.set_status(Status(StatusCode.ERROR, changed["status"]))
            for event in changed.get("events", [("e", {"k": "v"})]):
                span.add_event(*event)
    meter = recorder.meter_provider.get_meter("t")
    meter.create_histogram(
        "h", "s", explicit_bucket_boundaries_advisory=changed.get("buckets", [1.0])
    ).record(0.5, changed.get("labels", {"l": "m"}))
    meter.create_counter("c", changed.get("unit", "1")).add(changed.get("amount", 1))
    recorder.note("sent", changed.get("note", ["a"]))
    if not changed.get("no_gauge"):
        meter.create_gauge("g").set(1)


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"name": "other"}, ["span: name"]),
        ({"kind": SpanKind.INTERNAL}, ["span: kind"]),
        ({"status": "bad"}, ["span: status", "span: description"]),
        ({"remote": 3}, ["span: parent"]),
        (
            {
                "context": set_span_in_context(
                    NonRecordingSpan(SpanContext(1, 9, is_remote=True, trace_flags=SAMPLED))
                )
            },
            ["span: parent"],
        ),
        (
            {"attributes": {"a": True, "c": 1}},
            ["attribute changed: a", "attribute missing: b", "attribute added: c"],
        ),
        ({"events": [("e", {"k": "w"})]}, ["event attribute changed: k"]),
        ({"events": [("f", {})]}, ["event added: f", "event missing: e"]),
        ({"more": True}, ["span added: more"]),
        ({"buckets": [2.0]}, ["h: buckets"]),
        ({"labels": {"n": "m"}}, ["h: attribute missing: l", "h: attribute added: n"]),
        ({"unit": "By"}, ["c: unit"]),
        ({"amount": 2}, ["c: value"]),
        ({"no_gauge": True}, ["metric missing: g"]),
        ({"note": ["b"]}, ["note changed: sent"]),
    ],
)
def test_every_difference_is_seen(changed: dict[str, Any], expected: list[str]) -> None:
    ours, theirs = recorded(lambda recorder: plain(recorder, **changed)), recorded(plain)
    found = differences(ours, theirs, skip=lambda span: span["name"] == "more")
    assert [each.what for each in found] == expected


def test_the_same_traffic_has_none() -> None:
    assert differences(recorded(plain), recorded(plain)) == []


def test_a_span_without_a_partner_is_told() -> None:
    ours, theirs = recorded(lambda recorder: plain(recorder, more=True)), recorded(plain)
    told = [each.what for each in differences(ours, theirs)]
    assert "span added: inner" in told  # not skipped, so the last one is left over
    told = [each.what for each in differences(theirs, ours)]
    assert "span missing: inner" in told


def test_other_steps_are_another_traffic() -> None:
    with pytest.raises(AssertionError, match="not the same steps"):
        differences({"a": {}}, {"b": {}})
    with pytest.raises(AssertionError, match="nothing was told"):
        differences({}, {})
    empty = {"spans": [], "metrics": [], "notes": {}}
    with pytest.raises(AssertionError, match="nothing was told"):
        differences({"a": empty}, {"a": empty})


def test_a_list_must_explain_all_and_nothing_else() -> None:
    found = [Difference("select", "span: name", "SELECT tracks", "SELECT x", "SELECT tracks")]
    assert unexplained(found, [Intended("span: *", "why")], "new") == []
    assert unexplained(found, [], "new") == [
        "[new] select: SELECT tracks: span: name: ours 'SELECT tracks', theirs 'SELECT x'"
    ]
    elsewhere = Intended("span: name", "why", steps="insert")
    (left, unused) = unexplained(found, [elsewhere], "new")
    assert left.startswith("[new] select")
    assert unused == "[new] listed, but it does not occur: span: name (steps insert)"
    otherwise = Intended("span: name", "why", holds=lambda ours, _: ours == "nothing")
    assert len(unexplained(found, [otherwise], "new")) == 2
    only_old = Intended("span: status", "why", modes=("old",))
    assert unexplained(found, [Intended("span: name", "why"), only_old], "new") == []
