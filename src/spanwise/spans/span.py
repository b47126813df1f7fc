"""The recording span: the SDK's Span with the work moved off the hot path.

How it stays correct without a lock. On builds with the GIL a thread can lose it only at a call, at a
backward jump or where a jump is taken (CPython 3.10), so the pair "has it ended? then store into the
dict", written with nothing between, is one step to other threads. Where there has to be a call between
(values that need cleaning, eviction), the span keeps a bounded view, and `end` gives the ended span its
own copy of the dict: a writer that came too late writes into the old one, which nobody reads. The view is
made before the writer looks whether the span has ended, and `end` marks the end before it looks for a
view, so one of the two always sees the other. Free-threaded builds always copy, and claim the end under
a lock. What isn't atomic: threads that fill one span can leave it over its limit by at most their number.
"""

from __future__ import annotations

import copy
import threading
from collections.abc import Mapping
from time import time_ns
from types import MappingProxyType, TracebackType
from typing import Any

from opentelemetry.attributes import BoundedAttributes
from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanContext, Status, StatusCode, TraceFlags, TraceState
from opentelemetry.util.types import AnyValue, Attributes

from spanwise import names
from spanwise.fixed import Fixed, FixedError
from spanwise.log import Log
from spanwise.spans.details import ENDED, SpanDetails
from spanwise.spans.faults import failed, told
from spanwise.spans.handover import UNSET, hand_over
from spanwise.spans.limits import AttributeRules, fill, put
from spanwise.spans.processors import GuardedProcessors
from spanwise.spans.sdk_shape import FREE_THREADED, SHAPE_HOLDS, freeze, make_context
from spanwise.spans.shared import Shared
from spanwise.spans.verdict import VerdictFunction

__all__ = ["Span"]

# The SDK's logger and messages, so that filters that applications have for them go on working.
_logger = Log("opentelemetry.sdk.trace")
_claim = threading.Lock()  # taken on free-threaded builds only


class Span(SpanDetails):
    """See `opentelemetry.sdk.trace.Span`: the same contract, arguments and exceptions.

    A tracer makes spans without calling ``__init__``: it sets the attributes of a span that differ from
    the defaults below. Processors get the span itself in ``on_end``; it no longer changes then.
    """

    # Attribute values of the span, cleaned. `_view` is the SDK's mapping over the same dict, made when
    # a value isn't plain or somebody asks for it.
    _live: dict[str, AnyValue]
    # The context, as a plain tuple until somebody asks for it: it costs as much as the span's ids and times.
    _parts: tuple[int, int, bool, TraceFlags, TraceState, bool] | None = None
    _made: SpanContext | None = None
    _view: Any = None
    _start_time: int | None = None
    _end_time: int | None = None
    _status = UNSET
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
            rules=AttributeRules(mine["_limits"]),
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

    # -- attributes -----------------------------------------------------------------------------

    def set_attribute(self, key: str, value: AnyValue) -> None:
        live = self._live
        shared = self._shared
        if type(key) is str and type(value) in shared.plain and len(live) < shared.room and key:
            try:
                if key in live:
                    # Setting a key again makes it the youngest: the oldest is evicted first.
                    if self._end_time is None:
                        del live[key]
                        live[key] = value
                        return
                elif self._end_time is None:
                    live[key] = value
                    return
            except FixedError:
                self._own()
        self._set_one(key, value)

    def _own(self) -> None:
        """Has attributes of its own, to write to."""
        if type(self._live) is Fixed:
            self._live = dict(self._live)

    def _set_one(self, key: str, value: AnyValue) -> None:
        self._own()
        # This order counts: what `end` puts in place afterwards must not be written to.
        live = self._live
        view = self._attributes
        if self._end_time is not None:
            _logger.warning("Setting attribute on ended span.")
            return
        rules = self._shared.rules
        if type(value) is tuple or type(value) is list:
            # A flat sequence of plain values needs no more than a copy that can't change.
            value = tuple(value)
            if not all(map(rules.is_plain, value)):
                put(view, key, value)
                return
        elif not rules.is_plain(value):
            put(view, key, value)
            return
        if type(key) is str and key and len(live) < rules.room:
            live.pop(key, None)
            live[key] = value
        else:
            put(view, key, value)

    def set_attributes(self, attributes: Mapping[str, AnyValue]) -> None:
        new = self._shared.rules.plain_copy(attributes)
        if new is not None:
            self._own()
            live = self._live
            room = self._shared.rules.room
            if len(live) + len(new) <= room and live.keys().isdisjoint(new) and self._end_time is None:
                live.update(new)
                return
        view = self._attributes
        if self._end_time is not None:
            _logger.warning("Setting attribute on ended span.")
            return
        fill(view, attributes)

    @property
    def _attributes(self) -> Any:
        view = self._view
        if view is None:
            self._own()
            # setdefault: two threads that come here together get the same view.
            view = self.__dict__.setdefault("_view", self._shared.rules.over(self._live))
            if self._end_time is not None:
                view._immutable = True
        return view

    @_attributes.setter
    def _attributes(self, value: Any) -> None:
        # The SDK's constructor, and processors that replace the attributes of a span.
        if value is None:
            value = {}
        self._view = value
        if isinstance(value, BoundedAttributes):
            self._live = value._dict
        else:
            self._live = value if type(value) is dict else dict(value)

    @property
    def attributes(self) -> Attributes:
        if self._view is None and self._end_time is not None:
            return MappingProxyType(self._live)
        return MappingProxyType(self._attributes or {})

    @property
    def dropped_attributes(self) -> int:
        view = self._view
        return view.dropped if isinstance(view, BoundedAttributes) else 0

    # -- name, status, life ---------------------------------------------------------------------

    def is_recording(self) -> bool:
        return self._end_time is None

    def update_name(self, name: str) -> None:
        if self._end_time is None:
            self._name = name
        else:
            _logger.warning(ENDED, "update_name")

    def set_status(self, status: Status | StatusCode, description: str | None = None) -> None:
        if self._end_time is not None:
            _logger.warning(ENDED, "set_status")
            return
        code = status.status_code if isinstance(status, Status) else status
        # OK is final, and nothing goes back to unset.
        if self._status.status_code is StatusCode.OK or code is StatusCode.UNSET:
            return
        if isinstance(status, Status):
            if description is not None:
                _logger.warning(
                    "Description %s ignored. Use either `Status` or `(StatusCode, Description)`", description
                )
            self._status = status
        elif isinstance(status, StatusCode):
            self._status = Status(status, description)

    def set_failure(self, error: BaseException) -> None:
        """Sets the status that a span gets when an exception leaves its block."""
        self.set_status(Status(StatusCode.ERROR, f"{type(error).__name__}: {told(error)[0]}"))

    def start(self, start_time: int | None = None, parent_context: Context | None = None) -> None:
        if self._start_time is not None:
            _logger.warning("Calling start() on a started span.")
            return
        self._start_time = time_ns() if start_time is None else start_time
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
        if FREE_THREADED:
            with _claim:
                mine = self._end_time is None
                if mine:
                    self._end_time = end_time
            if not mine:
                _logger.warning("Calling end() on an ended span.")
                return
        elif self._end_time is None:
            self._end_time = end_time
        else:
            _logger.warning("Calling end() on an ended span.")
            return

        if self._view is not None or FREE_THREADED:
            self._part_from_writers()
        if self._record_end_metrics is not None:
            self._record_end_metrics()
        shared = self._shared
        if shared.verdict is not None and end_time - start > shared.floor:
            self._rate(shared.verdict, end_time - start)
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

    def _part_from_writers(self) -> None:
        view = self._view
        self._live = dict(self._live)
        if isinstance(view, BoundedAttributes):
            self._view = freeze(view, self._live)
        elif view is not None:
            self._view = self._live

    def _rate(self, verdict: VerdictFunction, duration: int) -> None:
        try:
            result = verdict(self._name, self._kind, self._live, duration)
            if result is None:
                return
            rated = {
                names.RATING: result.rating,
                names.RATING_RULE: result.rule,
                names.RATING_LIMIT: result.limit,
            }
            self._own()
            # By the rules of any attribute, limits included; then frozen again.
            view = self._shared.rules.over(self._live)
            view.dropped = self.dropped_attributes
            fill(view, {key: value for key, value in rated.items() if value is not None})
            if self._view is not None or view.dropped:
                self._view = freeze(view, self._live)
            told = getattr(verdict, "told", None)
            if told is not None:
                told(self, result)
        except Exception as error:
            failed("verdict", verdict, error)

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
