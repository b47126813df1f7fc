"""How the API keeps its context: red when another version does it differently."""

from __future__ import annotations

from contextvars import ContextVar

import pytest
from opentelemetry import context
from opentelemetry.context import Context
from opentelemetry.context.contextvars_context import ContextVarsRuntimeContext
from opentelemetry.instrumentation.utils import (
    is_http_instrumentation_enabled,
    is_instrumentation_enabled,
    suppress_http_instrumentation,
    suppress_instrumentation,
)
from opentelemetry.trace import (
    INVALID_SPAN,
    NonRecordingSpan,
    SpanContext,
    get_current_span,
    set_span_in_context,
)

from spanwise import context as short


def test_span_key_is_the_one_the_api_reads() -> None:
    span = NonRecordingSpan(SpanContext(1, 2, False))
    assert get_current_span(Context({short.SPAN_KEY: span})) is span
    assert set_span_in_context(INVALID_SPAN, Context()) == {short.SPAN_KEY: INVALID_SPAN}


def test_the_context_is_the_api_s_own() -> None:
    """Ours and the API's functions see each other's contexts, whatever the order."""
    ours = short.attach_context(Context({"k": 1}))
    assert context.get_current() == {"k": 1}
    theirs = context.attach(Context({"k": 2}))
    assert short.get_context() == {"k": 2}
    context.detach(theirs)
    short.detach_context(ours)
    assert "k" not in context.get_current()
    assert isinstance(getattr(short.get_context, "__self__", None), ContextVar), "not the short way"


def test_a_runtime_context_of_the_user_s_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    class Theirs(ContextVarsRuntimeContext):
        """May do anything."""

    monkeypatch.setattr(context, "_RUNTIME_CONTEXT", Theirs())
    assert short._functions() == (context.get_current, context.attach, context.detach)


def test_suppression_is_that_of_the_instrumentations() -> None:
    with short.suppressed():
        assert not is_instrumentation_enabled()
        ours = dict(context.get_current())
    assert is_instrumentation_enabled()
    with suppress_instrumentation():
        assert dict(context.get_current()) == ours


def test_where_the_api_has_no_key_for_it_the_instrumentations_are_asked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delattr(context, "_SUPPRESS_INSTRUMENTATION_KEY")
    assert sorted(short._suppression_keys()) == sorted(short.SUPPRESSION_KEYS)
    monkeypatch.delattr(context, "_SUPPRESS_HTTP_INSTRUMENTATION_KEY")
    assert short._http_suppression_key() == short.HTTP_SUPPRESSION_KEY


def test_suppression_of_http_is_that_of_the_instrumentations() -> None:
    token = short.attach_context(Context({short.HTTP_SUPPRESSION_KEY: True}))
    assert is_instrumentation_enabled()
    assert not is_http_instrumentation_enabled()
    short.detach_context(token)
    assert is_http_instrumentation_enabled()
    with suppress_http_instrumentation():
        assert context.get_current()[short.HTTP_SUPPRESSION_KEY]


@pytest.mark.parametrize(
    ("context", "surely", "suppressed"),
    [
        ({}, True, False),
        ({"k": True, short.SPAN_KEY: INVALID_SPAN}, True, False),
        *(({key: True, "k": 1}, False, True) for key in short.SUPPRESSION_KEYS),
        # What is there and false suppresses nothing.
        *(({key: value}, False, False) for key in short.SUPPRESSION_KEYS for value in (False, None, 0)),
        (dict.fromkeys(short.SUPPRESSION_KEYS, True), False, True),
        ({short.HTTP_SUPPRESSION_KEY: True}, True, False),
    ],
)
def test_what_suppresses(context: dict[str, object], surely: bool, suppressed: bool) -> None:
    made = Context(context)
    assert short.surely_observed(made) is surely
    assert short.is_suppressed(made) is suppressed
    token = short.attach_context(made)
    assert is_instrumentation_enabled() is not suppressed
    short.detach_context(token)


def test_one_key_of_several_is_enough() -> None:
    keys = sorted(short.SUPPRESSION_KEYS)
    assert len(keys) > 1
    for key in keys:
        assert short.is_suppressed(Context({**dict.fromkeys(keys, False), key: True}))


def test_within_ours_and_theirs_nothing_is_observed() -> None:
    for manager in (short.suppressed, suppress_instrumentation):
        with manager():
            inside = short.get_context()
        assert short.is_suppressed(inside)
        assert not short.surely_observed(inside)
        assert short.surely_observed(short.get_context())
