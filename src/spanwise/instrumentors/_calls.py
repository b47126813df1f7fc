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

Attributes and labels that are the same each time are `Fixed`: its duration finds its series at once. And a
call with such attributes that has nothing to do while it runs needs no `Call` at all. It is told of when it
is over, and makes no span, only its bytes::

    context, clock = get_context(), perf_counter_ns()
    if calls.quick and surely_observed(context):
        result = wrapped()  # and where it fails: calls.start(…, context=context, took=…).fail(error)
        calls.over(name, attributes, labels, context, perf_counter_ns() - clock)

Nothing here raises into the application.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from time import time_ns
from typing import Final

from opentelemetry.context import Context
from opentelemetry.metrics import Histogram
from opentelemetry.trace import SpanContext, SpanKind, Tracer
from opentelemetry.util.types import AttributeValue

from spanwise.context import get_context, is_suppressed, surely_observed
from spanwise.fixed import Fixed
from spanwise.instrumentors._abandoned import end_abandoned, end_at_exit, later
from spanwise.instrumentors._abandoned import waiting as _abandoned
from spanwise.instrumentors._call import NO_CALL, NO_OUTCOME, Call
from spanwise.instrumentors._failure import message_of, type_name
from spanwise.instruments import recorder
from spanwise.log import DEBUG, WARNING, Log

__all__ = ["Calls"]

_LOG: Final = Log(__name__)


def _no_leaf(*_: object) -> None:
    """Of a tracer that makes an object of every span."""


class Calls:
    """Starts the calls of one instrumentor.

    Args:
        instrumentor: its name, for warnings; the one by which the user can disable it.
        tracer: makes the spans.
        duration: a histogram in seconds; None if the instrumentor has none.
    """

    __slots__ = (
        "_instrumentor",
        "_leaf",
        "_takes_leaves",
        "_warned",
        "duration",
        "open",
        "quick",
        "tracer",
    )

    def __init__(self, instrumentor: str, tracer: Tracer, duration: Histogram | None = None) -> None:
        self._instrumentor = instrumentor
        self.tracer = tracer
        # Ours makes no objects of spans that nobody sees (`spanwise.spans.leaf`).
        self._leaf: Callable[..., SpanContext | None] = getattr(tracer, "leaf", _no_leaf)
        self._takes_leaves: Callable[[], bool | None] = getattr(tracer, "takes_leaves", _no_leaf)
        #: Whether `over` may tell of calls: nobody cares for a span's start, as the last one showed.
        self.quick: bool | None = False
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
        ended: int | None = None,
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
            ended: when that was, nanoseconds since 1970; now by default.

        Returns:
            The call, or `NO_CALL` where instrumentation is suppressed or a tracer fails.
        """
        # Not where one is over: a coroutine that is thrown away says so in a finalizer.
        if _abandoned and took is None:
            end_abandoned()
        try:
            if context is None:
                context = get_context()
            if not surely_observed(context) and is_suppressed(context):
                return NO_CALL
            if type(attributes) is Fixed:
                self.quick = self._takes_leaves()
            began = time_ns() if took is None else (ended or time_ns()) - took
            span = self.tracer.start_span(name, context, kind, attributes, start_time=began)
            call = Call(self, span, context, metric_attributes, began)
            if took is not None:
                call.over(took)
            return call
        except Exception as error:
            self.warn("start a span", error)
            return NO_CALL

    def over(
        self,
        name: str,
        attributes: Fixed,
        labels: Fixed | None,
        context: Context,
        took: int,
        kind: SpanKind = SpanKind.CLIENT,
    ) -> None:
        """Tell of a call that has just succeeded, and that had nobody to see it: `quick` says when.

        Args:
            name: of low cardinality.
            attributes: all that its span has.
            labels: of the duration; None records no duration.
            context: in which it was called; nothing is suppressed there.
            took: nanoseconds.
            kind: the span's kind.
        """
        now = time_ns()
        within: SpanContext | None = None
        try:
            leaf = self._leaf
            within = leaf(name, kind, attributes, context, now - took, now)
            if within is None:
                # It is to be rated, or has no parent; or someone has begun to care.
                self.tracer.start_span(name, context, kind, attributes, start_time=now - took).end(now)
                self.quick = self._takes_leaves()
        except Exception as error:
            self.warn("tell of a call", error)
        if labels is not None and self.duration is not None:
            try:
                recorder(self.duration, labels)(took / 1e9, context, within)
            except Exception as error:
                self.warn("record a duration", error)
        if _abandoned:
            end_abandoned()

    def abandoned(
        self,
        name: str,
        attributes: Fixed,
        labels: Fixed | None,
        context: Context,
        took: int,
        error: GeneratorExit,
    ) -> None:
        """The same of a call that nobody waits for any longer: it failed, and this is a finalizer as a rule.

        Its span is made where that is safe: a sampler may hold the lock that it waits for.
        """
        now = time_ns()

        def end() -> None:
            call = self.start(
                name, attributes, metric_attributes=labels, context=context, took=took, ended=now
            )
            call.fail(None, error_type=type_name(error), message=NO_OUTCOME)

        later(end)

    def warn(self, doing: str, error: BaseException) -> None:
        """Log the first internal failure of this instrumentor; later ones at debug level.

        Args:
            doing: what failed, after "could not".
            error: why.
        """
        level = DEBUG if self._warned else WARNING
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
