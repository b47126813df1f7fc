"""One observed operation. The one place that sets a span's status, error and end time, and its duration.

Nothing here raises into the application.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextvars import Token
from time import perf_counter_ns
from types import TracebackType
from typing import TYPE_CHECKING, Final

from opentelemetry.context import Context
from opentelemetry.trace import INVALID_SPAN, Span
from opentelemetry.util.types import AttributeValue

from spanwise import names
from spanwise.context import SPAN_KEY, attach_context, get_context
from spanwise.fixed import Fixed
from spanwise.instrumentors._abandoned import later
from spanwise.instrumentors._body import leave
from spanwise.instrumentors._failure import tell, type_name

if TYPE_CHECKING:
    from spanwise.instrumentors._calls import Calls

__all__ = ["NO_CALL", "NO_OUTCOME", "Call"]

_OTHER: Final = "_OTHER"  # The conventions' error.type for a failure of unknown type.
NO_OUTCOME: Final = "the call was abandoned before its outcome was known"


class Call:
    """One observed operation: a span and, where the instrumentor has one, a duration.

    The span's end is its start plus a monotonic duration, so a stepping clock gives no negative one
    and span and metric always tell the same time, which thresholds rely on.

    Attributes:
        span: its span.
        context: in which it was started.
        measured_in: whose span an exemplar of its duration names; by default the same.
    """

    __slots__ = (
        "_began",
        "_calls",
        "_clock",
        "_dropped",
        "_ended",
        "_labels",
        "_token",
        "context",
        "measured_in",
        "span",
    )

    @property
    def ended(self) -> bool:
        """Whether its outcome is known."""
        return self._ended

    @property
    def current(self) -> Context:
        """The context in which the call was started, with its span as the current one."""
        return Context({**self.context, SPAN_KEY: self.span})

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
        self.context = self.measured_in = context
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

    def end(self, more: Mapping[str, AttributeValue] | None = None, *, labels: Fixed | None = None) -> float:
        """End as a success.

        Args:
            more: labels of the duration that were not known at the start.
            labels: all of them instead, where they are the same each time.

        Returns:
            The duration in seconds; 0.0 if the call had ended before.
        """
        if self._ended:
            return 0.0
        known = self._labels if labels is None else labels
        return self._finish({**known, **more} if more and known is not None else known)

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
            self.drop(lambda: self.fail(None, error_type=kind, message=NO_OUTCOME, attributes=attributes))
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
        calls = self._calls
        try:
            self.span.end(self._began + elapsed)
        except Exception as error:
            calls.warn("end a span", error)
        if labels is not None:
            try:
                calls.record(seconds, labels, self.measured_in)
            except Exception as error:
                calls.warn("record a duration", error)
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
            end: ends the call, as of now. Called with the next call, at exit or at SIGTERM.
        """
        self._dropped = self._dropped or perf_counter_ns()
        later(end)

    def __del__(self) -> None:
        if not self._ended:
            self.drop(self._abandon)

    def _abandon(self) -> None:
        if self._calls.open:
            self.fail(None, message=NO_OUTCOME)
        else:
            self.end()


class _NoCall(Call):
    """Stands for an operation that is not observed."""

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__(None, INVALID_SPAN, Context(), None, 0)  # type: ignore[arg-type]
        self._ended = True

    def __enter__(self) -> Call:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None


NO_CALL: Final[Call] = _NoCall()
