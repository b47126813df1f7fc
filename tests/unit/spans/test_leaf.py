"""Spans that never are objects: when a span may be one, and what of it is handed on."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from opentelemetry import trace as api
from opentelemetry.context import Context
from opentelemetry.sdk import trace as sdk
from opentelemetry.sdk.trace import SpanLimits, SpanProcessor
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.trace.sampling import (
    ALWAYS_OFF,
    ALWAYS_ON,
    Decision,
    ParentBased,
    StaticSampler,
    TraceIdRatioBased,
)
from opentelemetry.trace import SpanContext, SpanKind, TraceFlags, TraceState

from spanwise.fixed import Fixed
from spanwise.spans.provider import TracerProvider
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


def told(tracer: Any, context: Context, start: int = 5, end: int = 9, attributes: Fixed = ATTRIBUTES) -> Any:
    return tracer.leaf("GET", SpanKind.CLIENT, attributes, context, start, end) is not None


@pytest.mark.parametrize("upstream", [None, UPSTREAM])
def test_one_is_handed_on_with_all_that_a_span_has(upstream: Context | None) -> None:
    taking = Taking()
    provider, tracer = made(taking)
    parent, context = within(tracer, upstream)
    assert tracer.takes_leaves()
    assert told(tracer, context) is True
    of = parent.get_span_context()
    assert of is not None
    ((resource, scope, (parts, span_id, *rest)),) = taking.leaves
    assert resource is provider.resource
    assert scope is parent.instrumentation_scope
    assert (type(parts), parts) == (tuple, tuple(of))
    assert rest == ["GET", 2, 5, 9, ATTRIBUTES]
    assert span_id not in (0, of.span_id)
    assert taking.spans == []


def test_those_of_one_parent_have_the_same_and_ids_of_their_own() -> None:
    taking = Taking()
    _, tracer = made(taking)
    (_, one), (_, other) = within(tracer), within(tracer)
    for context in (one, other, one):
        assert told(tracer, context)
    (first, a, *_), (second, b, *_), (third, c, *_) = (fields for _, _, fields in taking.leaves)
    assert first is third  # what was made of it is found again
    assert first != second
    assert len({a, b, c}) == 3


def test_zero_is_no_id(monkeypatch: pytest.MonkeyPatch) -> None:
    taking = Taking()
    _, tracer = made(taking)
    _, context = within(tracer)
    drawn = iter([0, 0, 77])
    monkeypatch.setattr("random.getrandbits", lambda _bits: next(drawn))
    assert told(tracer, context)
    ((_, _, (_, span_id, *_)),) = taking.leaves
    assert span_id == 77


def test_each_processor_gets_it_and_in_order() -> None:
    one, other = Taking(), Taking()
    _, tracer = made(one, other)
    _, context = within(tracer)
    assert told(tracer, context)
    assert one.leaves == other.leaves != []


def test_an_ended_parent_is_one() -> None:
    """A thread may outlive the request that started it."""
    taking = Taking()
    _, tracer = made(taking)
    parent, context = within(tracer)
    parent.end()
    assert told(tracer, context)
    assert len(taking.leaves) == 1


class Ids(RandomIdGenerator):
    """Of the application's, with a meaning say."""


class Recording(StaticSampler):
    """Records without sampling, for processors of this process alone."""

    def __init__(self) -> None:
        super().__init__(Decision.RECORD_ONLY)


def unsampled() -> tuple[Any, Context]:
    """Children of this parent would be sampled, and it is not."""
    tracer = made(Taking(), sampler=ParentBased(ALWAYS_ON))[1]
    other = made(Taking(), sampler=Recording())[1]
    return tracer, within(other)[1]


def disabled() -> tuple[Any, Context]:
    def configure(scope: Any) -> Any:
        return sdk._TracerConfig(is_enabled=scope.name != "t")

    provider, tracer = made(Taking(), _tracer_configurator=configure)
    return tracer, within(provider.get_tracer("other"))[1]


def counted() -> tuple[Any, Context]:
    """The SDK counts its spans."""
    _, tracer = made(Taking())
    tracer._tracer_metrics = SimpleNamespace(start_span=lambda *_: lambda: None)
    return tracer, within(tracer)[1]


def at_once() -> tuple[Any, Context]:
    """Processors in an order of the SDK's own."""
    provider = TracerProvider(
        shutdown_on_exit=False, active_span_processor=sdk.ConcurrentMultiSpanProcessor(num_threads=1)
    )
    provider.add_span_processor(Taking())
    tracer: Any = provider.get_tracer("t", "1")
    return tracer, within(tracer)[1]


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
    "an id generator of the application's": lambda: (
        tracer := made(Taking(), id_generator=Ids())[1],
        within(tracer)[1],
    ),
    "a parent that is not sampled": unsampled,
    "a tracer that is switched off": disabled,
    "spans that are counted": counted,
    "processors that are called by the SDK": at_once,
}
# It depends on the call there, not on the provider alone.
OF_THE_CALL = {
    "no parent",
    "a remote parent",
    "a trace state",
    "too many attributes",
    "too long an attribute",
    "a parent that is not sampled",
}


def processors_of(tracer: Any) -> list[Any]:
    return [each for each in tracer.span_processor._span_processors if isinstance(each, Taking)]


@pytest.mark.parametrize("case", CASES)
def test_where_it_has_to_be_a_span(case: str) -> None:
    tracer, context = CASES[case]()
    tracer.start_span("the processors are looked at")
    assert told(tracer, context) is False
    assert [each.leaves for each in processors_of(tracer) if each.leaves] == []
    assert tracer.takes_leaves() is (case in OF_THE_CALL)


def test_before_the_first_span_nobody_knows() -> None:
    _, tracer = made(Taking())
    assert not tracer.takes_leaves()
    tracer.start_span("first")
    assert tracer.takes_leaves()


def test_what_changes_holds_for_the_next_one() -> None:
    taking = Taking()
    provider, tracer = made(taking)
    _, context = within(tracer)
    assert tracer.takes_leaves()
    provider.add_span_processor(Plain())
    # What has begun is to be a span after all, and so is the next one.
    assert not told(tracer, context)
    assert not tracer.takes_leaves()
    assert taking.leaves == []


def test_a_list_of_processors_may_be_replaced() -> None:
    taking = Taking()
    provider, tracer = made(Plain())
    _, context = within(tracer)
    assert not told(tracer, context)
    provider._active_span_processor._span_processors = (taking,)
    assert not told(tracer, context), "nobody has looked at them"
    tracer.start_span("looks")
    assert told(tracer, context)
    assert len(taking.leaves) == 1


def test_it_tells_whose_child_it_is() -> None:
    _, tracer = made(Taking())
    parent, context = within(tracer)
    of = tracer.leaf("GET", SpanKind.CLIENT, ATTRIBUTES, context, 5, 9)
    assert of is parent.get_span_context()


def test_a_new_sampler_is_seen() -> None:
    _, tracer = made(Taking())
    _, context = within(tracer)
    assert told(tracer, context)
    tracer.sampler = TraceIdRatioBased(0.5)
    assert not told(tracer, context)
    assert not tracer.takes_leaves()


def test_a_tracer_that_is_switched_off_makes_neither_spans_nor_leaves() -> None:
    """And again when it is switched on: through the SDK's configurator, for tracers that are there."""

    def configure(enabled: bool) -> Any:
        return lambda scope: sdk._TracerConfig(is_enabled=enabled or scope.name != "t")

    taking = Taking()
    provider, tracer = made(taking)
    _, context = within(provider.get_tracer("other"))
    for enabled in (True, False, True):
        provider._set_tracer_configurator(tracer_configurator=configure(enabled))
        assert tracer.takes_leaves() is enabled
        assert told(tracer, context) is enabled
        span = tracer.start_span("GET", context)
        assert span.is_recording() is enabled
        span.end()
    assert tracer._shared.enabled is True
    assert (len(taking.leaves), [span.name for span in taking.spans]) == (2, ["GET"] * 2)


@pytest.mark.parametrize(("took", "leaf"), [(10, True), (11, False)])
def test_what_may_be_rated_has_to_be_a_span(took: int, leaf: bool) -> None:
    def verdict(*_: Any) -> None:
        raise AssertionError("a leaf is not rated")

    verdict.floor = 10  # type: ignore[attr-defined]
    taking = Taking()
    _, tracer = made(taking, verdict=verdict)
    _, context = within(tracer)
    assert told(tracer, context, 5, 5 + took) is leaf
    assert len(taking.leaves) == leaf
    assert tracer.takes_leaves(), "most are not rated"


def test_a_verdict_without_a_floor_is_asked_of_all() -> None:
    taking = Taking()
    _, tracer = made(taking, verdict=lambda *_: None)
    _, context = within(tracer)
    assert not told(tracer, context, 5, 6)
    assert taking.leaves == []


def test_attributes_of_other_rules_are_looked_at_again() -> None:
    """The same ones may be a leaf's with one provider and too many with another."""
    taking, strict = Taking(), Taking()
    attributes = Fixed(ATTRIBUTES)
    _, tracer = made(taking)
    _, other = made(strict, span_limits=SpanLimits(max_span_attributes=1))
    for _ in range(2):
        assert told(tracer, within(tracer)[1], attributes=attributes)
        assert not told(other, within(other)[1], attributes=attributes)
    assert (len(taking.leaves), strict.leaves) == (2, [])


def test_one_that_raises_harms_itself_alone(caplog: pytest.LogCaptureFixture) -> None:
    class Raising(Taking):
        def on_leaf(self, *fields: Any) -> None:
            raise ValueError("no")

        def on_end(self, span: Any) -> None:
            raise ValueError("no")

    taking = Taking()
    _, tracer = made(Raising(), taking)
    _, context = within(tracer)
    assert told(tracer, context, 5, 6)
    assert len(taking.leaves) == 1
    assert "on_leaf of" in caplog.text


def test_one_that_cannot_be_asked_harms_itself_alone(caplog: pytest.LogCaptureFixture) -> None:
    class Closed(SpanProcessor):
        @property
        def on_leaf(self) -> Any:
            raise ValueError("closed")

        @property
        def on_end(self) -> Any:
            raise ValueError("closed")

    before, after = Taking(), Taking()
    _, tracer = made(before, Closed(), after)
    span, context = within(tracer)
    assert told(tracer, context)
    assert (len(before.leaves), len(after.leaves)) == (1, 1)
    assert "on_leaf of" in caplog.text
    span.end()
    assert (before.spans, after.spans) == ([span], [span])
    assert "on_end of" in caplog.text
