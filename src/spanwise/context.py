"""The API's current context, read and set by the shortest way.

A leaf: spans and meters both read it on every call. The one place that relies on how the API keeps its
context; tests/unit/test_context.py says for which versions that holds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import Context as ContextVars
from contextvars import ContextVar
from typing import Any, Final

import opentelemetry.context
from opentelemetry.context import Context
from opentelemetry.context.contextvars_context import ContextVarsRuntimeContext
from opentelemetry.trace import INVALID_SPAN
from opentelemetry.trace.propagation import set_span_in_context

__all__ = [
    "HTTP_SUPPRESSION_KEY",
    "NOWHERE",
    "REQUEST_KEY",
    "SPAN_KEY",
    "SUPPRESSION_KEYS",
    "UNOBSERVED_PATHS",
    "attach_context",
    "detach_context",
    "get_context",
    "is_suppressed",
    "suppressed",
    "surely_observed",
]

# The key under which a Context holds its span has no public name; what the public function writes does.
SPAN_KEY: Final = next(iter(set_span_in_context(INVALID_SPAN, Context())))

# The key under which a Context holds what instrumentors note of the request under way.
REQUEST_KEY: Final = opentelemetry.context.create_key("spanwise-request")

NOWHERE: Final = Context()
"""In which there is no span: what is measured there makes no exemplar, which costs as much as the rest."""

UNOBSERVED_PATHS: Final[set[str]] = set()
"""Paths of requests that make no telemetry: those of the health endpoint."""


def _functions() -> tuple[Callable[[], Context], Callable[[Context], Any], Callable[[Any], None]]:
    """The API's get_current, attach and detach, without the six Python calls between them and the
    context variable: 0.4 µs a span. A runtime context of the user's (OTEL_PYTHON_CONTEXT) is asked as ever.
    """
    runtime = getattr(opentelemetry.context, "_RUNTIME_CONTEXT", None)
    variable = getattr(runtime, "_current_context", None)
    if type(runtime) is ContextVarsRuntimeContext and isinstance(variable, ContextVar):
        return variable.get, variable.set, variable.reset
    return opentelemetry.context.get_current, opentelemetry.context.attach, opentelemetry.context.detach


get_context, attach_context, detach_context = _functions()


def _suppression_keys() -> tuple[str, ...]:
    """What `suppress_instrumentation` of opentelemetry.instrumentation.utils puts into a context.

    That module imports wrapt, and that asyncio: 6 ms of every start. It is asked where the API has no key.
    """
    key = getattr(opentelemetry.context, "_SUPPRESS_INSTRUMENTATION_KEY", None)
    if isinstance(key, str):
        return (key, "suppress_instrumentation")
    from opentelemetry.instrumentation.utils import suppress_instrumentation

    return _set_by(suppress_instrumentation)


def _http_suppression_key() -> str:
    """What `suppress_http_instrumentation` of opentelemetry.instrumentation.utils puts into a context."""
    key = getattr(opentelemetry.context, "_SUPPRESS_HTTP_INSTRUMENTATION_KEY", None)
    if isinstance(key, str):
        return key
    from opentelemetry.instrumentation.utils import suppress_http_instrumentation

    return _set_by(suppress_http_instrumentation)[0]


def _set_by(manager: Callable[[], AbstractContextManager[None]]) -> tuple[str, ...]:
    def within() -> tuple[str, ...]:
        with manager():
            return tuple(opentelemetry.context.get_current())

    return ContextVars().run(within)


SUPPRESSION_KEYS: Final = frozenset(_suppression_keys())
"""Of a context in which nothing is to be observed."""

surely_observed: Final = SUPPRESSION_KEYS.isdisjoint
"""Of a context: nothing suppresses anything in it. One call into C. Where it says no, `is_suppressed` knows;
a cache's hit takes that for a yes, since nobody puts such a key there to say that it is off."""


def is_suppressed(context: Context) -> bool:
    """Whether nothing is to be observed in a context."""
    return any(context.get(key) for key in SUPPRESSION_KEYS)


HTTP_SUPPRESSION_KEY: Final = _http_suppression_key()
"""Of a context in which no HTTP client is to be observed: what one that runs on another one sets."""


@contextmanager
def suppressed() -> Iterator[None]:
    """Nothing that happens within is observed, by our instrumentors or by others."""
    current = opentelemetry.context.get_current()
    token = opentelemetry.context.attach(Context({**current, **dict.fromkeys(SUPPRESSION_KEYS, True)}))
    try:
        yield
    finally:
        opentelemetry.context.detach(token)
