"""The recording span: the SDK's Span with the work moved off the hot path.

It takes no lock, and is correct wherever a thread loses its turn, be it by a trace function, by gevent or on
a build without the GIL: see `details`. What isn't atomic: threads that fill one span at once can leave it
over its limit by at most their number.
"""

from __future__ import annotations

import copy
from time import time_ns
from types import TracebackType
from typing import Any

from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanContext, TraceFlags, TraceState
from opentelemetry.util.types import AnyValue

from spanwise.fixed import Fixed
from spanwise.log import Log
from spanwise.spans.arguments import LATEST, moment
from spanwise.spans.attributes import SpanAttributes
from spanwise.spans.faults import failed
from spanwise.spans.handover import hand_over
from spanwise.spans.processors import GuardedProcessors
from spanwise.spans.sdk_shape import SHAPE_HOLDS, make_context
from spanwise.spans.shared import Shared
from spanwise.spans.verdict import VerdictFunction

__all__ = ["Span"]

# The SDK's logger and messages, so that filters that applications have for them go on working.
_logger = Log("opentelemetry.sdk.trace")


class Span(SpanAttributes):
    """See `opentelemetry.sdk.trace.Span`: the same contract, arguments and exceptions.

    A tracer makes spans without calling ``__init__``: it sets the attributes of a span that differ from
    the defaults below. Processors get the span itself in ``on_end``; it no longer changes then.
    """

    # The context, as a plain tuple until somebody asks for it: it costs as much as the span's ids and times.
    _parts: tuple[int, int, bool, TraceFlags, TraceState, bool] | None = None
    _made: SpanContext | None = None
    _start_time: int | None = None
    _end_time: int | None = None
    _record_exception = True
    _set_status_on_exception = True
    _record_end_metrics = None
    _trace_config = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        # For code that builds a span by hand, as the SDK's own tests do. A tracer doesn't come here.
        super().__init__(*args, **kwargs)
        mine = self.__dict__
        self._shared = Shared(
            token=None,
            sampler=mine["_sampler"],
            resource=mine["_resource"],
            info=mine["_instrumentation_info"],
            scope=mine["_instrumentation_scope"],
            limits=mine["_limits"],
            processor=mine["_span_processor"],
        )

    def get_span_context(self) -> SpanContext | None:  # type: ignore[override]  # as the SDK's has it
        return self._made or self._context

    @property
    def _context(self) -> SpanContext | None:
        made = self._made
        if made is None and self._parts is not None:
            made = self._made = make_context(self._parts)
        return made

    @_context.setter
    def _context(self, context: SpanContext | None) -> None:
        self._made = context
        # Whatever else somebody takes for a context is read by its attributes.
        plain = SHAPE_HOLDS and type(context) is SpanContext
        self._parts = tuple(context) if plain else None  # type: ignore[arg-type, assignment]

    def is_recording(self) -> bool:
        return self._end_time is None

    def start(self, start_time: int | None = None, parent_context: Context | None = None) -> None:
        if self._start_time is not None:
            _logger.seldom("Calling start() on a started span.")
            return
        self._start_time = time_ns() if start_time is None else moment(start_time, "start_time")
        try:
            self._shared.processor.on_start(self, parent_context=parent_context)
        except Exception as error:
            failed("on_start", self._shared.processor, error)

    def end(self, end_time: int | None = None) -> None:
        start = self._start_time
        if start is None:
            raise RuntimeError("Calling end() on a not started span.")
        if end_time is None:
            end_time = time_ns()
            if end_time < start:
                end_time = start  # the clock was set back: no negative durations
        elif type(end_time) is not int or not 0 <= end_time <= LATEST:
            end_time = moment(end_time, "end_time")
        live = self._live
        try:
            del self._live  # of callers at the same time one succeeds
        except AttributeError:
            _logger.seldom("Calling end() on an ended span.")
            return
        self._end_time = end_time
        # In this order: see `details`.
        extras = self._extras
        if extras is not None:
            held = self._close(live, extras)
        else:
            held = live if type(live) is Fixed else live.copy()
        if self._record_end_metrics is not None:
            self._record_end_metrics()
        shared = self._shared
        if shared.verdict is not None and end_time - start > shared.floor:
            held = self._rate(shared.verdict, end_time - start, held)
        self._held = held
        processor = shared.processor
        if type(processor) is GuardedProcessors:
            processor.finish(self)
            return
        try:
            processor._on_ending(self)
        except Exception as error:
            failed("on_ending", processor, error)
        try:
            processor.on_end(self)
        except Exception as error:
            failed("on_end", processor, error)

    hand_over = hand_over

    def _rate(
        self, verdict: VerdictFunction, duration: int, attributes: dict[str, AnyValue]
    ) -> dict[str, AnyValue]:
        """The attributes with what is said of the span, where anything is."""
        try:
            result = verdict(self._name, self._kind, attributes, duration)
            if result is None:
                return attributes
            self._held = attributes = self._rated(attributes, result)
            told = getattr(verdict, "told", None)
            if told is not None:
                told(self, result)
        except Exception as error:
            failed("verdict", verdict, error)
        return attributes

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> None:
        if exc_val is not None and self._end_time is None:
            if self._record_exception:
                self.record_exception(exception=exc_val, escaped=True)
            if self._set_status_on_exception:
                self.set_failure(exc_val)
        self.end()

    def __deepcopy__(self, memo: dict[int, Any]) -> ReadableSpan:
        # A record: a second live span would be counted twice, and processors and locks can't be copied.
        return copy.deepcopy(self._readable_span(), memo)
