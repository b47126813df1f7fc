"""Every place where the spans rely on how the SDK and the API look inside, and nothing else.

Written against opentelemetry-sdk 1.45 (`TESTED_SDK`). Each item here has a check in
tests/unit/spans/test_sdk_shape.py that goes red when another version looks different. Where the
process can tell at import (`SHAPE_HOLDS`), it takes the slow public way by itself instead of failing.
Besides this module, only the names of the attributes that a subclass of the SDK's Span, Tracer and
TracerProvider inherits are used (`_name`, `_context`, `_tracers`, …).
"""

from __future__ import annotations

from typing import Any, Final

from opentelemetry.attributes import BoundedAttributes
from opentelemetry.context import Context
from opentelemetry.sdk.trace.sampling import Decision, ParentBased, Sampler, StaticSampler
from opentelemetry.trace import DEFAULT_TRACE_STATE, SpanContext, TraceFlags, TraceState
from opentelemetry.util.types import AnyValue

__all__ = [
    "FLAGS",
    "SHAPE_HOLDS",
    "TESTED_SDK",
    "bounded_over",
    "frozen_over",
    "known_decisions",
    "make_context",
    "measures_nothing",
]

TESTED_SDK: Final = "1.45"
"""The SDK series (major.minor) that this module was written and tested against."""

# TraceFlags by its two bits. Building one costs more than looking it up, and there are four.
FLAGS: Final = tuple(TraceFlags(bits) for bits in range(4))


def make_context(parts: tuple[int, int, bool, TraceFlags, TraceState, bool]) -> SpanContext:
    """A SpanContext from ids that are known to be valid.

    Half the cost of the constructor, which checks the ranges of ids that our generator just made.

    Args:
        parts: trace id, span id, whether it is remote, flags, state, whether it is valid.
    """
    return tuple.__new__(SpanContext, parts)


def _shape_holds() -> bool:
    """Whether a SpanContext still is the tuple that `make_context` and the tracer take it for."""
    try:
        made = make_context((1, 2, False, FLAGS[1], DEFAULT_TRACE_STATE, True))
        built = SpanContext(1, 2, False, FLAGS[1], DEFAULT_TRACE_STATE)
        return tuple(made) == tuple(built) and made.is_valid and made.span_id == 2 and len(built) == 6
    except Exception:
        return False


SHAPE_HOLDS: Final = _shape_holds()


def known_decisions(sampler: Sampler) -> tuple[Decision | None, ...]:
    """What a sampler decides without looking at the span, by kind of parent.

    Args:
        sampler: any sampler.

    Returns:
        Five decisions: no parent; remote parent sampled, not sampled; local parent sampled, not
        sampled. None where the sampler has to be asked. Only the SDK's own classes are known: a
        subclass that overrides `should_sample` is always asked.
    """
    if getattr(type(sampler), "should_sample", None) is ParentBased.should_sample:
        delegates = [
            getattr(sampler, name, None)
            for name in (
                "_root",
                "_remote_parent_sampled",
                "_remote_parent_not_sampled",
                "_local_parent_sampled",
                "_local_parent_not_sampled",
            )
        ]
        return tuple(_constant(delegate) for delegate in delegates)
    return (_constant(sampler),) * 5


def _constant(sampler: Sampler | None) -> Decision | None:
    if getattr(type(sampler), "should_sample", None) is not StaticSampler.should_sample:
        return None
    # A static sampler answers every question alike, so one question tells.
    return sampler.should_sample(Context(), 1, "").decision  # type: ignore[union-attr]


def bounded_over(live: dict[str, AnyValue], at_most: int | None, max_length: int | None) -> BoundedAttributes:
    """The SDK's bounded mapping over a dict that we go on writing to: both show the same items."""
    bounded = BoundedAttributes(at_most, None, immutable=False, max_value_len=max_length)
    bounded._dict = live
    return bounded


def frozen_over(
    attributes: dict[str, AnyValue], at_most: int | None, max_length: int | None, dropped: int
) -> BoundedAttributes:
    """An immutable bounded mapping over clean attributes, ``dropped`` of which were left out."""
    frozen = bounded_over(attributes, at_most, max_length)
    frozen.dropped = dropped
    frozen._immutable = True
    return frozen


def measures_nothing(tracer_metrics: Any) -> bool:
    """Whether the SDK's internal span metrics are off, so that counting a span can be left out."""
    return type(tracer_metrics).__name__ == "NoOpTracerMetrics"
