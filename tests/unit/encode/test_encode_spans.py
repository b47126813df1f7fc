"""Spans: the official decoder sees what the stock encoder sends, and hostile spans are survived."""

from __future__ import annotations

import math
import struct
import sys
import threading
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.attributes import BoundedAttributes
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans as stock_encode_spans
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import ScopeSpans
from opentelemetry.proto.trace.v1.trace_pb2 import Span as SpanMessage
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan, SpanLimits, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.util import BoundedList
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    TraceFlags,
    TraceState,
    set_span_in_context,
)
from opentelemetry.trace.status import Status, StatusCode

from spanwise.encode.request import UnencodableError, frame
from spanwise.encode.spans import encode_span, encode_span_fields, encode_spans, leaf_pieces
from spanwise.fixed import Fixed

# Equal but distinct ones are among them: stock puts those in one group.
RESOURCES = [
    Resource({"service.name": "a"}),
    Resource({"service.name": "a"}),
    Resource({"service.name": "b", "list": ["x", "y"], "n": 1}, "https://example.org/schema"),
    Resource({"n": True}),
    Resource({}),
]
SCOPES = [
    None,
    InstrumentationScope("lib", "1.0"),
    InstrumentationScope("lib", "1.0"),
    InstrumentationScope("lib", "1.0", "https://example.org/schema"),
    InstrumentationScope("other", None, None, {"k": 1, "s": "é"}),
    InstrumentationScope("other", None, None, {"k": 2}),
]

U64 = st.integers(0, (1 << 64) - 1)
NAMES = st.sampled_from(["GET /", "SELECT", ""]) | st.text(max_size=200)
SCALARS = (
    st.sampled_from(["GET", 0, 1, True, False, 0.0, -0.0, 1.0, None, math.nan, math.inf])
    | st.text(max_size=20)
    | st.integers(-(1 << 63), (1 << 63) - 1)
    | st.floats()
    | st.binary(max_size=20)
)
ATTRIBUTES = st.dictionaries(
    st.sampled_from(["a", "b", "c"]) | st.text(min_size=1, max_size=20),
    SCALARS | st.lists(SCALARS, max_size=3) | st.dictionaries(st.text(max_size=5), SCALARS, max_size=3),
    max_size=9,
)
BOUNDED = st.builds(
    lambda attributes, limit: BoundedAttributes(maxlen=limit, attributes=attributes),
    ATTRIBUTES,
    st.none() | st.integers(0, 4),
)
ANY_ATTRIBUTES = st.none() | ATTRIBUTES | BOUNDED
STATES = st.sampled_from(
    [None, TraceState(), TraceState([("vendor", "1")]), TraceState([("b", "2"), ("a", "x:y;z")])]
)
CONTEXTS = st.builds(
    SpanContext,
    trace_id=st.integers(0, (1 << 128) - 1),
    span_id=U64,
    is_remote=st.booleans(),
    trace_flags=st.sampled_from([TraceFlags(0), TraceFlags(1), TraceFlags(3)]),
    trace_state=STATES,
)
STATUSES = st.builds(Status, st.just(StatusCode.ERROR), st.none() | st.text(max_size=150)) | st.sampled_from(
    [Status(), Status(StatusCode.OK), None]
)


@st.composite
def bounded_lists(draw: st.DrawFn, elements: st.SearchStrategy[Any]) -> Any:
    """Events or links as a span holds them, with some dropped."""
    items = draw(st.lists(elements, max_size=4))
    limit = draw(st.none() | st.integers(0, 3))
    return items if limit is None else BoundedList.from_seq(limit, items)


EVENTS = bounded_lists(st.builds(Event, name=NAMES, attributes=ANY_ATTRIBUTES, timestamp=U64))
LINKS = bounded_lists(st.builds(Link, CONTEXTS, ANY_ATTRIBUTES))
SPANS = st.builds(
    ReadableSpan,
    name=NAMES,
    context=CONTEXTS,
    parent=st.none() | CONTEXTS,
    resource=st.sampled_from(RESOURCES),
    attributes=ANY_ATTRIBUTES,
    events=EVENTS,
    links=LINKS,
    kind=st.sampled_from(list(SpanKind)),
    status=STATUSES,
    start_time=st.none() | U64,
    end_time=st.none() | U64,
    instrumentation_scope=st.sampled_from(SCOPES),
)


def canonical(request: bytes) -> bytes:
    return ExportTraceServiceRequest.FromString(request).SerializeToString(deterministic=True)


def stock(spans: list[ReadableSpan]) -> bytes:
    message: ExportTraceServiceRequest = stock_encode_spans(spans)
    return message.SerializeToString(deterministic=True)


def span(**changes: Any) -> ReadableSpan:
    fields: dict[str, Any] = {
        "name": "n",
        "context": SpanContext(1, 2, False),
        "resource": RESOURCES[0],
        "start_time": 3,
        "end_time": 4,
    }
    return ReadableSpan(**{**fields, **changes})


def decoded(made: ReadableSpan) -> SpanMessage:
    return SpanMessage.FromString(encode_span(made))


def fields(**changes: Any) -> SpanMessage:
    arguments: dict[str, Any] = {
        "trace_id": 1,
        "span_id": 2,
        "trace_state": None,
        "parent_span_id": None,
        "parent_is_remote": False,
        "name": "n",
        "kind_value": 1,
        "start_ns": 3,
        "end_ns": 4,
        "attributes": {"a": 1},
    }
    more: dict[str, Any] = {
        "status_code": 0,
        "status_description": None,
        "dropped_attributes": 0,
        "events": (),
        "dropped_events": 0,
        "links": (),
        "dropped_links": 0,
    }
    changed = {**more, **{key: value for key, value in changes.items() if key in more}}
    named = {**arguments, **{key: value for key, value in changes.items() if key not in more}}
    return SpanMessage.FromString(encode_span_fields(**named, more=tuple(changed.values())))


_IDS = st.integers(1, 2**64 - 1)


_TRACE_IDS = st.integers(1, 2**128 - 1)
_NANOSECONDS = st.integers(0, 2**63)
_PARENTS = st.lists(st.tuples(_TRACE_IDS, _IDS), min_size=1, max_size=4)
_LEAVES = st.lists(
    st.tuples(
        st.integers(0, 3),  # which parent
        st.integers(0, 2),  # which attributes
        _IDS,
        st.text(max_size=300) | st.sampled_from(["GET", "SELECT"]),
        st.integers(0, 4),
        _NANOSECONDS,
        _NANOSECONDS,
    ),
    min_size=1,
    max_size=9,
)
_LEAF_ATTRIBUTES = st.dictionaries(
    st.text(min_size=1, max_size=9),
    st.text(max_size=300) | st.integers() | st.booleans() | st.floats(),
    max_size=9,
)


def record(*leaf: Any) -> SpanMessage:
    """What the official protobuf makes of a leaf's record, which is one field of a scope's spans."""
    (found,) = ScopeSpans.FromString(b"".join(leaf_pieces(*leaf))).spans
    return found


@given(parents=_PARENTS, leaves=_LEAVES, attributes=st.tuples(*[_LEAF_ATTRIBUTES] * 3))
def test_a_leaf_is_the_span_with_the_same_fields(
    parents: list[tuple[int, int]], leaves: list[tuple[Any, ...]], attributes: tuple[dict[str, Any], ...]
) -> None:
    # As plain tuples of a context: the one before may be an equal one, another one, or the very same.
    contexts = [(*ids, False, 1, None, True) for ids in parents]
    fixed = [Fixed(each) for each in attributes]
    for which, about, span_id, name, kind, start, end in [*leaves, *leaves]:
        parent = contexts[which % len(contexts)]
        found = record(parent, span_id, name, kind, start, end, fixed[about])
        trace_id, parent_id, *_ = parent
        whole = encode_span_fields(
            trace_id, span_id, None, parent_id, False, name, kind, start, end, attributes[about]
        )
        # Compared as text: a NaN is no other NaN's equal.
        assert str(found) == str(SpanMessage.FromString(whole))


@given(
    parents=_PARENTS,
    leaves=_LEAVES,
    attributes=st.dictionaries(
        st.text(min_size=1, max_size=9),
        st.text(max_size=300) | st.integers(-(1 << 63), (1 << 63) - 1) | st.booleans(),
        max_size=9,
    ),
)
def test_a_leaf_decodes_to_what_stock_sends(
    parents: list[tuple[int, int]], leaves: list[tuple[Any, ...]], attributes: dict[str, Any]
) -> None:
    contexts = [tuple(SpanContext(*ids, False, TraceFlags(1))) for ids in parents]
    fixed = Fixed(attributes)
    for which, _, span_id, name, kind, start, end in leaves:
        trace_id, parent_id, *_ = parent = contexts[which % len(contexts)]
        whole = span(
            name=name,
            context=SpanContext(trace_id, span_id, False, TraceFlags(1)),
            parent=SpanContext(trace_id, parent_id, False, TraceFlags(1)),
            kind=list(SpanKind)[kind],
            start_time=start,
            end_time=end,
            attributes=attributes,
        )
        (resource,) = ExportTraceServiceRequest.FromString(stock([whole])).resource_spans
        (expected,) = resource.scope_spans[0].spans
        assert record(parent, span_id, name, kind, start, end, fixed) == expected


def test_a_parent_is_known_again_by_what_it_is_and_not_by_where_it_was() -> None:
    """A later one may get the place in memory of one that is gone."""
    fixed = Fixed({})
    for number in range(1, 50):
        # Not kept here: made, encoded and gone.
        found = record((number, number + 100, False), 5, "n", 0, 1, 2, fixed)
        assert (int.from_bytes(found.trace_id, "big"), int.from_bytes(found.parent_span_id, "big")) == (
            number,
            number + 100,
        )


def test_threads_do_not_mix_parents() -> None:
    """Those of one request may have the same parent, and find what another has remembered of it."""
    parents = [(number << 64 | number, number, False) for number in (1, 2)]
    wrong: list[object] = []

    def encode(number: int) -> None:
        fixed = Fixed({"n": number})
        for turn in range(1, 2500):
            parent = parents[(turn + number) % 2]
            found = record(parent, turn, "n", 0, number, turn, fixed)
            told = found.trace_id, found.parent_span_id, found.span_id
            ids = [int.from_bytes(each, "big") for each in told]
            if ids != [*parent[:2], turn] or found.attributes[0].value.int_value != number:
                wrong.append(ids)

    threads = [threading.Thread(target=encode, args=(number,)) for number in range(1, 5)]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)  # so that they meet inside
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert wrong == []


@pytest.mark.parametrize(
    "fields",
    [
        ((1, 3), 2, "s", 0, -1, 1),
        ((1, 3), 2, "s", 0, 1, 1 << 64),
        ((1, 3), 1 << 64, "s", 0, 1, 1),
        ((1, 1 << 64), 2, "s", 0, 1, 1),
        ((1 << 128, 3), 2, "s", 0, 1, 1),
    ],
)
def test_a_leaf_out_of_range_raises(fields: tuple[Any, ...]) -> None:
    with pytest.raises(struct.error):
        leaf_pieces(*fields, Fixed({}))
    # And what comes next has nothing of it.
    found = record((7, 8), 9, "n", 0, 1, 2, Fixed({}))
    assert (found.trace_id[-1], found.parent_span_id[-1], found.span_id[-1]) == (7, 8, 9)


@given(st.lists(SPANS, max_size=6))
def test_decodes_to_what_stock_sends(spans: list[ReadableSpan]) -> None:
    expected = stock(spans)
    # Three times: the memo may be cold or warm.
    for _ in range(3):
        assert canonical(encode_spans(spans)) == expected


def test_spans_of_the_sdk_decode_to_what_stock_sends() -> None:
    exporter = InMemorySpanExporter()
    provider = TracerProvider(
        resource=RESOURCES[2],
        span_limits=SpanLimits(max_span_attributes=3, max_events=2, max_links=1, max_event_attributes=1),
    )
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracer = provider.get_tracer("lib", "2.0", attributes={"k": "v"})
    remote = SpanContext(5, 6, True, TraceFlags(1), TraceState([("vendor", "1")]))
    parent = set_span_in_context(NonRecordingSpan(remote))
    links = [Link(remote, {"l": 1}), Link(SpanContext(7, 8, False))]
    with tracer.start_as_current_span("root", context=parent, kind=SpanKind.SERVER, links=links) as root:
        for number in range(5):
            root.set_attribute(f"a{number}", number)
            root.add_event(f"e{number}", {"x": number, "y": [1.5]})
        with pytest.raises(ZeroDivisionError), tracer.start_as_current_span("child", kind=SpanKind.CLIENT):
            _ = 1 / 0
    spans = list(exporter.get_finished_spans())
    assert canonical(encode_spans(spans)) == stock(spans)
    child, top = (decoded(each) for each in spans)
    assert (child.flags, top.flags, top.trace_state) == (0x100, 0x300, "vendor=1")
    assert (top.dropped_attributes_count, top.dropped_events_count, top.dropped_links_count) == (2, 3, 1)
    assert (top.kind, child.kind, child.status.code) == (2, 3, 2)


def test_the_sdk_gives_its_parent_span_of_another_process_the_remote_flag() -> None:
    made = [span(parent=SpanContext(1, 9, remote)) for remote in (False, True)]
    assert [decoded(each).flags for each in made] == [0x100, 0x300]
    links = [Link(SpanContext(1, 9, remote)) for remote in (False, True)]
    assert [link.flags for link in decoded(span(links=links)).links] == [0x100, 0x300]


@pytest.mark.parametrize("scopes", [SCOPES[1:3], SCOPES[1:5], SCOPES[:1]])
def test_framing_encoded_spans_is_the_same_request(scopes: list[Any]) -> None:
    grouped = [(scope, [span(name=f"{index}-{n}") for n in range(3)]) for index, scope in enumerate(scopes)]
    framed = frame(RESOURCES[2], [(scope, [encode_span(s) for s in spans]) for scope, spans in grouped])
    request = ExportTraceServiceRequest.FromString(framed)
    (resource_spans,) = request.resource_spans
    assert len(resource_spans.scope_spans) == len(scopes)
    for found, (scope, spans) in zip(resource_spans.scope_spans, grouped, strict=True):
        alone = [
            ReadableSpan(**{**vars_of(s), "resource": RESOURCES[2], "instrumentation_scope": scope})
            for s in spans
        ]
        expected = stock_encode_spans(alone).resource_spans[0]
        assert found == expected.scope_spans[0]
        assert (resource_spans.resource, resource_spans.schema_url) == (
            expected.resource,
            expected.schema_url,
        )


def vars_of(made: ReadableSpan) -> dict[str, Any]:
    return {
        "name": made.name,
        "context": made.context,
        "start_time": made.start_time,
        "end_time": made.end_time,
    }


def test_equal_resources_and_scopes_share_a_group_in_the_order_they_came() -> None:
    made = [
        span(resource=resource, instrumentation_scope=scope)
        for resource in (RESOURCES[2], RESOURCES[0], RESOURCES[1])
        for scope in (SCOPES[4], SCOPES[1], SCOPES[2])
    ]
    request = ExportTraceServiceRequest.FromString(encode_spans(made))
    assert [len(each.scope_spans) for each in request.resource_spans] == [2, 2]
    assert [len(scope.spans) for each in request.resource_spans for scope in each.scope_spans] == [1, 2, 2, 4]
    assert request == stock_encode_spans(made)


def test_requests_one_after_the_other_are_one_request() -> None:
    parts = [frame(resource, [(SCOPES[1], [encode_span(span())])]) for resource in RESOURCES[:3]]
    assert len(ExportTraceServiceRequest.FromString(b"".join(parts)).resource_spans) == 3


def test_no_spans_are_an_empty_request() -> None:
    assert encode_spans([]) == b""


# -- where stock loses the batch ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "read"),
    [
        ({"name": "a\ud800b"}, lambda s: s.name),
        ({"status": Status(StatusCode.ERROR, "a\ud800b")}, lambda s: s.status.message),
        ({"events": [Event("a\ud800b", timestamp=1)]}, lambda s: s.events[0].name),
    ],
)
def test_a_lone_surrogate_is_replaced_and_the_batch_survives(changes: dict[str, Any], read: Any) -> None:
    batch = [span(name="before"), span(**changes), span(name="after")]
    with pytest.raises(UnicodeEncodeError):
        stock_encode_spans(batch)
    before, middle, after = (
        ExportTraceServiceRequest.FromString(encode_spans(batch)).resource_spans[0].scope_spans[0].spans
    )
    assert (before.name, read(middle), after.name) == ("before", "a\ufffdb", "after")


def test_a_lone_surrogate_in_a_link_or_event_attribute_is_replaced() -> None:
    link, event = (
        Link(SpanContext(1, 2, False), {"k\ud800": "v\ud800"}),
        Event("e", {"k\ud800": "v\ud800"}, 1),
    )
    made = decoded(span(links=[link], events=[event], attributes={"k\ud800": "v\ud800"}))
    for attributes in (made.attributes, made.links[0].attributes, made.events[0].attributes):
        assert [(pair.key, pair.value.string_value) for pair in attributes] == [("k\ufffd", "v\ufffd")]


def test_a_lone_surrogate_in_a_scope_or_resource_is_replaced() -> None:
    scope = InstrumentationScope("s\ud800", "v\ud800", "u\ud800")
    request = ExportTraceServiceRequest.FromString(
        encode_spans([span(resource=Resource({"k": "r\ud800"}, "u\ud800"), instrumentation_scope=scope)])
    )
    (found,) = request.resource_spans
    assert found.resource.attributes[0].value.string_value == "r\ufffd"
    assert (found.schema_url, found.scope_spans[0].schema_url) == ("u\ufffd", "u\ufffd")
    assert (found.scope_spans[0].scope.name, found.scope_spans[0].scope.version) == ("s\ufffd", "v\ufffd")


def test_a_lone_surrogate_in_the_trace_state_is_replaced() -> None:
    assert fields(trace_state={"k": "\ud800"}).trace_state == "k=\ufffd"


def test_records_that_are_no_spans_are_left_out_and_reported() -> None:
    reported: list[tuple[Any, Exception]] = []
    bad = [span(context=None), object(), span(kind="no kind")]
    request = encode_spans(
        [span(name="before"), *bad, span(name="after")],  # type: ignore[list-item]
        lambda record, error: reported.append((record, error)),
    )
    spans = ExportTraceServiceRequest.FromString(request).resource_spans[0].scope_spans[0].spans
    assert [each.name for each in spans] == ["before", "after"]
    assert [record for record, _ in reported] == bad
    assert all(isinstance(error, UnencodableError) for _, error in reported)


def test_without_a_listener_what_is_left_out_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    assert encode_spans([span(context=None)]) == b""
    assert "it has no context" in caplog.text


def test_a_scope_that_is_none_costs_only_its_own_spans() -> None:
    reported: list[Any] = []
    made = [span(), span(instrumentation_scope="no scope")]
    request = encode_spans(made, lambda record, _: reported.append(record))
    assert len(ExportTraceServiceRequest.FromString(request).resource_spans[0].scope_spans) == 1
    assert reported == made[1:]


@pytest.mark.parametrize(
    ("changes", "attribute", "expected"),
    [
        ({"name": None}, "name", ""),
        ({"name": 5}, "name", "5"),
        ({"name": ["x"]}, "name", "['x']"),
        ({"trace_id": 1 << 128}, "trace_id", b"\xff" * 16),
        ({"trace_id": -1}, "trace_id", bytes(16)),
        ({"span_id": 1 << 64}, "span_id", b"\xff" * 8),
        ({"parent_span_id": -5}, "parent_span_id", bytes(8)),
        ({"parent_span_id": 0}, "parent_span_id", bytes(8)),
        ({"start_ns": -1}, "start_time_unix_nano", 0),
        ({"end_ns": 1 << 70}, "end_time_unix_nano", (1 << 64) - 1),
        ({"start_ns": 1.5}, "start_time_unix_nano", 1),
        ({"kind_value": -1}, "kind", 1),
        ({"kind_value": 9}, "kind", 1),
        ({"dropped_attributes": 1 << 40}, "dropped_attributes_count", (1 << 32) - 1),
        ({"dropped_events": "x"}, "dropped_events_count", 0),
        ({"trace_state": object()}, "trace_state", ""),
    ],
)
def test_fields_out_of_range_harm_only_themselves(changes: Any, attribute: str, expected: Any) -> None:
    made = fields(**changes)
    assert getattr(made, attribute) == expected
    untouched = fields()
    setattr(untouched, attribute, expected)
    assert made == untouched


def test_a_status_of_no_known_code_is_unset() -> None:
    made = fields(status_code=7)
    assert made.HasField("status")
    assert made.status.code == 0
    assert not fields(status_code=None).HasField("status")


def test_a_description_goes_with_any_status() -> None:
    made = [fields(status_code=code, status_description="why").status for code in (None, 0, 1, 2)]
    assert [(status.code, status.message) for status in made] == [
        (0, "why"),
        (0, "why"),
        (1, "why"),
        (2, "why"),
    ]


def test_an_event_or_link_that_is_none_counts_as_dropped() -> None:
    good_event, good_link = Event("e", timestamp=1), Link(SpanContext(1, 2, False))
    made = fields(events=[object(), good_event], dropped_events=2, links=[good_link, None], dropped_links=3)
    assert [event.name for event in made.events] == ["e"]
    assert (len(made.links), made.dropped_events_count, made.dropped_links_count) == (1, 3, 4)
