"""Runs the application's code within a span of ours, and leaves it the context that it makes itself.

What such code attaches and doesn't detach is meant for what comes after it: a hook's wrapper sets baggage for
what it wraps, a plugin does so for the whole run. It stays attached, with the span in it that was the current
one before ours. A span that the application itself made current stays the current one.

Limit: a token that is used after its hook call gives back the context in which our span was the current one.
"""

from __future__ import annotations

from typing import Any, Final

from opentelemetry.context import Context
from opentelemetry.trace import Span

from spanwise import names
from spanwise.context import SPAN_KEY, attach_context, detach_context, get_context

__all__ = ["Within", "leave", "moved"]

_NO_CONTEXT: Final = Context()


def moved(context: Context, away: object, to: object) -> Context:
    """A context with another span in it, where it has this one, or one of a plugin's that has ended.

    Args:
        context: is left as it is.
        away: the span that is to go; None for none.
        to: what takes its place; None for none.
    """
    span = context.get(SPAN_KEY)
    if span is not away and not _is_over(span):
        return context
    others = {**context}
    if to is None:
        others.pop(SPAN_KEY, None)
    else:
        others[SPAN_KEY] = to
    return Context(others)


def _is_over(span: Any) -> bool:
    if getattr(span, "end_time", None) is None:
        return False
    return names.PLUGIN_PROJECT in (getattr(span, "attributes", None) or ())


def leave(before: Context, inside: Context, token: Any) -> None:
    """Ends what :func:`attach_context` began.

    Args:
        before: the context in which that was.
        inside: what was attached.
        token: what that gave.
    """
    now = get_context()
    if now is inside:
        try:
            detach_context(token)
        except ValueError:  # whoever drives a coroutine by hand may do so in several contexts
            attach_context(before)
    else:
        attach_context(moved(now, inside.get(SPAN_KEY), before.get(SPAN_KEY)))


class Within:
    """Something that runs step by step, each step in its span, and between them in the caller's context.

    Args:
        span: of all steps.
    """

    __slots__ = ("_before", "_entered", "_first", "_inside", "_left", "_outer", "_span", "_token")

    def __init__(self, span: Span) -> None:
        self._span: object = span
        self._first = self._inside = self._left = self._outer = self._before = self._entered = _NO_CONTEXT
        self._token: Any = None

    def enter(self) -> None:
        """A step begins."""
        before = self._before = get_context()
        if self._first is _NO_CONTEXT:
            self._outer = before
            context = self._first = Context({**before, SPAN_KEY: self._span})
        elif before is self._left:
            context = self._inside
        elif before.get(SPAN_KEY) is self._left.get(SPAN_KEY):
            context = Context({**before, SPAN_KEY: self._inside.get(SPAN_KEY)})
        else:
            # Steps of an asynchronous generator, each in another span of its consumer's.
            context = Context({**before, SPAN_KEY: self._span})
        self._entered = context
        self._token = attach_context(context)

    @property
    def is_current(self) -> bool:
        """Whether the step's context is still the current one."""
        return get_context() is self._entered

    def leave(self) -> None:
        """It ends."""
        now = self._inside = get_context()
        if now is self._entered:
            leave(self._before, now, self._token)
        elif now is self._first:
            # What it had attached is detached.
            attach_context(self._outer)
        else:
            attach_context(moved(now, self._span, self._before.get(SPAN_KEY)))
        self._left = get_context()
