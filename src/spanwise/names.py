"""Every span attribute, resource attribute, metric and label name that spanwise writes or reads, once.

Names come from the OpenTelemetry semantic conventions (https://opentelemetry.io/docs/specs/semconv/,
version 1.37 and later) unless the section says otherwise. Ours start with ``spanwise.``.
A metric carries its unit (UCUM, as the conventions ask) and what it counts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

# No __all__: the module is the list.


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric's name with what belongs to it.

    Attributes:
        name: the OpenTelemetry name; Prometheus's is derived from it, never written down.
        unit: UCUM unit, for example ``s``, ``By``, ``{request}``.
        description: one line, shown by back ends.
        source: where name and unit come from: ``semconv``, ``spanwise`` or ``collector``.
        kind: ``counter``, ``updowncounter``, ``gauge`` or ``histogram``; :func:`spanwise.instruments.make`
            makes that instrument.
        buckets: a histogram's boundaries, in ``unit``; empty for the SDK's own, which suit milliseconds.
    """

    name: str
    unit: str
    description: str
    source: str = "semconv"
    kind: str = "counter"
    buckets: tuple[float, ...] = ()


# Boundaries that the conventions ask for, in seconds: of HTTP requests, of database operations.
_HTTP_SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
_DB_SECONDS: Final = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0)
# Ours, since the conventions name none and the SDK's default ends at 10 kB.
_BODY_BYTES: Final = (0.0, 100.0, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8)
# Ours: every limit of the shipped thresholds on a duration, whatever the profile, is an edge, so that a share
# beyond it is exact.
# fmt: off
_OPERATION_SECONDS: Final = (
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 15.0, 30.0, 60.0,
)
# fmt: on
# A song or a film takes minutes.
_STREAM_SECONDS: Final = (0.1, 0.5, 1.0, 5.0, 10.0, 30.0, 60.0, 180.0, 300.0, 600.0, 1800.0, 3600.0, 7200.0)
# 0.2 is the shipped limit of the buffer ratio.
_SHARES: Final = (0.0, 0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 0.75, 1.0)
# From a modem's rate to a local network's; 16 kB/s are compressed music, 1 MB/s a film.
_BYTES_A_SECOND: Final = (1e3, 4e3, 16e3, 64e3, 250e3, 1e6, 4e6, 16e6, 64e6, 250e6, 1e9)
# 500 and 800 MB are the shipped limits of memory.
_MEMORY_BYTES: Final = (1e8, 2.5e8, 5e8, 8e8, 1e9, 2e9, 4e9, 8e9)


# -- resource ---------------------------------------------------------------------------------
SERVICE_NAME: Final = "service.name"
SERVICE_VERSION: Final = "service.version"
SERVICE_NAMESPACE: Final = "service.namespace"
SERVICE_INSTANCE_ID: Final = "service.instance.id"
DEPLOYMENT_ENVIRONMENT: Final = "deployment.environment.name"
PROCESS_PID: Final = "process.pid"
PROCESS_PARENT_PID: Final = "process.parent_pid"
PROCESS_COMMAND: Final = "process.command"
PROCESS_EXECUTABLE_NAME: Final = "process.executable.name"
PROCESS_RUNTIME_NAME: Final = "process.runtime.name"
PROCESS_RUNTIME_VERSION: Final = "process.runtime.version"
PROCESS_RUNTIME_DESCRIPTION: Final = "process.runtime.description"
HOST_NAME: Final = "host.name"
HOST_ARCH: Final = "host.arch"
OS_TYPE: Final = "os.type"
OS_DESCRIPTION: Final = "os.description"
TELEMETRY_SDK_NAME: Final = "telemetry.sdk.name"
TELEMETRY_SDK_LANGUAGE: Final = "telemetry.sdk.language"
TELEMETRY_SDK_VERSION: Final = "telemetry.sdk.version"
TELEMETRY_DISTRO_NAME: Final = "telemetry.distro.name"
TELEMETRY_DISTRO_VERSION: Final = "telemetry.distro.version"

# -- any span ---------------------------------------------------------------------------------
ERROR_TYPE: Final = "error.type"
EXCEPTION_TYPE: Final = "exception.type"
EXCEPTION_MESSAGE: Final = "exception.message"
EXCEPTION_STACKTRACE: Final = "exception.stacktrace"

# -- HTTP -------------------------------------------------------------------------------------
HTTP_REQUEST_METHOD: Final = "http.request.method"
HTTP_RESPONSE_STATUS_CODE: Final = "http.response.status_code"
HTTP_REQUEST_METHOD_ORIGINAL: Final = "http.request.method_original"
HTTP_ROUTE: Final = "http.route"
CLIENT_ADDRESS: Final = "client.address"
NETWORK_PEER_ADDRESS: Final = "network.peer.address"
NETWORK_PEER_PORT: Final = "network.peer.port"
NETWORK_PROTOCOL_VERSION: Final = "network.protocol.version"
USER_AGENT_ORIGINAL: Final = "user_agent.original"
URL_PATH: Final = "url.path"
URL_QUERY: Final = "url.query"
URL_SCHEME: Final = "url.scheme"
SERVER_ADDRESS: Final = "server.address"
SERVER_PORT: Final = "server.port"

# -- database ---------------------------------------------------------------------------------
DB_SYSTEM_NAME: Final = "db.system.name"
DB_NAMESPACE: Final = "db.namespace"
DB_COLLECTION_NAME: Final = "db.collection.name"
DB_OPERATION_NAME: Final = "db.operation.name"
DB_OPERATION_BATCH_SIZE: Final = "db.operation.batch.size"
DB_QUERY_TEXT: Final = "db.query.text"
DB_QUERY_SUMMARY: Final = "db.query.summary"
DB_RESPONSE_STATUS_CODE: Final = "db.response.status_code"

# -- rating (ours) ----------------------------------------------------------------------------
# Set on a span that was worse than good, by the process or by the Collector, from the same file.
RATING: Final = "spanwise.rating"
RATING_RULE: Final = "spanwise.rating.rule"
RATING_LIMIT: Final = "spanwise.rating.limit"

# -- metrics ----------------------------------------------------------------------------------
HTTP_SERVER_REQUEST_DURATION: Final = Metric(
    "http.server.request.duration",
    "s",
    "Duration of HTTP server requests.",
    kind="histogram",
    buckets=_HTTP_SECONDS,
)
HTTP_SERVER_ACTIVE_REQUESTS: Final = Metric(
    "http.server.active_requests", "{request}", "HTTP requests being served.", kind="updowncounter"
)
HTTP_SERVER_REQUEST_BODY_SIZE: Final = Metric(
    "http.server.request.body.size",
    "By",
    "Size of HTTP server request bodies.",
    kind="histogram",
    buckets=_BODY_BYTES,
)
HTTP_SERVER_RESPONSE_BODY_SIZE: Final = Metric(
    "http.server.response.body.size",
    "By",
    "Size of HTTP server response bodies.",
    kind="histogram",
    buckets=_BODY_BYTES,
)
HTTP_SERVER_REQUEST_MEMORY: Final = Metric(
    "spanwise.http.server.request.memory",
    "By",
    "What the process's physical memory grew by during a request; on spans also what it shrank by.",
    "spanwise",
    kind="histogram",
    buckets=_BODY_BYTES,
)
DB_CLIENT_OPERATION_DURATION: Final = Metric(
    "db.client.operation.duration",
    "s",
    "Duration of database client operations.",
    kind="histogram",
    buckets=_DB_SECONDS,
)

# The SDK's own metrics (semconv: otel/sdk-metrics).
# Recorded spans are the sum of processed; dropped ones are those with error.type.
SDK_SPANS_PROCESSED: Final = Metric(
    "otel.sdk.processor.span.processed", "{span}", "Spans whose processing ended, dropped ones by error.type."
)
SDK_SPANS_EXPORTED: Final = Metric(
    "otel.sdk.exporter.span.exported", "{span}", "Spans whose export ended, failed ones by error.type."
)
SDK_LOGS_PROCESSED: Final = Metric(
    "otel.sdk.processor.log.processed", "{log_record}", "Log records processed, dropped ones by error.type."
)
SDK_LOGS_EXPORTED: Final = Metric(
    "otel.sdk.exporter.log.exported",
    "{log_record}",
    "Log records whose export ended, failed ones by error.type.",
)
METRIC_OVERFLOW: Final = "otel.metric.overflow"
OTEL_COMPONENT_NAME: Final = "otel.component.name"
OTEL_COMPONENT_TYPE: Final = "otel.component.type"

# -- delivery (ours) --------------------------------------------------------------------------
USER_AGENT: Final = "OTel-spanwise-Python"
SCOPE_DELIVERY: Final = "spanwise.deliver"
DELIVERY_RETRIES: Final = Metric(
    "spanwise.delivery.retries", "{request}", "Export requests that were tried again.", "spanwise"
)
DELIVERY_BYTES: Final = Metric(
    "spanwise.delivery.bytes", "By", "Bytes of delivered requests before compression.", "spanwise"
)
DELIVERY_ADOPTED: Final = Metric(
    "spanwise.delivery.adopted", "{item}", "Items of a killed process that this one delivered.", "spanwise"
)

# -- process meters ---------------------------------------------------------------------------
SCOPE_PROCESS: Final = "spanwise.meters.process"
PROCESS_MEMORY_USAGE: Final = Metric(
    "process.memory.usage", "By", "Physical memory the process uses.", kind="updowncounter"
)
PROCESS_CPU_TIME: Final = Metric("process.cpu.time", "s", "CPU seconds by cpu.mode.")
PROCESS_THREAD_COUNT: Final = Metric(
    "process.thread.count", "{thread}", "Threads of the process.", kind="updowncounter"
)
PROCESS_OPEN_FILES: Final = Metric(
    "process.unix.file_descriptor.count",
    "{file_descriptor}",
    "File descriptors the process holds.",
    kind="updowncounter",
)
CPU_MODE: Final = "cpu.mode"

# -- instrumentors (ours) ----------------------------------------------------------------------
EXCEPTION_EVENT: Final = "exception"  # the span event that carries EXCEPTION_TYPE and EXCEPTION_MESSAGE

# -- database, names before the stable conventions (OTEL_SEMCONV_STABILITY_OPT_IN) --------------
OLD_DB_SYSTEM: Final = "db.system"
OLD_DB_NAME: Final = "db.name"
OLD_DB_STATEMENT: Final = "db.statement"
OLD_DB_OPERATION: Final = "db.operation"
OLD_DB_SQL_TABLE: Final = "db.sql.table"
OLD_DB_USER: Final = "db.user"
OLD_NET_PEER_NAME: Final = "net.peer.name"
OLD_NET_PEER_PORT: Final = "net.peer.port"

# -- manual spans and meters (ours): operations --------------------------------------------------
SCOPE_MANUAL: Final = "spanwise.manual"
OPERATION_NAME: Final = "spanwise.operation.name"
OPERATION_KIND: Final = "spanwise.operation.kind"  # what the thresholds match: see manual/kinds.py
OPERATION_COMPONENT: Final = "spanwise.operation.component"
OPERATION_PLUGIN: Final = "spanwise.operation.plugin"
OPERATION_DURATION: Final = Metric(
    "spanwise.operation.duration",
    "s",
    "Duration of operations that the application marks.",
    "spanwise",
    "histogram",
    _OPERATION_SECONDS,
)
# The next two are attributes of the span as well.
OPERATION_CPU_TIME: Final = Metric(
    "spanwise.operation.cpu.time", "s", "CPU seconds of the thread within operations.", "spanwise"
)
OPERATION_MEMORY_DELTA: Final = Metric(
    "spanwise.operation.memory.delta",
    "By",
    "By how much the process's memory grew during operations, shrinking counted against it.",
    "spanwise",
    "updowncounter",
)

# -- manual spans and meters (ours): preloading --------------------------------------------------
PRELOAD_ID: Final = "preload.id"  # of spans only: every item has its own
PRELOAD_SIZE: Final = "preload.size"  # bytes, of a span
PRELOAD_OUTCOME: Final = "outcome"  # success, failure, timeout: as the shipped thresholds match it
PRELOAD_EVENTS: Final = Metric("preload.events", "{event}", "Items loaded ahead, by outcome.", "spanwise")
PRELOAD_DURATION: Final = Metric(
    "preload.duration",
    "s",
    "Duration of loading an item ahead.",
    "spanwise",
    "histogram",
    _OPERATION_SECONDS,
)
PRELOAD_BYTES: Final = Metric("preload.bytes", "By", "Bytes loaded ahead.", "spanwise")

# -- manual spans and meters (ours): controllers -------------------------------------------------
# Two metrics: a level is watched on each series of its own, so that one split by state would hide the
# total from the threshold, and one with both would count everything twice in a sum.
CONTROLLER_ID: Final = "controller.id"  # of span events only
CONTROLLER_STATE: Final = "controller.state"  # ready, loading, failed
CONTROLLER_DISPOSAL_ERROR_EVENT: Final = "controller.disposal.error"
CONTROLLER_ACTIVE: Final = Metric(
    "controller.active", "{controller}", "Controllers that are held.", "spanwise", "updowncounter"
)
CONTROLLER_COUNT: Final = Metric(
    "controller.count", "{controller}", "Controllers that are held, by state.", "spanwise", "updowncounter"
)
CONTROLLER_LIMIT: Final = Metric(
    "controller.limit", "{controller}", "How many controllers may be held.", "spanwise", "updowncounter"
)
CONTROLLER_DISPOSAL_ERRORS: Final = Metric(
    "controller.disposal.errors", "{error}", "Controllers whose disposal failed.", "spanwise"
)

# -- manual spans and meters (ours): memory pressure ---------------------------------------------
# Attributes of its span, in bytes and controllers.
MEMORY_PRESSURE_AFTER: Final = "memory.pressure.after"
MEMORY_PRESSURE_BEFORE: Final = Metric(
    "memory.pressure.before",
    "By",
    "Memory of the process when memory pressure was answered.",
    "spanwise",
    "histogram",
    _MEMORY_BYTES,
)
MEMORY_PRESSURE_EVENTS: Final = Metric(
    "memory.pressure.events", "{event}", "Times that memory pressure was answered.", "spanwise"
)
MEMORY_PRESSURE_DISPOSED: Final = Metric(
    "memory.pressure.disposed", "{controller}", "Controllers disposed of under memory pressure.", "spanwise"
)

# -- manual spans and meters (ours): streaming ---------------------------------------------------
STREAM_ID: Final = "stream.id"  # of spans only
STREAM_QUALITY: Final = "stream.quality"
STREAM_FORMAT: Final = "stream.format"
STREAM_OUTCOME: Final = "stream.outcome"  # completed, error, left
STREAM_STARTED: Final = Metric("stream.started", "{stream}", "Streams begun.", "spanwise")
STREAM_COMPLETED: Final = Metric("stream.completed", "{stream}", "Streams sent to their end.", "spanwise")
STREAM_ERRORS: Final = Metric("stream.errors", "{stream}", "Streams that failed.", "spanwise")
STREAM_ACTIVE: Final = Metric("stream.active", "{stream}", "Streams under way.", "spanwise", "updowncounter")
STREAM_DURATION: Final = Metric(
    "stream.duration", "s", "Duration of streams.", "spanwise", "histogram", _STREAM_SECONDS
)
STREAM_BUFFER_TIME: Final = Metric(
    "stream.buffer.time",
    "s",
    "How long a stream waited for data, in all.",
    "spanwise",
    "histogram",
    _OPERATION_SECONDS,
)
STREAM_BUFFER_RATIO: Final = Metric(
    "stream.buffer.ratio",
    "1",
    "The share of a stream's duration for which it waited for data.",
    "spanwise",
    "histogram",
    _SHARES,
)
STREAM_BANDWIDTH: Final = Metric(
    "stream.bandwidth", "By/s", "Bytes of a stream by its duration.", "spanwise", "histogram", _BYTES_A_SECOND
)
STREAM_BYTES: Final = Metric("stream.bytes", "By", "Bytes sent in streams.", "spanwise")

# -- what the Collector's span metrics connector makes of spans -----------------------------------
# https://github.com/open-telemetry/opentelemetry-collector-contrib/tree/v0.145.0/connector/spanmetricsconnector
SPAN_METRICS_CALLS: Final = Metric(
    "traces.span.metrics.calls", "{call}", "Spans, by name, kind and status.", "collector"
)
SPAN_METRICS_DURATION: Final = Metric(
    "traces.span.metrics.duration", "s", "Duration of spans.", "collector", "histogram"
)
SPAN_METRICS_NAMESPACE: Final = "traces.span.metrics"
# Its own labels. In a thresholds file's match the first two are what a span itself has.
SPAN_METRICS_KIND: Final = "span.kind"
SPAN_METRICS_SPAN: Final = "span.name"
SPAN_METRICS_STATUS: Final = "status.code"

# -- circuit breakers (ours) ---------------------------------------------------------------------
# There are no conventions for breakers. A state as an attribute with one series each follows hw.status.
SCOPE_CIRCUIT: Final = "spanwise.meters.circuit"
CIRCUIT_NAME: Final = "circuit_breaker.name"
CIRCUIT_STATE: Final = "circuit_breaker.state"  # closed, half_open, open
CIRCUIT_PREVIOUS_STATE: Final = "circuit_breaker.previous_state"
CIRCUIT_OUTCOME: Final = "circuit_breaker.outcome"  # success, failure, rejected
CIRCUIT_REASON: Final = "circuit_breaker.trip.reason"
CIRCUIT_RETRY_AFTER: Final = "circuit_breaker.retry_after"  # seconds
CIRCUIT_TRIPPED_EVENT: Final = "circuit_breaker.tripped"
CIRCUIT_HALF_OPEN_EVENT: Final = "circuit_breaker.half_open"
CIRCUIT_CLOSED_EVENT: Final = "circuit_breaker.closed"
CIRCUIT_TRIPS: Final = Metric(
    "circuit_breaker.trips", "{trip}", "Times a circuit breaker opened, by reason.", "spanwise"
)
CIRCUIT_CALLS: Final = Metric(
    "circuit_breaker.calls", "{call}", "Calls through circuit breakers, by state and outcome.", "spanwise"
)
CIRCUIT_STATUS: Final = Metric(
    "circuit_breaker.status", "{breaker}", "Circuit breakers in each state.", "spanwise", "updowncounter"
)
CIRCUIT_OPEN_TIME: Final = Metric(
    "circuit_breaker.open.time", "s", "Time that circuit breakers were open.", "spanwise"
)
CIRCUIT_BACKOFF: Final = Metric(
    "circuit_breaker.backoff", "s", "Wait of an open breaker until its next trial.", "spanwise", "gauge"
)
