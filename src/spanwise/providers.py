"""Makes the providers of the three signals."""

from __future__ import annotations

import os
from _thread import LockType, allocate_lock
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any
from uuid import uuid4

from opentelemetry import metrics, trace
from opentelemetry.sdk.metrics.export import MetricReader, PeriodicExportingMetricReader
from opentelemetry.sdk.metrics.view import ExplicitBucketHistogramAggregation, View
from opentelemetry.sdk.resources import PROCESS_PARENT_PID, PROCESS_PID, SERVICE_INSTANCE_ID, Resource

from spanwise import components, names
from spanwise.alerts.start import attach
from spanwise.deliver import exporters, selfmetrics
from spanwise.deliver.destinations import destination
from spanwise.deliver.pipeline import Pipeline
from spanwise.errors import SpanwiseError
from spanwise.forks import after_fork_in_c
from spanwise.instruments import make
from spanwise.launched import Launch
from spanwise.log import Log
from spanwise.meters import standard
from spanwise.meters.provider import MeterProvider
from spanwise.settings import Settings
from spanwise.spans.provider import TracerProvider
from spanwise.values import without_secrets

__all__ = ["exporter_names", "start_logs", "start_metrics", "start_traces"]

_logger = Log("spanwise")


def start_traces(launched: Launch, pipeline: Pipeline, described: Resource) -> Callable[[], None]:
    """Makes and sets the tracer provider; returns what ends it."""
    provider = TracerProvider(
        resource=described,
        shutdown_on_exit=False,
        sampler=components.sampler(),
        id_generator=components.id_generator(),
        verdict=launched.verdict,
    )
    if pipeline.span_processor is not None:
        provider.add_span_processor(pipeline.span_processor)
    settings = launched.settings
    limits = _batching(settings.span_queue, settings.span_batch, settings.span_delay)
    for exporter in _others(launched, pipeline, "traces"):
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        provider.add_span_processor(BatchSpanProcessor(exporter, **limits))
    if launched.slow is not None:
        pipeline.companions.append(launched.slow)
    _renewed_by_forks_in_c(provider)
    trace.set_tracer_provider(provider)
    return provider.shutdown


def start_logs(launched: Launch, pipeline: Pipeline, described: Resource) -> Callable[[], None]:
    """Makes and sets the logger provider; returns what ends it."""
    from opentelemetry._logs import set_logger_provider
    from opentelemetry.sdk._logs import LoggerProvider
    from opentelemetry.sdk._logs.export import BatchLogRecordProcessor

    provider = LoggerProvider(resource=described, shutdown_on_exit=False)
    if pipeline.log_processor is not None:
        provider.add_log_record_processor(pipeline.log_processor)
    settings = launched.settings
    limits = _batching(settings.log_queue, settings.log_batch, settings.log_delay)
    for exporter in _others(launched, pipeline, "logs"):
        provider.add_log_record_processor(BatchLogRecordProcessor(exporter, **limits))
    _renewed_by_forks_in_c(provider)
    set_logger_provider(provider)
    return provider.shutdown


def start_metrics(launched: Launch, pipeline: Pipeline, described: Resource) -> Callable[[], None]:
    """Makes and sets the meter provider, the meters and their history; returns what ends it."""
    readers: list[MetricReader] = [] if pipeline.metric_reader is None else [pipeline.metric_reader]
    for exporter in _others(launched, pipeline, "metrics"):
        if isinstance(exporter, MetricReader):
            readers.append(exporter)
        else:
            interval = launched.settings.metric_interval
            readers.append(PeriodicExportingMetricReader(exporter, export_interval_millis=interval))
    sampling = pipeline.sampling() if launched.history["samples"] else None
    if sampling is not None and sampling not in readers:
        readers.append(sampling)
    views = [
        View(instrument_name=name, aggregation=ExplicitBucketHistogramAggregation(boundaries=edges))
        for name, edges in launched.edges.items()
    ]
    provider = MeterProvider(metric_readers=readers, resource=described, shutdown_on_exit=False, views=views)
    _renewed_by_forks_in_c(provider)
    metrics.set_meter_provider(provider)
    if launched.slow is not None:
        launched.slow.rated = make(provider.get_meter(names.SCOPE_ALERTS), names.RATED_SPANS)
    if readers:
        selfmetrics.observe(provider.get_meter(names.SCOPE_DELIVERY), tuple(pipeline.channels.values()))
    of_process = bool(readers) and launched.settings.process_meters
    collect = None if sampling is None else sampling.sample
    own = pipeline.metric_reader
    if own is not None:
        own.measured = lambda: provider.measured
    wanted = (lambda: not own.idle) if own is not None and readers == [own] else (lambda: True)
    launched.sampler = standard.sampler(
        provider, collect, launched.history, of_process=of_process, wanted=wanted
    )
    if launched.sampler is not None:
        service = str(described.attributes.get(names.SERVICE_NAME, ""))
        launched.firing = attach(launched.sampler, launched.rules, provider, service)
        pipeline.companions.append(launched.sampler)
    return provider.shutdown


def exporter_names(loaded: Settings, signal: str) -> Sequence[str]:
    """The exporters that a signal goes to."""
    chosen: Sequence[str] = getattr(loaded, f"{signal}_exporter")
    return [name for name in chosen if name != "none"]


def _batching(queue: int, batch: int, delay: int) -> dict[str, Any]:
    # All three: the SDK's processors refuse a queue that is shorter than their own default for a request.
    return {"max_queue_size": queue, "max_export_batch_size": batch, "schedule_delay_millis": max(delay, 1)}


def _renewed_by_forks_in_c(provider: Any) -> None:
    """What the SDK's own hook does after ``os.fork``, for a fork without hooks: new locks and identity.

    Not the hook itself: that looks for resource detectors in all packages, 80 ms in which a worker of uWSGI
    cannot be stopped. Where the SDK's private names are gone, the child keeps its parent's identity.
    """
    update = getattr(provider, "_update_resource", None)
    if update is None:
        return

    def renew() -> None:
        for name, value in list(vars(provider).items()):
            if isinstance(value, LockType):  # a thread that the child does not have may have held it
                setattr(provider, name, allocate_lock())
        update(_identity())

    after_fork_in_c(renew)


@lru_cache(maxsize=1)
def _identity_of(process: int) -> Resource:
    return Resource(
        {PROCESS_PID: process, PROCESS_PARENT_PID: os.getppid(), SERVICE_INSTANCE_ID: str(uuid4())}
    )


def _identity() -> Resource:
    """What tells this process from others, the same for all three signals."""
    return _identity_of(os.getpid())


def _others(launched: Launch, pipeline: Pipeline, signal: str) -> list[Any]:
    """The signal's exporters besides our own delivery. One that cannot be made costs one error."""
    made = []
    own = False
    exporter = launched.settings.exporter(signal)
    for name in exporter_names(launched.settings, signal):
        if exporters.own_signal(name, exporter) and exporters.protocol(name, exporter) == exporter.protocol:
            if not own:
                told = pipeline.unusable.get(signal)
                by = " (gRPC)" if exporter.protocol == "grpc" else ""
                where = f"NOT sent: {told}"
                if told is None:
                    where = f"{without_secrets(destination(exporter, signal).url)}{by}"
                launched.destinations.append(f"{signal}: {where}")
            own = True
            continue
        try:
            made.append(exporters.make(signal, name, exporter))
            launched.destinations.append(f"{signal}: {exporters.address(name, exporter)}")
        except SpanwiseError as error:
            _logger.error("%s do not go to %s: %s", signal, name, error)
            launched.destinations.append(f"{signal}: NOT to {name}: {error}")
    return made
