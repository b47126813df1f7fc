"""The SDK's ends of two channels: span processor and metric reader. The third: see log_signal."""

from __future__ import annotations

import threading
import time
import warnings
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

from opentelemetry.sdk.metrics import (
    Counter,
    Histogram,
    ObservableCounter,
    ObservableGauge,
    ObservableUpDownCounter,
    UpDownCounter,
)
from opentelemetry.sdk.metrics.export import AggregationTemporality, MetricReader, MetricsData
from opentelemetry.sdk.metrics.view import Aggregation, ExponentialBucketHistogramAggregation
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor
from opentelemetry.sdk.util.instrumentation import InstrumentationInfo, InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind

from spanwise import names
from spanwise.context import suppressed
from spanwise.deliver.channel import Channel
from spanwise.deliver.exemplars import Exemplars
from spanwise.log import Log
from spanwise.threads import Thread, must_pass, started_task

__all__ = ["MetricDelivery", "MetricSampling", "SpanDelivery", "seconds"]

_logger = Log("spanwise.deliver")

_CUMULATIVE, _DELTA = AggregationTemporality.CUMULATIVE, AggregationTemporality.DELTA

_LONGEST = 86_400.0  # seconds of a time-out; none means this
_DEFAULT = 30.0  # seconds, where it is no number; the SDK's

# Seconds that a collection may take before the delivery goes on without it.
_PATIENCE = 1.0

Flush = Callable[[float], bool]
Leaf = tuple[Any, int, str, int, int, int, Mapping[str, Any]]
"""The parent's context as a plain tuple, span id, name, the kind's value, start, end and attributes."""


def seconds(timeout_millis: Any) -> float:
    """A time-out as an application gives it, in seconds that a lock can wait for. Never raises."""
    try:
        wanted = float(timeout_millis) / 1000
        return min(max(wanted, 0.0), _LONGEST) if wanted == wanted else 0.0
    except Exception:
        return _DEFAULT


class SpanDelivery(SpanProcessor):
    """Hands ended spans to their channel, whose source leaves out what was not sampled.

    Args:
        channel: the traces' channel.
        flush: sends all that waits within so many seconds; tells whether nothing is left.
    """

    def __init__(self, channel: Channel, flush: Flush) -> None:
        self._flush = flush
        # Straight into the channel: one call the fewer a span.
        self.on_end = channel.offer  # type: ignore[method-assign,assignment]
        if channel.offer_leaf is not None:
            self.on_leaf = channel.offer_leaf  # type: ignore[method-assign]

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        # Whoever replaces what becomes of spans, to filter them say, gets all of them.
        if name == "on_end":
            super().__setattr__("on_leaf", self._as_span)

    def on_end(self, span: ReadableSpan) -> None:
        """Takes a span; after shutdown, none."""

    def on_leaf(self, resource: Any, scope: Any, fields: Leaf) -> None:
        """Takes a span that never was an object (`spanwise.spans.leaf`); after shutdown, none."""

    def _as_span(self, resource: Any, scope: Any, fields: Leaf) -> None:
        (trace_id, parent_id, _, flags, *_), span_id, name, kind, start, end, attributes = fields
        self.on_end(
            ReadableSpan(
                name,
                SpanContext(trace_id, span_id, False, flags),
                SpanContext(trace_id, parent_id, False, flags),
                resource,
                dict(attributes),
                kind=SpanKind(kind),
                instrumentation_info=None if scope is None else _info(scope),
                instrumentation_scope=scope,
                start_time=start,
                end_time=end,
            )
        )

    def shutdown(self) -> None:
        """Sends what waits; later spans are not taken."""
        self._flush(2.0)
        vars(self).pop("on_end", None)
        vars(self).pop("on_leaf", None)

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Sends what waits; tells whether nothing is left."""
        return self._flush(seconds(timeout_millis))


@lru_cache(maxsize=256)
def _info(scope: InstrumentationScope) -> InstrumentationInfo:
    """Deprecated, but still part of a span until the SDK drops it; the application can't help that."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return InstrumentationInfo(scope.name, scope.version or "", scope.schema_url)


class MetricSampling(MetricReader):
    """Collects for whoever asks, and delivers nothing.

    Attributes:
        cumulative: whether what :meth:`sample` tells is of use: delta points would be lost to the
            destination, and exponential histograms have no buckets to look at.
    """

    cumulative = True

    def __init__(
        self,
        preferred_temporality: dict[type, AggregationTemporality] | None = None,
        preferred_aggregation: dict[type, Aggregation] | None = None,
    ) -> None:
        super().__init__(preferred_temporality, preferred_aggregation)
        # The SDK hands a collection over on the thread that asked for it.
        self._asking = threading.local()

    def sample(self) -> MetricsData | None:
        """What a collection tells now; None where nothing was measured. From any thread."""
        self._asking.taken = []
        try:
            self.collect()
            return self._asking.taken[0] if self._asking.taken else None
        finally:
            del self._asking.taken

    def _receive_metrics(self, metrics_data: MetricsData, timeout_millis: float = 10_000, **_: Any) -> None:
        taken = getattr(self._asking, "taken", None)
        if taken is not None:
            taken.append(metrics_data)
        else:
            self._deliver(metrics_data)

    def _deliver(self, metrics_data: MetricsData) -> None:
        """Takes a collection that nobody asked for."""

    def shutdown(self, timeout_millis: float = 30_000, **_: Any) -> None:
        """Holds nothing."""


class MetricDelivery(MetricSampling):
    """Collects on the delivery thread and hands the result to its channel.

    A process that has done nothing but exist stays silent: the parent of a debug reloader, a
    pre-forking server's master, a supervisor of workers would else appear as one more instance of
    the service. It reports from the first span or the first metric that is not about the process
    or the delivery itself.

    Args:
        channel: the metrics' channel.
        flush: as for :class:`SpanDelivery`.
        active: tells whether the process has recorded a span or a log record.
        temporality: ``cumulative``, ``delta`` or ``lowmemory``, as the specification defines them.
        exponential: histograms are exponential ones by default.

    Attributes:
        standing_by: whether nothing is reported, since the process only supervises another.
        measured: tells whether there is a meter that is not about the process.
    """

    def __init__(
        self,
        channel: Channel,
        flush: Flush,
        active: Callable[[], bool],
        *,
        temporality: str = "cumulative",
        exponential: bool = False,
    ) -> None:
        preferred: dict[type, Aggregation] = {}
        if exponential:
            preferred[Histogram] = ExponentialBucketHistogramAggregation()
        super().__init__(preferred_temporality=_temporality(temporality), preferred_aggregation=preferred)
        self.cumulative = temporality == "cumulative" and not exponential
        self._offer = channel.offer
        self._flush = flush
        self._active = active
        self._reporting = False
        self._open = True
        self._collecting: Thread | None = None
        self._began = 0.0
        self._exemplars = Exemplars()
        self.standing_by = False
        self.measured: Callable[[], bool] = lambda: True

    @property
    def idle(self) -> bool:
        """Whether a collection could not but be silent: it need not be made."""
        return not (self._reporting or self._active() or self.measured())

    def sample(self) -> MetricsData | None:
        """The same; the exemplars that it took go out with the next delivery."""
        data = super().sample()
        if data is not None:
            self._exemplars.keep(data)
        return data

    def gather(self) -> None:
        """Collects and delivers, on a thread of its own. Never raises, and waits for a second at most.

        Callbacks are the application's: one may wait for a network, or for ever, and spans and log records
        must not wait with it. What it collects in the end is delivered then.
        """
        if self.idle:
            return
        collecting = self._collecting
        if collecting is not None and collecting.is_alive():
            _logger.seldom(
                "metrics are not collected: the last collection takes %d seconds already. A callback of an"
                " observable instrument may hang",
                time.monotonic() - self._began,
            )
            return
        self._began = time.monotonic()
        self._collecting = started_task(self._gather, "spanwise-collection")
        if self._collecting is None:  # the interpreter ends
            self._gather()
        else:
            self._collecting.join(_PATIENCE)

    def _gather(self) -> None:
        with suppressed():
            try:
                self.collect()
            except BaseException as error:
                if must_pass(error):
                    raise
                _logger.seldom("metrics could not be collected: %s: %s", type(error).__name__, error)

    def _is_collecting(self) -> bool:
        return self._collecting is not None and self._collecting.is_current()

    def _deliver(self, metrics_data: MetricsData) -> None:
        if self._open and not self.standing_by and (self._reporting or self._has_work(metrics_data)):
            self._offer(self._exemplars.given_to(metrics_data))

    def _has_work(self, data: MetricsData) -> bool:
        self._reporting = self._active() or any(
            scope_metrics.scope.name not in names.SCOPES_OF_THE_PROCESS
            for resource_metrics in data.resource_metrics
            for scope_metrics in resource_metrics.scope_metrics
        )
        return self._reporting

    def shutdown(self, timeout_millis: float = 30_000, **_: Any) -> None:
        """Collects once more and sends it; later collections are not taken."""
        self._flush(min(seconds(timeout_millis), 2.0))
        self._open = False

    def force_flush(self, timeout_millis: float = 10_000) -> bool:
        """Collects now and sends it with all else that waits."""
        # A flush from a callback would wait for itself.
        return not self._is_collecting() and self._flush(seconds(timeout_millis))


def _temporality(preference: str) -> dict[type, AggregationTemporality]:
    """By instrument, as the OTLP metrics exporter's specification defines the three preferences."""
    sums = _CUMULATIVE if preference == "cumulative" else _DELTA
    observed = _DELTA if preference == "delta" else _CUMULATIVE
    return {
        Counter: sums,
        Histogram: sums,
        ObservableCounter: observed,
        UpDownCounter: _CUMULATIVE,
        ObservableUpDownCounter: _CUMULATIVE,
        ObservableGauge: _CUMULATIVE,
    }
