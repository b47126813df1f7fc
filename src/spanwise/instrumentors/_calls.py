"""The one place where our instrumentors start spans.

An instrumentor makes one `Calls` when it is switched on, and one `Call` for each observed operation::

    call = calls.start("SELECT tracks", attributes, metric_attributes=labels)
    try:
        result = wrapped()
    except BaseException as error:
        call.fail(error)
        raise
    call.end()

or ``with calls.start(name, attributes):``, which also makes the span current for what runs inside.
Where before and after are two callbacks, keep the call on an object that lives no longer than the
operation: a call that is dropped unfinished still ends, as failed.

Attributes and labels that are the same each time are `Fixed`: then a call that nobody sees while it runs
makes no span, only its bytes, and its duration finds its series at once.

Nothing here raises into the application.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from time import time_ns
from typing import Any, Final

from opentelemetry.context import Context
from opentelemetry.metrics import Histogram
from opentelemetry.trace import SpanKind, Tracer
from opentelemetry.util.types import AttributeValue

from spanwise.context import SUPPRESSION_KEYS, get_context
from spanwise.fixed import Fixed
from spanwise.instrumentors._abandoned import end_abandoned, end_at_exit
from spanwise.instrumentors._abandoned import waiting as _abandoned
from spanwise.instrumentors._call import NO_CALL, Call
from spanwise.instrumentors._failure import message_of, type_name
from spanwise.instruments import recorder

__all__ = ["Calls"]

_LOG: Final = logging.getLogger(__name__)


def _no_leaf(*_: object) -> Any:
    """Of a tracer that makes an object of every span."""
    return None


class Calls:
    """Starts the calls of one instrumentor.

    Args:
        instrumentor: its name, for warnings; the one by which the user can disable it.
        tracer: makes the spans.
        duration: a histogram in seconds; None if the instrumentor has none.
    """

    __slots__ = ("_instrumentor", "_leaf", "_warned", "duration", "end_leaf", "open", "tracer")

    def __init__(self, instrumentor: str, tracer: Tracer, duration: Histogram | None = None) -> None:
        self._instrumentor = instrumentor
        self.tracer = tracer
        # Ours makes no objects of spans that nobody sees (`spanwise.spans.leaf`).
        self._leaf: Callable[[Context, Fixed], object | None] = getattr(tracer, "leaf", _no_leaf)
        self.end_leaf: Callable[..., int] = getattr(tracer, "end_leaf", _no_leaf)
        self.duration = duration
        self._warned = False
        #: False once the instrumentor was switched off: calls dropped after that are no failures.
        self.open = True
        end_at_exit()  # the tracer's provider has registered for the exit already

    def start(
        self,
        name: str,
        attributes: Mapping[str, AttributeValue] | None = None,
        *,
        kind: SpanKind = SpanKind.CLIENT,
        metric_attributes: Mapping[str, AttributeValue] | None = None,
        context: Context | None = None,
        took: int | None = None,
    ) -> Call:
        """Start a span as a child of the current one.

        Args:
            name: of low cardinality.
            attributes: known at the start, so that a sampler sees them.
            kind: the span's kind.
            metric_attributes: the labels of the duration; None records no duration.
            context: whose span is the parent instead; the current one by default.
            took: nanoseconds that the operation took, where it is over and ends now: the call has exactly
                this duration.

        Returns:
            The call, or `NO_CALL` where instrumentation is suppressed or a tracer fails.
        """
        if _abandoned:
            end_abandoned()
        try:
            if context is None:
                context = get_context()
            for key in SUPPRESSION_KEYS:
                if context.get(key):
                    return NO_CALL
            if type(attributes) is Fixed and took is None:
                leaf = self._leaf(context, attributes)
                if leaf is not None:
                    described = leaf, name, kind, attributes
                    return Call(self, None, context, metric_attributes, time_ns(), described)
            began = time_ns() if took is None else time_ns() - took
            span = self.tracer.start_span(name, context, kind, attributes, start_time=began)
            call = Call(self, span, context, metric_attributes, began)
            if took is not None:
                call.over(took)
            return call
        except Exception as error:
            self.warn("start a span", error)
            return NO_CALL

    def warn(self, doing: str, error: BaseException) -> None:
        """Log the first internal failure of this instrumentor; later ones at debug level.

        Args:
            doing: what failed, after "could not".
            error: why.
        """
        level = logging.DEBUG if self._warned else logging.WARNING
        self._warned = True
        _LOG.log(
            level,
            "%s instrumentation could not %s (%s: %s); the application is not affected, but telemetry is "
            "missing. Report it, or switch this off: OTEL_PYTHON_DISABLED_INSTRUMENTATIONS=%s",
            self._instrumentor,
            doing,
            type_name(error),
            message_of(error),
            self._instrumentor,
        )

    def record(self, seconds: float, labels: Mapping[str, AttributeValue], context: Context) -> None:
        """Records a duration.

        Args:
            seconds: it.
            labels: its attributes.
            context: whose span an exemplar names.
        """
        duration = self.duration
        if duration is None:
            return
        if type(labels) is Fixed:
            recorder(duration, labels)(seconds, context)
        else:
            duration.record(seconds, labels, context)
