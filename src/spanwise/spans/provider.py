"""The TracerProvider that makes our tracers; `opentelemetry.sdk.trace.TracerProvider` in all else."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

from opentelemetry.metrics import MeterProvider
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ConcurrentMultiSpanProcessor, SpanLimits, SynchronousMultiSpanProcessor
from opentelemetry.sdk.trace import TracerProvider as SdkTracerProvider
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.sdk.trace.sampling import Sampler
from opentelemetry.sdk.util.instrumentation import InstrumentationInfo, InstrumentationScope
from opentelemetry.trace import NoOpTracer
from opentelemetry.trace import Tracer as ApiTracer
from opentelemetry.util.types import Attributes

from spanwise.log import Log
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
            sampler,
            resource,
            shutdown_on_exit,
            active_span_processor or GuardedProcessors(),
            id_generator,
            span_limits,
            meter_provider=meter_provider,
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
        if self._disabled:
            return NoOpTracer()
        key = (instrumenting_module_name, instrumenting_library_version, schema_url)
        if not attributes:
            known = self._by_name.get(key)
            if known is not None:
                return known
        if not instrumenting_module_name:
            instrumenting_module_name = ""
            _logger.error("get_tracer called with missing module name.")
        name, version = instrumenting_module_name, instrumenting_library_version or ""
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
