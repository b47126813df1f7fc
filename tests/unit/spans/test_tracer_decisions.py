"""Parents, samplers, ids, configurators and environment: the same decisions as the SDK's provider."""

from __future__ import annotations

import itertools
import random
from typing import Any

import pytest
from opentelemetry import trace as api
from opentelemetry.context import Context
from opentelemetry.sdk import trace as sdk
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import sampling
from opentelemetry.sdk.trace.id_generator import IdGenerator, RandomIdGenerator
from opentelemetry.sdk.trace.sampling import Decision, Sampler, SamplingResult
from opentelemetry.trace import Link, SpanContext, SpanKind, TraceFlags, TraceState
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from spanwise.spans.provider import TracerProvider
from spanwise.spans.span import Span

RESOURCE = Resource({"service.name": "shop"})


class Stepping(IdGenerator):
    """Ids that tell the order of the calls."""

    def __init__(self) -> None:
        self.ids = itertools.count(1)

    def generate_span_id(self) -> int:
        return next(self.ids)

    def generate_trace_id(self) -> int:
        return next(self.ids)


class Choosing(Sampler):
    """A third party's sampler: own attributes, own trace state, and a note of what it was asked."""

    def __init__(self) -> None:
        self.asked: list[Any] = []

    def should_sample(self, *arguments: Any, **named: Any) -> SamplingResult:
        self.asked.append((arguments, named))
        return SamplingResult(Decision.RECORD_ONLY, {"chosen": 1}, TraceState([("k", "v")]))

    def get_description(self) -> str:
        return "AlwaysOnSampler"  # as a liar would


class OverridingStatic(sampling.StaticSampler):
    def should_sample(self, *arguments: Any, **named: Any) -> SamplingResult:
        return SamplingResult(Decision.DROP)


PARENTS = [
    None,
    SpanContext(0, 0, False),
    *(
        SpanContext(9, 8, remote, TraceFlags(flags), TraceState([("vendor", "x")]))
        for remote in (True, False)
        for flags in range(4)
    ),
]
SAMPLERS = [
    sampling.ALWAYS_ON,
    sampling.ALWAYS_OFF,
    sampling.DEFAULT_ON,
    sampling.DEFAULT_OFF,
    sampling.StaticSampler(Decision.RECORD_ONLY),
    sampling.TraceIdRatioBased(0.0),
    sampling.TraceIdRatioBased(1.0),
    sampling.ParentBasedTraceIdRatio(1.0),
    sampling.ParentBased(
        sampling.ALWAYS_OFF,
        remote_parent_sampled=sampling.ALWAYS_OFF,
        remote_parent_not_sampled=sampling.StaticSampler(Decision.RECORD_ONLY),
        local_parent_sampled=sampling.TraceIdRatioBased(0.0),
        local_parent_not_sampled=sampling.ALWAYS_ON,
    ),
    sampling.AlwaysRecordSampler(sampling.ALWAYS_OFF),
    OverridingStatic(Decision.RECORD_AND_SAMPLE),
    Choosing(),
]


def context_of(parent: SpanContext | None) -> Context:
    if parent is None:
        return Context()
    return api.set_span_in_context(api.NonRecordingSpan(parent), Context())


def outcome(kind: type[sdk.TracerProvider], sampler: Sampler, parent: SpanContext | None, ids: Any) -> Any:
    provider = kind(sampler, RESOURCE, shutdown_on_exit=False, id_generator=ids)
    span: Any = provider.get_tracer("t").start_span("n", context_of(parent), attributes={"a": 1})
    recorded = isinstance(span, sdk.Span)
    return (
        span.get_span_context(),
        span.is_recording(),
        (span.parent, dict(span.attributes)) if recorded else None,
    )


@pytest.mark.parametrize("sampler", SAMPLERS, ids=lambda sampler: sampler.get_description()[:40])
@pytest.mark.parametrize("parent", PARENTS, ids=str)
def test_decision_ids_flags_and_state_are_the_sdks(sampler: Sampler, parent: SpanContext | None) -> None:
    ours = outcome(TracerProvider, sampler, parent, Stepping())
    assert ours == outcome(sdk.TracerProvider, sampler, parent, Stepping())

    random.seed(11)
    with_random = outcome(TracerProvider, sampler, parent, RandomIdGenerator())
    random.seed(11)
    assert with_random == outcome(sdk.TracerProvider, sampler, parent, RandomIdGenerator())
    # The property is computed by the constructor, which our short cut leaves out.
    assert with_random[0].is_valid == (with_random[0].trace_id > 0)


def test_sampler_is_asked_with_what_the_span_was_given() -> None:
    sampler = Choosing()
    tracer = TracerProvider(sampler, RESOURCE, shutdown_on_exit=False).get_tracer("t")
    context, link = context_of(PARENTS[3]), Link(SpanContext(1, 2, False))
    span: Any = tracer.start_span("n", context, SpanKind.SERVER, {"a": 1}, [link])
    assert sampler.asked == [((context, 9, "n", SpanKind.SERVER, {"a": 1}, [link]), {})]
    assert dict(span.attributes) == {"chosen": 1}
    assert span.get_span_context().trace_state == {"k": "v"}
    assert not span.get_span_context().trace_flags.sampled


def test_child_of_our_span_shares_its_context_object() -> None:
    tracer = TracerProvider(resource=RESOURCE, shutdown_on_exit=False).get_tracer("t")
    root = tracer.start_span("root")
    child: Any = tracer.start_span("child", api.set_span_in_context(root))
    assert child.parent is root.get_span_context()
    assert child.get_span_context().trace_id == root.get_span_context().trace_id


def test_foreign_span_with_bad_context_is_no_parent() -> None:
    """The SDK raises into the application."""

    class Foreign(api.NonRecordingSpan):
        def get_span_context(self) -> Any:
            return "no context"

    tracer = TracerProvider(resource=RESOURCE, shutdown_on_exit=False).get_tracer("t")
    span: Any = tracer.start_span("n", api.set_span_in_context(Foreign(api.INVALID_SPAN_CONTEXT)))
    assert span.parent is None
    assert span.get_span_context().is_valid


def test_replaced_parts_of_a_tracer_are_used() -> None:
    provider = TracerProvider(resource=RESOURCE, shutdown_on_exit=False)
    tracer: Any = provider.get_tracer("t")
    assert tracer.start_span("a").is_recording()
    tracer.sampler = sampling.ALWAYS_OFF
    assert not tracer.start_span("b").is_recording()
    tracer.sampler = sampling.ALWAYS_ON
    tracer.id_generator = Stepping()
    assert tracer.start_span("c").get_span_context().trace_id == 1
    before = tracer.start_span("before")
    provider._update_resource(Resource({"more": 1}))
    assert tracer.start_span("after").resource.attributes["more"] == 1
    assert "more" not in before.resource.attributes


def test_configurator_turns_tracers_off_and_on() -> None:
    def configure(enabled: bool) -> Any:
        return lambda scope: sdk._TracerConfig(is_enabled=enabled or scope.name != "noisy")

    provider = TracerProvider(
        resource=RESOURCE, shutdown_on_exit=False, _tracer_configurator=configure(False)
    )
    noisy, other = provider.get_tracer("noisy"), provider.get_tracer("other")
    parent = context_of(PARENTS[3])
    off = noisy.start_span("n", parent)
    assert not off.is_recording()
    assert off.get_span_context() is PARENTS[3]
    assert noisy.start_span("n", Context()).get_span_context() is api.INVALID_SPAN_CONTEXT
    assert other.start_span("n").is_recording()
    provider._set_tracer_configurator(tracer_configurator=configure(True))
    assert noisy.start_span("n").is_recording()


def test_same_scope_gives_same_tracer() -> None:
    provider = TracerProvider(resource=RESOURCE, shutdown_on_exit=False)
    first = provider.get_tracer("t", "1", "url")
    assert provider.get_tracer("t", "1", "url") is first
    assert provider.get_tracer("t", "2", "url") is not first
    scoped = provider.get_tracer("t", "1", "url", {"a": 1})
    assert scoped is not first
    assert provider.get_tracer("t", "1", "url", {"a": 1}) is scoped
    assert provider.get_tracer("t", "1", "url") is first


def test_disabled_sdk_gives_no_op_tracers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    provider = TracerProvider(resource=RESOURCE, shutdown_on_exit=False)
    assert type(provider.get_tracer("t")) is api.NoOpTracer


@pytest.mark.parametrize(
    "name", ["always_on", "always_off", "traceidratio", "parentbased_traceidratio", "no"]
)
def test_sampler_from_environment(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", name)
    monkeypatch.setenv("OTEL_TRACES_SAMPLER_ARG", "0.25")
    ours = TracerProvider(resource=RESOURCE, shutdown_on_exit=False).sampler
    theirs = sdk.TracerProvider(resource=RESOURCE, shutdown_on_exit=False).sampler
    assert ours.get_description() == theirs.get_description()


def test_limits_from_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "2")
    monkeypatch.setenv("OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", "3")
    tracer = TracerProvider(resource=RESOURCE, shutdown_on_exit=False).get_tracer("t")
    span: Any = tracer.start_span("n", attributes={"a": "12345", "b": 1, "c": 2})
    span.set_attribute("d", "12345")
    assert dict(span.attributes) == {"c": 2, "d": "123"}
    assert span.dropped_attributes == 2


def test_internal_metrics_count_our_spans(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_PYTHON_SDK_INTERNAL_METRICS_ENABLED", "true")
    reader = InMemoryMetricReader()
    provider = TracerProvider(
        resource=RESOURCE, shutdown_on_exit=False, meter_provider=MeterProvider(metric_readers=[reader])
    )
    tracer = provider.get_tracer("t")
    tracer.start_span("running")
    tracer.start_span("ended").end()
    data: Any = reader.get_metrics_data()
    sums = {
        metric.name: sum(point.value for point in metric.data.data_points)
        for metric in data.resource_metrics[0].scope_metrics[0].metrics
    }
    assert sums == {"otel.sdk.span.started": 2, "otel.sdk.span.live": 1}


def test_context_travels_through_headers() -> None:
    tracer = TracerProvider(resource=RESOURCE, shutdown_on_exit=False).get_tracer("t")
    headers: dict[str, str] = {}
    propagator = TraceContextTextMapPropagator()
    with tracer.start_as_current_span("caller") as caller:
        propagator.inject(headers)
    callee: Any = tracer.start_span("callee", propagator.extract(headers))
    assert type(callee) is Span
    assert callee.parent.span_id == caller.get_span_context().span_id
    assert callee.parent.is_remote
    assert callee.get_span_context().trace_flags == TraceFlags(3)
