"""The tracer: start_span on the hot path, with the SDK's decisions in the SDK's order."""

from __future__ import annotations

import random
from collections.abc import Sequence
from time import time_ns
from typing import Any

from opentelemetry.context import Context
from opentelemetry.sdk.trace import Tracer as SdkTracer
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.trace.sampling import Decision, SamplingResult
from opentelemetry.trace import (
    DEFAULT_TRACE_STATE,
    INVALID_SPAN_CONTEXT,
    Link,
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    get_current_span,
)
from opentelemetry.trace import Span as ApiSpan
from opentelemetry.util.types import Attributes

from spanwise.context import SPAN_KEY, get_context
from spanwise.forks import mark, noticed
from spanwise.spans.arguments import LATEST, is_true, links_of, moment, parent_of
from spanwise.spans.current import CurrentSpan
from spanwise.spans.faults import failed
from spanwise.spans.leaf import leaf, takes_leaves
from spanwise.spans.limits import clean_items
from spanwise.spans.processors import GuardedProcessors
from spanwise.spans.sdk_shape import (
    FLAGS,
    SHAPE_HOLDS,
    known_decisions,
    make_context,
    measures_nothing,
)
from spanwise.spans.shared import Shared
from spanwise.spans.span import Span
from spanwise.spans.verdict import VerdictFunction

__all__ = ["Tracer"]

_INTERNAL = SpanKind.INTERNAL
_RECORD_AND_SAMPLE = Decision.RECORD_AND_SAMPLE
_DROP = Decision.DROP
_RANDOM_BIT = 2  # of the trace flags (W3C Trace Context level 2)
_BOTH = FLAGS[3]  # sampled and random
_new = object.__new__


class _Checked(list[Link]):
    """The links of a span whose arguments have all been looked at."""


class Tracer(SdkTracer):
    """See `opentelemetry.sdk.trace.Tracer`: the same arguments and results.

    Args:
        verdict: asked for a rating of every span that ends, or None. The other arguments are the SDK's.
    """

    _shared: Shared | None = None
    _token: object = None

    def __init__(self, *args: Any, verdict: VerdictFunction | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._verdict = verdict

    def __setattr__(self, name: str, value: Any) -> None:
        # Sampler, processor, resource, ids are public attributes that may be replaced at any time.
        # A new token after the value makes start_span work out what spans share once more.
        object.__setattr__(self, name, value)
        object.__setattr__(self, "_token", object())

    def _share(self) -> Shared:
        token = self._token  # first: a change from here on leaves a result that isn't used again
        shared = Shared(
            token=token,
            sampler=self.sampler,
            resource=self.resource,
            info=self.instrumentation_info,
            scope=self._instrumentation_scope,
            limits=self._span_limits,
            processor=self.span_processor,
            id_generator=self.id_generator,
            decisions=known_decisions(self.sampler),
            random_ids=SHAPE_HOLDS and type(self.id_generator) is RandomIdGenerator,
            metrics=None if measures_nothing(self._tracer_metrics) else self._tracer_metrics,
            verdict=self._verdict,
            floor=getattr(self._verdict, "floor", -1),
            enabled=self._tracer_config.is_enabled,
        )
        object.__setattr__(self, "_shared", shared)
        return shared

    leaf = leaf
    takes_leaves = takes_leaves

    def start_as_current_span(  # type: ignore[override]  # the SDK names its generator class here
        self,
        name: str,
        context: Context | None = None,
        kind: SpanKind = _INTERNAL,
        attributes: Attributes = None,
        links: Sequence[Link] | None = (),
        start_time: int | None = None,
        record_exception: bool = True,
        set_status_on_exception: bool = True,
        end_on_exit: bool = True,
    ) -> CurrentSpan:
        return CurrentSpan(
            self,
            (
                name,
                context,
                kind,
                attributes,
                links,
                start_time,
                record_exception,
                set_status_on_exception,
            ),
            end_on_exit if end_on_exit is True else is_true(end_on_exit),
        )

    def start_span(
        self,
        name: str,
        context: Context | None = None,
        kind: SpanKind = _INTERNAL,
        attributes: Attributes = None,
        links: Sequence[Link] | None = (),
        start_time: int | None = None,
        record_exception: bool = True,
        set_status_on_exception: bool = True,
    ) -> ApiSpan:
        try:
            if not mark[0]:
                noticed()  # before the ids are drawn, and with the child's resource
            shared = self._shared
            if shared is None or shared.token is not self._token:
                shared = self._share()
            current = (get_context() if context is None else context).get(SPAN_KEY)
            parent: SpanContext | None
            if type(current) is Span:
                # Its context, made by its first child: most spans have none.
                parent = current._made or current._context
            elif current is None:
                parent = None
            else:
                parent = get_current_span(context).get_span_context()
            if type(parent) is not SpanContext and parent is not None and not isinstance(parent, SpanContext):
                raise TypeError("parent_span_context must be a SpanContext or None.")
            if not shared.enabled:
                return NonRecordingSpan(INVALID_SPAN_CONTEXT if parent is None else parent)

            state: Any
            if parent is None:
                valid = False
            elif SHAPE_HOLDS and type(parent) is SpanContext:
                # One step instead of five property calls.
                trace_id, _, remote, parent_flags, state, valid = parent
            else:
                valid = parent.is_valid
                trace_id, remote, state = parent.trace_id, parent.is_remote, parent.trace_state
                parent_flags = parent.trace_flags

            random_ids = shared.random_ids
            ids: Any = shared.id_generator
            if valid and parent_flags is _BOTH and not remote:
                # The usual child, without arithmetic: that of a subclass of int is slow.
                case, bits = 3, _RANDOM_BIT
            elif valid:
                case = (1 if remote else 3) + (not parent_flags & 1)
                bits = parent_flags & _RANDOM_BIT
            else:
                parent = None
                case = 0
                state = DEFAULT_TRACE_STATE
                # By name, through the module: that is where programs seed or replace it. Zero is no id.
                trace_id = (random.getrandbits(128) if random_ids else 0) or ids.generate_trace_id()
                bits = _RANDOM_BIT if random_ids or ids.is_trace_id_random() else 0

            decision = shared.decisions[case]
            if decision is None:
                links = links or ()
                result = self._ask(shared, case, context, trace_id, name, kind, attributes, links)
                decision, attributes, state = result.decision, result.attributes, result.trace_state
                if state is None:
                    state = DEFAULT_TRACE_STATE

            flags = FLAGS[bits | 1 if decision is _RECORD_AND_SAMPLE else bits]
            if random_ids:
                parts = trace_id, random.getrandbits(64) or ids.generate_span_id(), False, flags, state, True
                span_context = None
            else:
                span_context = SpanContext(trace_id, ids.generate_span_id(), False, flags, state)

            ended = None if shared.metrics is None else shared.metrics.start_span(parent, decision)
            if decision is _DROP:
                return NonRecordingSpan(make_context(parts) if span_context is None else span_context)

            # Past the constructors: 17 arguments through two of them cost more than the span.
            span: Span = _new(Span)
            span._shared = shared
            span._title = name
            if span_context is None:
                span._parts = parts
            else:
                span._context = span_context
            span._parent = parent
            span._kind = kind
            span._resource = shared.resource
            span._instrumentation_scope = shared.scope
            if not attributes:
                span._live = span._held = {}
            else:
                live = shared.rules.plain_copy(attributes)
                if live is not None:
                    span._live = span._held = live
                else:
                    span._begin(attributes)
            if links:
                span._links = span._new_links(links)
            if not record_exception:
                span._record_exception = False
            if not set_status_on_exception:
                span._set_status_on_exception = False
            if ended is not None:
                span._record_end_metrics = ended
            if start_time is None:
                span._start_time = time_ns()
            elif type(start_time) is int and 0 <= start_time <= LATEST:
                span._start_time = start_time
            else:
                span._start_time = moment(start_time, "start_time")
            processor = shared.processor
            if type(processor) is GuardedProcessors and processor.nobody_starts is processor._span_processors:
                return span
            try:
                processor.on_start(span, parent_context=context)
            except Exception as error:
                failed("on_start", processor, error)
            return span
        except Exception as error:
            # An argument that is none of its kind; what can be kept of it makes the span.
            return self._start_anyway(
                error,
                name,
                context,
                kind,
                attributes,
                links,
                start_time,
                record_exception,
                set_status_on_exception,
            )

    def _start_anyway(self, error: Exception, name: Any, context: Any, kind: Any, *rest: Any) -> ApiSpan:
        """A span of what is left of its arguments without those that are wrong; each of them is told."""
        attributes, links, start_time, *flags = rest
        if type(links) is _Checked:
            # It was no argument: a sampler or an id generator of the application's, or a fault of ours.
            failed("start_span", self, error)
            return NonRecordingSpan(INVALID_SPAN_CONTEXT)
        return self.start_span(
            name,
            parent_of(context),
            kind,
            clean_items(attributes, None)[0],
            _Checked(links_of(links)),
            start_time,
            *map(is_true, flags),
        )

    def _ask(self, shared: Shared, case: int, context: Context | None, *span: Any) -> SamplingResult:
        """The sampler's result; when it raises, the parent's decision, or yes for a root."""
        sampler: Any = shared.sampler
        try:
            result: SamplingResult = sampler.should_sample(context, *span)
            if type(result) is not SamplingResult:
                _ = result.decision.is_recording, result.attributes, result.trace_state
            return result
        except Exception as error:
            failed("should_sample", sampler, error)
            parent = get_current_span(context).get_span_context()
            return SamplingResult(
                _DROP if case in (2, 4) else _RECORD_AND_SAMPLE,
                span[3],
                parent.trace_state if case else None,
            )
