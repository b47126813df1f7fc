"""The SDK's private shape that spans rely on: red when another version looks different."""

from __future__ import annotations

import inspect
from importlib.metadata import version

import pytest
from opentelemetry.attributes import BoundedAttributes
from opentelemetry.sdk import trace as sdk
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import sampling
from opentelemetry.sdk.trace.sampling import Decision
from opentelemetry.trace import (
    DEFAULT_TRACE_STATE,
    SpanContext,
    TraceFlags,
)

from spanwise.spans import sdk_shape
from spanwise.spans.current import CurrentSpan
from spanwise.spans.provider import TracerProvider
from spanwise.spans.tracer import Tracer


def test_installed_sdk_is_of_the_series_this_was_written_for() -> None:
    installed = ".".join(version("opentelemetry-sdk").split(".")[:2])
    assert installed == sdk_shape.TESTED_SDK, (
        f"opentelemetry-sdk {installed} is new to spanwise.spans: run scripts/sdk-tests on it, "
        "compare the SDK's trace module, then raise TESTED_SDK"
    )


def test_short_cut_makes_the_constructors_span_context() -> None:
    assert sdk_shape.SHAPE_HOLDS
    for number, flags in enumerate(sdk_shape.FLAGS):
        made = sdk_shape.make_context((3, 4, False, flags, DEFAULT_TRACE_STATE, True))
        built = SpanContext(3, 4, False, TraceFlags(number), DEFAULT_TRACE_STATE)
        assert type(made) is SpanContext
        assert made == built
        assert (made.trace_id, made.span_id, made.is_remote, made.is_valid) == (3, 4, False, True)
        assert (made.trace_flags, made.trace_state) == (number, DEFAULT_TRACE_STATE)


def test_bounded_view_shares_the_dict_and_freezes() -> None:
    live = {"a": 1}
    view = sdk_shape.bounded_over(live, 2, None)
    view["b"] = 2
    live["c"] = 3
    assert dict(view) == live == {"a": 1, "b": 2, "c": 3}
    view["d"] = 4
    frozen = sdk_shape.frozen_over(dict(live), 2, None, 1)
    assert isinstance(frozen, BoundedAttributes)
    assert frozen.dropped == view.dropped == 1
    with pytest.raises(TypeError):
        frozen["e"] = 5


def test_static_decisions_are_read_from_the_sdks_samplers() -> None:
    yes, no = Decision.RECORD_AND_SAMPLE, Decision.DROP
    assert sdk_shape.known_decisions(sampling.ALWAYS_OFF) == (no,) * 5
    assert sdk_shape.known_decisions(sampling.DEFAULT_ON) == (yes, yes, no, yes, no)
    assert sdk_shape.known_decisions(sampling.ParentBasedTraceIdRatio(0.5)) == (None, yes, no, yes, no)
    assert sdk_shape.known_decisions(sampling.TraceIdRatioBased(0.5)) == (None,) * 5


def test_quiet_metrics_are_recognised() -> None:
    tracer = TracerProvider(resource=Resource({}), shutdown_on_exit=False).get_tracer("t")
    assert sdk_shape.measures_nothing(tracer._tracer_metrics)  # type: ignore[attr-defined]


def test_signatures_take_what_the_sdks_take() -> None:
    def named(function: object) -> list[str]:
        return list(inspect.signature(function).parameters)  # type: ignore[arg-type]

    assert [name for name in named(TracerProvider) if name != "verdict"] == named(sdk.TracerProvider)
    assert named(TracerProvider.get_tracer) == named(sdk.TracerProvider.get_tracer)
    assert named(Tracer.start_span) == named(sdk.Tracer.start_span)
    assert named(Tracer.start_as_current_span) == named(sdk.Tracer.start_as_current_span)
    # What the tracer leaves to the span's class attributes must be all that the constructor sets.
    assert named(sdk._Span.__init__)[1:] == [
        *("name", "context", "parent", "sampler", "trace_config", "resource", "attributes", "events"),
        *("links", "kind", "span_processor", "instrumentation_info", "record_exception"),
        *("set_status_on_exception", "limits", "instrumentation_scope", "record_end_metrics"),
    ]


def test_every_attribute_of_the_sdks_span_is_there_on_ours() -> None:
    theirs = sdk.TracerProvider(resource=Resource({}), shutdown_on_exit=False).get_tracer("t").start_span("x")
    ours = TracerProvider(resource=Resource({}), shutdown_on_exit=False).get_tracer("t").start_span("x")
    for name in vars(theirs):
        assert hasattr(ours, name), name


def test_current_span_is_a_context_manager_and_decorator() -> None:
    tracer = TracerProvider(resource=Resource({}), shutdown_on_exit=False).get_tracer("t")
    block = tracer.start_as_current_span("x")
    assert isinstance(block, CurrentSpan)
    assert callable(block)
