"""Wrong arguments to every call of the tracing API, beside the SDK: what it raises, returns, warns and sends.

Ours never raises into the application, not even where the SDK does; it warns where the SDK does, and what is
recorded can be delivered.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from opentelemetry import trace as api
from opentelemetry.proto.trace.v1.trace_pb2 import Span as Message
from opentelemetry.sdk import trace as sdk
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor
from opentelemetry.trace import StatusCode, use_span

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from spanwise import log
from spanwise.encode.spans import encode_span_fields
from spanwise.spans import arguments, attributes, details, faults, limits
from spanwise.spans import provider as provider_module
from spanwise.spans import span as span_module
from spanwise.spans.provider import TracerProvider
from wrong import WRONG

RESOURCE = Resource({})


# Each call, and how many arguments it has. All get a provider's tracer and a span of it.
CALLS: dict[str, tuple[int, Callable[..., Any]]] = {
    "get_tracer": (4, lambda provider, _t, _s, *a: provider.get_tracer(*a).start_span("x").end()),
    "add_span_processor": (1, lambda provider, _t, _s, a: provider.add_span_processor(a)),
    "force_flush": (1, lambda provider, _t, _s, a: provider.force_flush(a)),
    "start_span": (8, lambda _p, tracer, _s, *a: tracer.start_span(*a).end()),
    "start_as_current_span": (9, lambda _p, tracer, _s, *a: within(tracer.start_as_current_span(*a))),
    "decorator": (9, lambda _p, tracer, _s, *a: tracer.start_as_current_span(*a)(lambda: None)()),
    "set_attribute": (2, lambda _p, _t, span, *a: span.set_attribute(*a)),
    "set_attributes": (1, lambda _p, _t, span, a: span.set_attributes(a)),
    "add_event": (3, lambda _p, _t, span, *a: span.add_event(*a)),
    "add_link": (2, lambda _p, _t, span, *a: span.add_link(*a)),
    "record_exception": (4, lambda _p, _t, span, *a: span.record_exception(*a)),
    "set_status": (2, lambda _p, _t, span, *a: span.set_status(*a)),
    "status code": (1, lambda _p, _t, span, a: span.set_status(StatusCode.ERROR, a)),
    "update_name": (1, lambda _p, _t, span, a: span.update_name(a)),
    "end": (1, lambda _p, _t, span, a: span.end(a)),
    "use_span": (3, lambda _p, _t, span, *a: within(use_span(span, *a))),
    "set_span_in_context": (1, lambda _p, t, span, a: t.start_span("x", api.set_span_in_context(span, a))),
}


def within(manager: Any) -> None:
    with manager:
        pass


class Delivering(SpanProcessor):
    """Encodes what ends, as our delivery does, and reads it as a receiver does."""

    def __init__(self) -> None:
        self.messages: list[Message] = []

    def on_end(self, span: ReadableSpan) -> None:
        hand_over = getattr(span, "hand_over", None)
        if hand_over is not None:
            handed = hand_over(encode_span_fields)
            assert handed is not None
            self.messages.append(Message.FromString(handed[2]))


class Lines(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.lines: list[tuple[int, str]] = []

    def emit(self, record: logging.LogRecord) -> None:
        try:
            text = record.getMessage()
        except Exception:
            text = str(record.msg)
        self.lines.append((record.levelno, text))


@pytest.fixture(scope="module", autouse=True)
def lines() -> Iterator[Lines]:
    """What is logged, each time: how often the same line comes is not at issue here."""
    handler, rest = Lines(), log._REST
    log._REST = 0.0
    roots = [logging.getLogger(name) for name in ("opentelemetry", "spanwise")]
    before = [(each, each.propagate) for each in roots]
    for each in roots:
        each.addHandler(handler)
        each.propagate = False
    yield handler
    for each, propagate in before:
        each.removeHandler(handler)
        each.propagate = propagate
    log._REST = rest


def call(
    kind: type[sdk.TracerProvider], name: str, wrong: tuple[str, ...], lines: Lines
) -> tuple[Exception | None, Any, list[tuple[int, str]], Delivering]:
    delivering = Delivering()
    provider = kind(resource=RESOURCE, shutdown_on_exit=False)
    provider.add_span_processor(delivering)
    tracer = provider.get_tracer("t")
    span = tracer.start_span("before", attributes={"a": 1})
    lines.lines.clear()
    faults._seen.clear()  # each failure is told once in a process
    for module in (arguments, attributes, details, limits, provider_module, span_module):
        module._logger._last.clear()
    raised: Exception | None = None
    returned = None
    try:
        returned = CALLS[name][1](provider, tracer, span, *(WRONG[each]() for each in wrong))
        span.end()
        tracer.start_span("after").end()
    except Exception as error:
        raised = error
    return raised, returned, [line for line in lines.lines if line[0] >= logging.WARNING], delivering


@st.composite
def calls(draw: st.DrawFn) -> tuple[str, tuple[str, ...]]:
    name = draw(st.sampled_from(sorted(CALLS)))
    count = draw(st.integers(1, CALLS[name][0])) if name not in ("set_attribute",) else 2
    if name == "record_exception":
        count = draw(st.integers(1, 4))
    return name, tuple(draw(st.sampled_from(sorted(WRONG))) for _ in range(count))


def check(name: str, wrong: tuple[str, ...], lines: Lines) -> None:
    theirs, their_return, their_lines, _ = call(sdk.TracerProvider, name, wrong, lines)
    before = time.time_ns()
    ours, our_return, our_lines, delivered = call(TracerProvider, name, wrong, lines)
    if theirs is not None and name in ("use_span", "set_span_in_context"):
        return  # the API's own functions, which raise for both
    assert ours is None, f"{name}{wrong} raises {ours!r}, the SDK {theirs!r}"
    if theirs is None:
        assert type(our_return) is type(their_return) or name == "set_span_in_context"
        if their_lines:
            assert our_lines, f"{name}{wrong}: the SDK warns {their_lines}"
    else:
        assert our_lines, f"{name}{wrong}: the SDK raises {theirs!r}, and nobody is told"
    assert len(our_lines) <= 10 * max(len(their_lines), len(wrong))
    assert all(len(text) < 5_000 and "\n" not in text for _, text in our_lines)
    assert "after" in [message.name for message in delivered.messages]
    for message in delivered.messages:
        if name in ("start_span", "end") and message.name != "after":
            assert message.end_time_unix_nano <= time.time_ns()
            assert message.start_time_unix_nano == 5 or message.start_time_unix_nano >= before - 10**10


@settings(max_examples=400, deadline=None)
@given(calls())
@example(("start_span", ("text", "none", "none", "none", "none", "text")))
def test_no_wrong_argument_raises(lines: Lines, drawn: tuple[str, tuple[str, ...]]) -> None:
    check(*drawn, lines)


@pytest.mark.parametrize("name", CALLS)
def test_each_argument_alone(name: str, lines: Lines) -> None:
    """Every argument of every call, wrong in every way, the others as they should be."""
    good = {"start_span": ("text",), "start_as_current_span": ("text",), "decorator": ("text",)}
    for wrong in WRONG:
        count = CALLS[name][0]
        if name == "set_attribute":
            check(name, (wrong, "five"), lines)
            check(name, ("text", wrong), lines)
            continue
        for at in range(count):
            rest = [*good.get(name, ("text",)), *["none"] * count][:at]
            check(name, (*rest, wrong), lines)
