"""The TracerProvider that makes our tracers; `opentelemetry.sdk.trace.TracerProvider` in all else."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

from opentelemetry.metrics import MeterProvider
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import (
    ConcurrentMultiSpanProcessor,
    SpanLimits,
    SpanProcessor,
    SynchronousMultiSpanProcessor,
)
from opentelemetry.sdk.trace import TracerProvider as SdkTracerProvider
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.sdk.trace.sampling import Sampler
from opentelemetry.sdk.util.instrumentation import InstrumentationInfo, InstrumentationScope
from opentelemetry.trace import NoOpTracer
from opentelemetry.trace import Tracer as ApiTracer
from opentelemetry.util.types import Attributes

from spanwise.log import Log
from spanwise.spans.arguments import is_true, seconds, usable
from spanwise.spans.faults import failed, printable
from spanwise.spans.limits import clean_items
from spanwise.spans.processors import GuardedProcessors
from spanwise.spans.tracer import Tracer
from spanwise.spans.verdict import VerdictFunction

__all__ = ["TracerProvider"]

_logger = Log("opentelemetry.sdk.trace")


class TracerProvider(SdkTracerProvider):
    """See `opentelemetry.sdk.trace.TracerProvider`; its arguments and environment variables hold.

    Args:
        verdict: asked for a rating of every recorded span when it ends, or None. What it returns is set
            as the attributes `names.RATING`, `names.RATING_RULE` and `names.RATING_LIMIT`.
        The other arguments are the SDK's, in its order.
    """

    def __init__(
        self,
        sampler: Sampler | None = None,
        resource: Resource | None = None,
        shutdown_on_exit: bool = True,
        active_span_processor: SynchronousMultiSpanProcessor | ConcurrentMultiSpanProcessor | None = None,
        id_generator: IdGenerator | None = None,
        span_limits: SpanLimits | None = None,
        *,
        meter_provider: MeterProvider | None = None,
        _tracer_configurator: Callable[[InstrumentationScope], Any] | None = None,
        verdict: VerdictFunction | None = None,
    ) -> None:
        self._verdict = verdict
        # Tracers by what get_tracer is called with: most calls repeat, some for every request.
        self._by_name: dict[tuple[str, str | None, str | None], Tracer] = {}
        super().__init__(
            usable(sampler, "should_sample", "sampler"),
            usable(resource, "merge", "resource"),
            is_true(shutdown_on_exit),
            usable(active_span_processor, "on_end", "active_span_processor") or GuardedProcessors(),
            usable(id_generator, "generate_trace_id", "id_generator"),
            span_limits if isinstance(span_limits, SpanLimits) else None,
            meter_provider=usable(meter_provider, "get_meter", "meter_provider"),
            _tracer_configurator=_tracer_configurator,
        )

    def set_verdict(self, verdict: VerdictFunction | None) -> None:
        """Sets or removes the function that rates ended spans, for spans started from now on."""
        with self._tracers_lock:
            self._verdict = verdict
            for tracer in self._tracers.values():
                if isinstance(tracer, Tracer):
                    tracer._verdict = verdict

    def get_tracer(
        self,
        instrumenting_module_name: str,
        instrumenting_library_version: str | None = None,
        schema_url: str | None = None,
        attributes: Attributes = None,
    ) -> ApiTracer:
        try:
            return self._tracer_of(
                instrumenting_module_name, instrumenting_library_version, schema_url, attributes
            )
        except Exception:
            _logger.seldom("get_tracer takes texts and a mapping of attributes; others are taken as text")
        try:
            texts = (instrumenting_module_name, instrumenting_library_version, schema_url)
            name, version, url = (None if each is None else printable(each) for each in texts)
            return self._tracer_of(name or "", version, url, clean_items(attributes, None)[0])
        except Exception as error:
            failed("get_tracer", self, error)
            return NoOpTracer()

    def _tracer_of(
        self, name: str, version: str | None, schema_url: str | None, attributes: Attributes
    ) -> ApiTracer:
        if self._disabled:
            return NoOpTracer()
        key = (name, version, schema_url)
        if not attributes:
            known = self._by_name.get(key)
            if known is not None:
                return known
        if not name:
            name = ""
            _logger.error("get_tracer called with missing module name.")
        version = version or ""
        scope = InstrumentationScope(name, version, schema_url, attributes)
        with self._tracers_lock:
            tracer = self._tracers.get(scope)
            if tracer is None:
                tracer = self._tracers[scope] = self._make_tracer(name, version, schema_url, scope)
        if not attributes and name and isinstance(tracer, Tracer):
            self._by_name[key] = tracer
        return tracer

    def _make_tracer(
        self, name: str, version: str, schema_url: str | None, scope: InstrumentationScope
    ) -> Tracer:
        # Deprecated, but still part of a span until the SDK drops it; the application can't help that.
        warnings.filterwarnings(
            "ignore",
            message="You should use InstrumentationScope",
            category=DeprecationWarning,
            module=__name__,
        )
        info = InstrumentationInfo(name, version, schema_url)
        return Tracer(
            self.sampler,
            self.resource,
            self._active_span_processor,
            self.id_generator,
            info,
            self._span_limits,
            scope,
            meter_provider=self._meter_provider,
            _tracer_config=self._apply_tracer_configurator(scope),
            verdict=self._verdict,
        )

    def add_span_processor(self, span_processor: SpanProcessor) -> None:
        if span_processor is None:
            _logger.seldom("span_processor must be a SpanProcessor, not None; it is left out")
        elif usable(span_processor, "on_end", "span_processor") is not None:
            super().add_span_processor(span_processor)

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        try:
            return super().force_flush(int(seconds(timeout_millis) * 1000))
        except Exception as error:
            failed("force_flush", self._active_span_processor, error)
            return False

    def shutdown(self) -> None:
        try:
            super().shutdown()
        except Exception as error:
            failed("shutdown", self._active_span_processor, error)
