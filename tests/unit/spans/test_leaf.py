"""Spans that never are objects: when a span may be one, and what of it is handed on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from opentelemetry import trace as api
from opentelemetry.context import Context
from opentelemetry.sdk.trace import SpanLimits, SpanProcessor
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON, ParentBased, TraceIdRatioBased
from opentelemetry.trace import SpanContext, SpanKind, TraceFlags, TraceState

from spanwise.fixed import Fixed
from spanwise.spans.provider import TracerProvider
from spanwise.spans.shared import Shared
from spanwise.spans.span import Span

ATTRIBUTES = Fixed({"db.system.name": "redis", "server.port": 6379})


class Taking(SpanProcessor):
    """Takes leaves, as the delivery does."""

    def __init__(self) -> None:
        self.leaves: list[tuple[Any, ...]] = []
        self.spans: list[Any] = []

    def on_leaf(self, *leaf: Any) -> None:
        self.leaves.append(leaf)

    def on_end(self, span: Any) -> None:
        self.spans.append(span)


class Starting(Taking):
    def on_start(self, span: Any, parent_context: Context | None = None) -> None:
        pass


class Ending(Taking):
    def _on_ending(self, span: Any) -> None:
        pass


class Plain(SpanProcessor):
    pass


class Overriding(Taking):
    def on_end(self, span: Any) -> None:
        self.spans.append(span)


class Wrapping(SpanProcessor):
    """A filter around another one, as applications write it."""

    def __init__(self, wrapped: Any) -> None:
        self._wrapped = wrapped

    def __getattr__(self, name: str) -> Any:
        return getattr(self._wrapped, name)

    def on_end(self, span: Any) -> None:
        if span.name != "secret":
            self._wrapped.on_end(span)


def made(*processors: SpanProcessor, **options: Any) -> tuple[TracerProvider, Any]:
    provider = TracerProvider(shutdown_on_exit=False, **options)
    for processor in processors:
        provider.add_span_processor(processor)
    return provider, provider.get_tracer("t", "1")


def within(tracer: Any, context: Context | None = None) -> tuple[Span, Context]:
    span = tracer.start_span("parent", context)
    return span, api.set_span_in_context(span, Context())


REMOTE = api.set_span_in_context(
    api.NonRecordingSpan(SpanContext(7, 8, True, TraceFlags(1), TraceState([("vendor", "1")]))), Context()
)
UPSTREAM = api.set_span_in_context(api.NonRecordingSpan(SpanContext(7, 8, True, TraceFlags(1))), Context())


@pytest.mark.parametrize("upstream", [None, UPSTREAM])
def test_one_is_handed_on_with_all_that_a_span_has(upstream: Context | None) -> None:
    taking = Taking()
    provider, tracer = made(taking)
    parent, context = within(tracer, upstream)
    shared = tracer.leaf(context, ATTRIBUTES)
    assert shared is not None
    span_id = tracer.end_leaf(shared, "GET", SpanKind.CLIENT, ATTRIBUTES, context, 5, 9)
    of = parent.get_span_context()
    assert of is not None
    scope = parent.instrumentation_scope
    assert taking.leaves == [
        (provider.resource, scope, (of.trace_id, span_id, of.span_id, "GET", 2, 5, 9, ATTRIBUTES))
    ]
    assert span_id not in (0, of.span_id)
    assert taking.spans == []


CASES: dict[str, Callable[[], tuple[Any, Context]]] = {
    "no parent": lambda: (made(Taking())[1], Context()),
    "a remote parent": lambda: (made(Taking())[1], UPSTREAM),
    "a trace state": lambda: (tracer := made(Taking())[1], within(tracer, REMOTE)[1]),
    "a processor that wants starts": lambda: (tracer := made(Starting())[1], within(tracer)[1]),
    "a processor that wants endings": lambda: (tracer := made(Ending())[1], within(tracer)[1]),
    "a processor that wants spans": lambda: (tracer := made(Taking(), Plain())[1], within(tracer)[1]),
    "a processor that overrides endings": lambda: (tracer := made(Overriding())[1], within(tracer)[1]),
    "a processor around one": lambda: (tracer := made(Wrapping(Taking()))[1], within(tracer)[1]),
    "no processor": lambda: (tracer := made()[1], within(tracer)[1]),
    "a sampler to ask": lambda: (
        tracer := made(Taking(), sampler=TraceIdRatioBased(1.0))[1],
        within(tracer)[1],
    ),
    "children left out": lambda: (
        tracer := made(Taking(), sampler=ParentBased(ALWAYS_ON, local_parent_sampled=ALWAYS_OFF))[1],
        within(tracer)[1],
    ),
    "too many attributes": lambda: (
        tracer := made(Taking(), span_limits=SpanLimits(max_span_attributes=1))[1],
        within(tracer)[1],
    ),
    "too long an attribute": lambda: (
        tracer := made(Taking(), span_limits=SpanLimits(max_span_attribute_length=2))[1],
        within(tracer)[1],
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_where_it_has_to_be_a_span(case: str) -> None:
    tracer, context = CASES[case]()
    assert tracer.leaf(context, ATTRIBUTES) is None


def test_what_changes_holds_for_the_next_one() -> None:
    taking = Taking()
    provider, tracer = made(taking)
    _, context = within(tracer)
    shared = tracer.leaf(context, ATTRIBUTES)
    assert isinstance(shared, Shared)
    provider.add_span_processor(Plain())
    # What has begun is to be a span after all, and so is the next one.
    assert tracer.end_leaf(shared, "GET", SpanKind.CLIENT, ATTRIBUTES, context, 5, 9) == 0
    assert tracer.leaf(context, ATTRIBUTES) is None
    assert taking.leaves == []


def test_a_processor_may_want_spans_from_now_on() -> None:
    taking, other = Taking(), Taking()
    _, tracer = made(other, taking)
    _, context = within(tracer)
    shared = tracer.leaf(context, ATTRIBUTES)
    assert shared is not None
    taking.on_leaf = None  # type: ignore[assignment, method-assign]
    assert tracer.end_leaf(shared, "GET", SpanKind.CLIENT, ATTRIBUTES, context, 5, 9) == 0
    assert other.leaves == []


def test_a_new_sampler_is_seen() -> None:
    _, tracer = made(Taking())
    _, context = within(tracer)
    assert tracer.leaf(context, ATTRIBUTES) is not None
    tracer.sampler = TraceIdRatioBased(0.5)
    assert tracer.leaf(context, ATTRIBUTES) is None


@pytest.mark.parametrize(("took", "leaf"), [(10, True), (11, False)])
def test_what_may_be_rated_has_to_be_a_span(took: int, leaf: bool) -> None:
    def verdict(*_: Any) -> None:
        raise AssertionError("a leaf is not rated")

    verdict.floor = 10  # type: ignore[attr-defined]
    taking = Taking()
    _, tracer = made(taking, verdict=verdict)
    _, context = within(tracer)
    shared = tracer.leaf(context, ATTRIBUTES)
    span_id = tracer.end_leaf(shared, "GET", SpanKind.CLIENT, ATTRIBUTES, context, 5, 5 + took)
    assert bool(span_id) is leaf
    assert len(taking.leaves) == leaf


def test_a_verdict_without_a_floor_is_asked_of_all() -> None:
    _, tracer = made(Taking(), verdict=lambda *_: None)
    _, context = within(tracer)
    shared = tracer.leaf(context, ATTRIBUTES)
    assert tracer.end_leaf(shared, "GET", SpanKind.CLIENT, ATTRIBUTES, context, 5, 6) == 0


def test_one_that_raises_harms_itself_alone(caplog: pytest.LogCaptureFixture) -> None:
    class Raising(Taking):
        def on_leaf(self, *fields: Any) -> None:
            raise ValueError("no")

        def on_end(self, span: Any) -> None:
            raise ValueError("no")

    taking = Taking()
    _, tracer = made(Raising(), taking)
    _, context = within(tracer)
    shared = tracer.leaf(context, ATTRIBUTES)
    assert tracer.end_leaf(shared, "GET", SpanKind.CLIENT, ATTRIBUTES, context, 5, 6)
    assert len(taking.leaves) == 1
    assert "on_leaf of" in caplog.text
