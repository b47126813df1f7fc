"""The one place where our instrumentors start spans and set status, error, end time and duration.

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

Nothing here raises into the application.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from contextvars import Token
from time import perf_counter_ns, time_ns
from types import TracebackType
from typing import Final

from opentelemetry.context import Context
from opentelemetry.metrics import Histogram
from opentelemetry.trace import INVALID_SPAN, Span, SpanKind, Tracer
from opentelemetry.util.types import AttributeValue

from spanwise import names
from spanwise.context import SPAN_KEY, SUPPRESSION_KEYS, attach_context, get_context
from spanwise.instrumentors._abandoned import end_abandoned, end_at_exit, later
from spanwise.instrumentors._abandoned import waiting as _abandoned
from spanwise.instrumentors._body import leave
from spanwise.instrumentors._failure import message_of, tell, type_name

__all__ = ["NO_CALL", "Call", "Calls", "end_abandoned"]

_LOG = logging.getLogger(__name__)
_OTHER: Final = "_OTHER"  # The conventions' error.type for a failure of unknown type.
_NO_OUTCOME: Final = "the call was abandoned before its outcome was known"


class Calls:
    """Starts the calls of one instrumentor.

    Args:
        instrumentor: its name, for warnings; the one by which the user can disable it.
        tracer: makes the spans.
        duration: a histogram in seconds; None if the instrumentor has none.
    """

    __slots__ = ("_duration", "_instrumentor", "_tracer", "_warned", "open")

    def __init__(self, instrumentor: str, tracer: Tracer, duration: Histogram | None = None) -> None:
        self._instrumentor = instrumentor
        self._tracer = tracer
        self._duration = duration
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
            began = time_ns() if took is None else time_ns() - took
            span = self._tracer.start_span(name, context, kind, attributes, start_time=began)
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

    def _record(self, seconds: float, attributes: Mapping[str, AttributeValue]) -> None:
        if self._duration is not None:
            self._duration.record(seconds, attributes)


class Call:
    """One observed operation: a span and, where the instrumentor has one, a duration.

    The span's end is its start plus a monotonic duration, so a stepping clock gives no negative one
    and span and metric always tell the same time, which thresholds rely on.

    Attributes:
        span: its span.
        context: in which it was started.
    """

    __slots__ = ("_began", "_calls", "_clock", "_dropped", "_ended", "_labels", "_token", "context", "span")

    @property
    def ended(self) -> bool:
        """Whether its outcome is known."""
        return self._ended

    @property
    def current(self) -> Context:
        """The context in which the call was started, with its span as the current one."""
        return Context({**self.context, SPAN_KEY: self.span})

    def within(self, more: Mapping[str, object]) -> Context:
        """The same with more in it, by key."""
        return Context({**self.context, SPAN_KEY: self.span, **more})

    def __init__(
        self,
        calls: Calls,
        span: Span,
        context: Context,
        labels: Mapping[str, AttributeValue] | None,
        began: int,
    ) -> None:
        self.span = span
        self._calls = calls
        self.context = context
        self._labels = labels
        self._began = began
        self._ended = False
        self._dropped = 0
        self._token: Token[Context] | None = None
        self._clock = perf_counter_ns()

    def over(self, took: int) -> None:
        """Fix the duration, which is not for the clock to tell.

        Args:
            took: nanoseconds.
        """
        self._dropped = self._clock
        self._clock -= took

    def end(self, more: Mapping[str, AttributeValue] | None = None) -> float:
        """End as a success.

        Args:
            more: labels of the duration that were not known at the start.

        Returns:
            The duration in seconds; 0.0 if the call had ended before.
        """
        if self._ended:
            return 0.0
        labels = self._labels
        return self._finish({**labels, **more} if more and labels is not None else labels)

    def fail(
        self,
        error: BaseException | None,
        *,
        error_type: str = "",
        message: str | None = None,
        attributes: Mapping[str, AttributeValue] | None = None,
    ) -> float:
        """End as a failure: status ERROR, ``error.type``, and the exception as an event.

        Args:
            error: what was raised; None where an answer said so. A GeneratorExit is told later, see `drop`.
            error_type: a code more telling than the exception's class; the class's name by default.
            message: what to say instead of the exception's message; then the event has no stack trace,
                which would repeat that. None uses the exception's own, with its stack trace, both
                without what `spanwise.privacy.exceptions` takes for data.
            attributes: more about the failure, of low cardinality: they go onto the metric too.

        Returns:
            The duration in seconds; 0.0 if the call had ended before.
        """
        if self._ended:
            return 0.0
        if isinstance(error, GeneratorExit):
            # Of a coroutine that nobody awaits any longer, as a rule: this is a finalizer.
            kind = error_type or type_name(error)
            self.drop(lambda: self.fail(None, error_type=kind, message=_NO_OUTCOME, attributes=attributes))
            return 0.0
        found = {names.ERROR_TYPE: error_type or (type_name(error) if error is not None else _OTHER)}
        extra: dict[str, AttributeValue] = {**(attributes or {}), **found}
        try:
            span = self.span
            if span.is_recording():
                span.set_attributes(extra)
                tell(span, error, message)
        except Exception as problem:
            self._calls.warn("describe a failed call", problem)
        return self._finish(None if self._labels is None else {**self._labels, **extra})

    def _finish(self, labels: Mapping[str, AttributeValue] | None) -> float:
        elapsed = (self._dropped or perf_counter_ns()) - self._clock
        self._ended = True
        seconds = elapsed / 1e9
        try:
            self.span.end(self._began + elapsed)
        except Exception as error:
            self._calls.warn("end a span", error)
        if labels is not None:
            try:
                self._calls._record(seconds, labels)
            except Exception as error:
                self._calls.warn("record a duration", error)
        return seconds

    def __enter__(self) -> Call:
        try:
            self._token = attach_context(self.current)
        except Exception as error:
            self._calls.warn("make a span current", error)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        token, self._token = self._token, None
        # A finalizer runs in a context that is not its own, and that must stay.
        if token is not None and not (
            isinstance(error, GeneratorExit) and get_context().get(SPAN_KEY) is not self.span
        ):
            leave(token)
        if error is None:
            self.end()
        else:
            self.fail(error)

    def drop(self, end: Callable[[], object]) -> None:
        """For finalizers, which may run inside anyone's lock, the span processor's among them.

        Args:
            end: ends the call, as of now. Called before the next call, at exit or at SIGTERM.
        """
        self._dropped = self._dropped or perf_counter_ns()
        later(end)

    def __del__(self) -> None:
        if not self._ended:
            self.drop(self._abandon)

    def _abandon(self) -> None:
        if self._calls.open:
            self.fail(None, message=_NO_OUTCOME)
        else:
            self.end()


class _NoCall(Call):
    """Stands for an operation that is not observed."""

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__(Calls("none", None), INVALID_SPAN, Context(), None, 0)  # type: ignore[arg-type]
        self._ended = True

    def __enter__(self) -> Call:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None


NO_CALL: Final[Call] = _NoCall()
