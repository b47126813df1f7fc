"""The short way of putting a trace into headers gives what the propagators give."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry import baggage, propagate
from opentelemetry.context import Context
from opentelemetry.propagators.composite import CompositePropagator
from opentelemetry.propagators.textmap import default_setter
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, TraceState, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from spanwise.instrumentors import _outgoing
from spanwise.instrumentors._outgoing import Outgoing, _is_default

ids: Callable[[int], Any] = lambda bits: st.integers(0, 2**bits - 1)  # noqa: E731


@given(ids(128), ids(64), ids(8), st.booleans(), st.booleans())
def test_what_the_default_propagators_put(
    trace: int, span: int, flags: int, with_state: bool, with_baggage: bool
) -> None:
    state = TraceState([("shop", "x")]) if with_state else None
    one = NonRecordingSpan(SpanContext(trace, span, False, TraceFlags(flags), state))
    context = set_span_in_context(one, Context())
    if with_baggage:
        context = baggage.set_baggage("shop", "x", context)
    expected: dict[str, str] = {}
    propagate.inject(expected, context)
    found: dict[str, str] = {}
    Outgoing(default_setter).put(found, context, one)
    assert found == expected


def test_the_default_is_known() -> None:
    """Of opentelemetry-api 1.45: red where another version keeps the parts elsewhere. Then all is slower."""
    assert _is_default(propagate.get_global_textmap())


def test_another_propagator_is_called(monkeypatch: pytest.MonkeyPatch) -> None:
    class Theirs(TraceContextTextMapPropagator):
        def inject(self, carrier: Any, context: Any = None, setter: Any = default_setter) -> None:
            setter.set(carrier, "x-theirs", "theirs")

    one = NonRecordingSpan(SpanContext(1, 2, False))
    context = set_span_in_context(one, Context())
    outgoing = Outgoing(default_setter)
    outgoing.put(before := {}, context, one)
    for theirs in (Theirs(), CompositePropagator([Theirs()]), CompositePropagator([])):
        monkeypatch.setattr(_outgoing, "get_global_textmap", lambda theirs=theirs: theirs)
        expected: dict[str, str] = {}
        theirs.inject(expected, context)
        found: dict[str, str] = {}
        outgoing.put(found, context, one)
        assert found == expected != before
