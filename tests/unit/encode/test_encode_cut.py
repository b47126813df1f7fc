"""Values and names above 1 MiB: cut when they are encoded, marked and counted; the application's stay."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import ScopeSpans
from opentelemetry.proto.trace.v1.trace_pb2 import Span as Message
from opentelemetry.sdk.trace import SpanProcessor
from opentelemetry.trace import Link, SpanContext, StatusCode

from spanwise import names
from spanwise.encode import cut
from spanwise.encode.cut import MAX_BYTES
from spanwise.encode.spans import encode_span_fields, leaf_pieces
from spanwise.fixed import Fixed
from spanwise.spans.provider import TracerProvider

LONG = "x" * (10 * MAX_BYTES)


class Encoding(SpanProcessor):
    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.sizes: list[int] = []

    def on_end(self, span: Any) -> None:
        body = span.hand_over(encode_span_fields)[2]
        self.sizes.append(len(body))
        self.messages.append(Message.FromString(body))


def sent(record: Callable[[Any], object], **arguments: Any) -> tuple[Message, Any, int]:
    encoding = Encoding()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(encoding)
    span: Any = provider.get_tracer("t").start_span(**{"name": "work", **arguments})
    record(span)
    span.end()
    (message,), (size,) = encoding.messages, encoding.sizes
    return message, span, size


def mark(attributes: Any) -> int:
    found = [each.value.int_value for each in attributes if each.key == names.TRUNCATED]
    assert len(found) <= 1
    return found[0] if found else 0


@pytest.fixture(autouse=True)
def told(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    cut._logger._last.clear()
    return caplog


VALUES: dict[str, tuple[Any, int]] = {
    "text": (LONG, 1),
    "characters of three bytes": ("€" * MAX_BYTES, 1),
    "bytes": (b"\xff" * (2 * MAX_BYTES), 1),
    "texts": (["x" * (MAX_BYTES // 2)] * 4, 2),
    "mapping": ({"a": {"b": LONG}}, 1),
    "key of a mapping": ({LONG: 1}, 1),
    "exactly as long": ("x" * MAX_BYTES, 0),
    "short": ("x", 0),
}


@pytest.mark.parametrize("name", VALUES)
def test_a_value_is_cut_where_it_is_sent_and_nowhere_else(name: str, told: pytest.LogCaptureFixture) -> None:
    value, cuts = VALUES[name]
    before = cut.cut_so_far()
    message, span, size = sent(lambda span: span.set_attributes({"a": 1, "b": value, "c": "d"}))
    assert span.attributes["b"] == (tuple(value) if isinstance(value, list) else value)
    assert names.TRUNCATED not in span.attributes
    assert size < MAX_BYTES + 1_000
    assert {each.key for each in message.attributes} >= {"a", "b", "c"}
    assert mark(message.attributes) == cuts
    assert cut.cut_so_far() - before == cuts
    assert len(told.messages) == (1 if cuts else 0)


def test_a_text_is_cut_between_characters() -> None:
    message, _, _ = sent(lambda span: span.set_attribute("a", "€" * MAX_BYTES))
    value = message.attributes[0].value.string_value
    assert set(value) == {"€"}
    assert MAX_BYTES - 3 < len(value.encode()) <= MAX_BYTES


FIELDS: dict[str, tuple[Callable[[Any], object], Callable[[Message], Any]]] = {
    "a key": (lambda span: span.set_attribute(LONG, 1), lambda m: m.attributes),
    "the name": (lambda span: span.update_name(LONG), lambda m: m.attributes),
    "the description": (lambda span: span.set_status(StatusCode.ERROR, LONG), lambda m: m.attributes),
    "an event's name": (lambda span: span.add_event(LONG), lambda m: m.events[0].attributes),
    "an event's value": (lambda span: span.add_event("e", {"a": LONG}), lambda m: m.events[0].attributes),
    "a link's value": (
        lambda span: span.add_link(SpanContext(1, 2, False), {"a": LONG}),
        lambda m: m.links[0].attributes,
    ),
}


@pytest.mark.parametrize("name", FIELDS)
def test_every_field_is_cut_and_marked(name: str, told: pytest.LogCaptureFixture) -> None:
    record, marked = FIELDS[name]
    message, _, size = sent(record, attributes={"kept": 1})
    assert size < MAX_BYTES + 1_000
    assert mark(marked(message)) == 1
    assert "kept" in [each.key for each in message.attributes]
    (line,) = told.messages
    assert len(line) < 1_500


def test_a_span_that_never_was_an_object_is_cut_too() -> None:
    pieces = leaf_pieces((1, 2), 3, LONG, 2, 4, 5, Fixed({"a": 1, "b": LONG}))
    record = b"".join(pieces)
    assert len(record) < 2 * MAX_BYTES + 1_000
    (message,) = ScopeSpans.FromString(record).spans
    assert len(message.name) == MAX_BYTES
    assert mark(message.attributes) == 2


def test_cuts_of_one_span_are_added_up() -> None:
    def record(span: Any) -> None:
        span.update_name(LONG)
        span.set_status(StatusCode.ERROR, LONG)
        span.set_attributes({"a": LONG, "b": LONG})

    message, _, _ = sent(record, links=[Link(SpanContext(1, 2, False), {"a": LONG})])
    assert mark(message.attributes) == 4
    assert mark(message.links[0].attributes) == 1


def test_one_warning_for_many(told: pytest.LogCaptureFixture) -> None:
    for number in range(5):
        sent(lambda span, number=number: span.set_attribute(f"a{number}", LONG))
    assert len(told.messages) == 1


def test_a_hundred_thousand_attributes_warn_once(told: pytest.LogCaptureFixture) -> None:
    from spanwise.spans import attributes

    attributes._attributes_logger._last.clear()

    def record(span: Any) -> None:
        for number in range(100_000):
            span.set_attribute(f"a{number}", number)

    message, span, _ = sent(record)
    assert len(span.attributes) == 128
    assert message.dropped_attributes_count == 100_000 - 128
    assert len(told.messages) == 1


def test_many_events_are_bounded() -> None:
    def record(span: Any) -> None:
        for number in range(10_000):
            span.add_event(str(number))

    message, _, _ = sent(record)
    assert len(message.events) == 128
    assert message.dropped_events_count == 10_000 - 128
