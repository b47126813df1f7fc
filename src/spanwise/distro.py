"""The composition root: builds everything from the settings, and starts it.

All ways to launch end here: ``spanwise run`` and :func:`spanwise.configure` call :func:`launch`;
``opentelemetry-instrument`` comes in by the entry points of :mod:`spanwise.entrypoints`.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from opentelemetry import metrics, trace
from opentelemetry.sdk.metrics.export import MetricReader, PeriodicExportingMetricReader
from opentelemetry.sdk.metrics.view import ExplicitBucketHistogramAggregation, View
from opentelemetry.sdk.resources import Resource

from spanwise import components, names, notices, report, resource, sources
from spanwise.deliver import exporters, selfmetrics
from spanwise.deliver.lifecycle import Lifecycle
from spanwise.deliver.pipeline import Pipeline, destination
from spanwise.errors import SpanwiseError
from spanwise.instrumentors.load import Outcome, load
from spanwise.instrumentors.reloader import when_supervising
from spanwise.meters import standard
from spanwise.meters.provider import MeterProvider
from spanwise.meters.sampler import Sampler
from spanwise.rating import shipped
from spanwise.rating.verdict import Candidate, VerdictFunction, critical_beyond, verdicts
from spanwise.settings import SIGNALS, Settings
from spanwise.spans.provider import TracerProvider

__all__ = ["Launch", "current", "instrument", "launch", "start"]

_logger = logging.getLogger("spanwise")

# Comma-separated list of the convention groups whose stable names are used. contrib's instrumentors
# still default to the old ones; a user's own choice wins.
STABLE_CONVENTIONS = "http,database"

# Instrumentations of caches that are in the process or on its disk.
_LOCAL_CACHES = ("cachetools", "diskcache", "flask_caching")
# The thresholds' rule whose critical limit makes a SQL statement slow. The Collector counts by the same one.
DATABASE_RULE = "db.client"


@dataclass
class Launch:
    """What was started in this process, and what came of it.

    Attributes:
        settings: the settings that hold.
        verdict: rates spans by the thresholds.
        edges: of histograms that the thresholds add some to, by the metric's name.
        describe: makes the report's lines about the thresholds.
        service: the service as telemetry names it.
        destinations: a line a signal: where it goes.
        options: keyword arguments of ``instrument()`` by instrumentation.
        outcomes: what became of each instrumentation.
        history: how often the metrics are sampled, in nanoseconds, and how many samples are kept.
        sampler: takes the samples; None where none are taken.
    """

    settings: Settings
    verdict: VerdictFunction | None = None
    edges: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    describe: Callable[[], list[str]] = list
    service: str = "telemetry is off"
    destinations: list[str] = field(default_factory=list)
    options: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    outcomes: list[Outcome] = field(default_factory=list)
    instrumented: bool = False
    history: Mapping[str, int] = field(default_factory=dict)
    sampler: Sampler | None = None


current: Launch | None = None
"""The process's launch, once there is one. A second :func:`start` changes nothing."""


def launch(**arguments: Any) -> None:
    """Starts telemetry and instruments every library. Never raises.

    Args:
        arguments: settings by field name (see :class:`spanwise.settings.Settings`).
    """
    start(**arguments)
    instrument()


def start(**arguments: Any) -> None:
    """Makes the providers and starts the delivery, once a process. Never raises.

    A fault of ours, or of a setting, costs telemetry and one logged error; the application runs.
    """
    global current
    if current is not None:
        return
    notices.speak()
    try:
        current = _read(arguments)
        loaded = current.settings
        if loaded.disabled:
            return
        if loaded.excluded_hooks:
            current.options["pluggy"] = {"excluded_hooks": loaded.excluded_hooks}
        # What users see of the stable conventions must not depend on the way of launching.
        os.environ.setdefault("OTEL_SEMCONV_STABILITY_OPT_IN", STABLE_CONVENTIONS)
        if loaded.config_file:
            _start_from_file(current, loaded.config_file)
        else:
            _start(current)
    except SpanwiseError as error:
        _switch_off()
        _logger.error("no telemetry: %s", error)
    except Exception:
        _switch_off()
        _logger.exception(
            "no telemetry: spanwise could not start. The application goes on; please report this"
        )


def instrument() -> None:
    """Instruments every installed library, once a process, and prints the start-up report. Never raises."""
    if current is None or current.instrumented:
        return
    current.instrumented = True
    try:
        if not current.settings.redis_info:
            current.options["redis"] = {**current.options.get("redis", {}), "info": False}
        if not current.settings.disabled:
            if current.settings.cache_spans:
                for name in _LOCAL_CACHES:
                    current.options.setdefault(name, {"cache_spans": True})
            current.outcomes = load(current.settings, current.options)
        if current.settings.startup_report:
            thresholds = [] if current.settings.disabled else current.describe()
            report.show(current.service, current.destinations, current.outcomes, thresholds)
    except Exception:
        _logger.exception("instrumenting failed. The application goes on; please report this")


def _switch_off() -> None:
    # Instrumenting without a pipeline would cost the application time and give nothing.
    if current is not None:
        current.settings = replace(current.settings, disabled=True)


def _read(arguments: dict[str, Any]) -> Launch:
    """Settings and thresholds. The thresholds file may hold settings, and a setting names the file."""
    launched = Launch(sources.load(arguments))
    try:
        _read_thresholds(launched, arguments)
    except SpanwiseError as error:
        _logger.error("the shipped thresholds hold, since those given cannot be used: %s", error)
        _use_shipped(launched)
    for problem in launched.settings.problems:
        _logger.warning("%s", problem)
    return launched


def _read_thresholds(launched: Launch, arguments: dict[str, Any]) -> None:
    loaded = launched.settings
    path = Path(loaded.thresholds or "thresholds.yaml")
    given = path if loaded.thresholds or path.is_file() else None
    if given is None and not loaded.profile:
        _use_shipped(launched)
        return
    from spanwise.rating.edges import edges
    from spanwise.rating.lowered import candidates
    from spanwise.thresholds import load as file

    thresholds = file.load(given, loaded.profile)
    if thresholds.settings:
        launched.settings = sources.load(arguments, file=thresholds.settings)
    _rate_by(launched, candidates(file.lower(thresholds)))
    launched.edges = edges(file.lower(thresholds))
    launched.history = thresholds.history
    launched.describe = lambda: file.summary(thresholds)


def _use_shipped(launched: Launch) -> None:
    def describe() -> list[str]:
        from spanwise.thresholds import load as file

        return file.summary(file.load())

    _rate_by(launched, shipped.CANDIDATES)
    launched.edges = shipped.EDGES
    launched.history = shipped.HISTORY
    launched.describe = describe


def _rate_by(launched: Launch, rules: tuple[Candidate, ...]) -> None:
    """Spans, and what the instrumentors call slow, by the same rules."""
    launched.verdict = verdicts(rules)
    launched.options["sqlalchemy"] = {
        "slow_statement": critical_beyond(rules, DATABASE_RULE),
        "enable_commenter": launched.settings.sql_commenter,
    }


def _start_from_file(launched: Launch, path: str) -> None:
    from spanwise import declarative

    declared = declarative.apply(path)
    loaded = launched.settings
    launched.settings = replace(
        loaded,
        disabled=declared.disabled,
        disabled_instrumentations=loaded.disabled_instrumentations + declared.denied,
    )
    for name, given in declared.options.items():
        launched.options[name] = {**launched.options.get(name, {}), **given}
    launched.service = f"configured by {path}"
    launched.destinations.append(f"all signals: as {path} says")


def _start(launched: Launch) -> None:
    loaded = launched.settings
    own = [
        signal
        for signal in SIGNALS
        for name in _exporter_names(loaded, signal)
        if exporters.own_signal(name, loaded.exporter(signal))
    ]
    pipeline = Pipeline(loaded, own)
    described = resource.detect(loaded.service_name)
    service = str(described.attributes.get(names.SERVICE_NAME, ""))
    unnamed = ". Set OTEL_SERVICE_NAME" if service.startswith("unknown_service") else ""
    launched.service = f"service {service}{unnamed}"
    closing = [_start_traces(launched, pipeline, described)]
    if _exporter_names(loaded, "logs"):
        closing.append(_start_logs(launched, pipeline, described))
    closing.append(_start_metrics(launched, pipeline, described))

    def at_exit() -> None:
        deadline = time.monotonic() + loaded.exit_timeout / 1000
        pipeline.shutdown()
        exporters.close(closing, deadline)

    Lifecycle(pipeline.after_fork, at_exit).begin()
    when_supervising(pipeline.stand_by)
    if loaded.request_memory:
        launched.options["flask"] = {"request_memory": True}
    if loaded.trace_response:
        from opentelemetry.instrumentation import propagators

        propagators.set_global_response_propagator(propagators.TraceResponsePropagator())  # type: ignore[no-untyped-call]
    pipeline.start()
    if not _exporter_names(loaded, "logs"):
        # Without an exporter the log handler would cost a record on each call for nothing.
        launched.options["logging"] = {"enable_log_auto_instrumentation": False}


def _start_traces(launched: Launch, pipeline: Pipeline, described: Resource) -> Callable[[], None]:
    provider = TracerProvider(
        resource=described,
        shutdown_on_exit=False,
        sampler=components.sampler(),
        id_generator=components.id_generator(),
        verdict=launched.verdict,
    )
    if pipeline.span_processor is not None:
        provider.add_span_processor(pipeline.span_processor)
    for exporter in _others(launched, "traces"):
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        provider.add_span_processor(BatchSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    return provider.shutdown


def _start_logs(launched: Launch, pipeline: Pipeline, described: Resource) -> Callable[[], None]:
    from opentelemetry._logs import set_logger_provider
    from opentelemetry.sdk._logs import LoggerProvider
    from opentelemetry.sdk._logs.export import BatchLogRecordProcessor

    provider = LoggerProvider(resource=described, shutdown_on_exit=False)
    if pipeline.log_processor is not None:
        provider.add_log_record_processor(pipeline.log_processor)
    for exporter in _others(launched, "logs"):
        provider.add_log_record_processor(BatchLogRecordProcessor(exporter))
    set_logger_provider(provider)
    return provider.shutdown


def _start_metrics(launched: Launch, pipeline: Pipeline, described: Resource) -> Callable[[], None]:
    readers: list[MetricReader] = [] if pipeline.metric_reader is None else [pipeline.metric_reader]
    for exporter in _others(launched, "metrics"):
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
    metrics.set_meter_provider(provider)
    if readers:
        selfmetrics.observe(provider.get_meter(names.SCOPE_DELIVERY), tuple(pipeline.channels.values()))
    of_process = bool(readers) and launched.settings.process_meters
    collect = None if sampling is None else sampling.sample
    launched.sampler = standard.sampler(provider, collect, launched.history, of_process=of_process)
    if launched.sampler is not None:
        pipeline.companions.append(launched.sampler)
    return provider.shutdown


def _exporter_names(loaded: Settings, signal: str) -> Sequence[str]:
    chosen: Sequence[str] = getattr(loaded, f"{signal}_exporter")
    return [name for name in chosen if name != "none"]


def _others(launched: Launch, signal: str) -> list[Any]:
    """The signal's exporters besides our own delivery. One that cannot be made costs one error."""
    made = []
    exporter = launched.settings.exporter(signal)
    for name in _exporter_names(launched.settings, signal):
        if exporters.own_signal(name, exporter):
            launched.destinations.append(f"{signal}: {destination(exporter, signal).url}")
            continue
        try:
            made.append(exporters.make(signal, name, exporter))
            launched.destinations.append(f"{signal}: {exporters.address(name, exporter)}")
        except SpanwiseError as error:
            _logger.error("%s do not go to %s: %s", signal, name, error)
            launched.destinations.append(f"{signal}: NOT to {name}: {error}")
    return made
