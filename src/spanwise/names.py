"""Every span attribute, resource attribute, metric and label name that spanwise writes or reads, once.

Names come from the OpenTelemetry semantic conventions (https://opentelemetry.io/docs/specs/semconv/,
version 1.37 and later) unless the section says otherwise: "(ours)", "(of …)", or the Collector's. Ours start
with ``spanwise.`` or with what they are about, for example ``cache.`` and ``circuit_breaker.``.
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
# Ours: from a hit in this process (under 1 µs) to a remote cache that hangs.
_CACHE_SECONDS: Final = (1e-6, 1e-5, 1e-4, 2.5e-4, 5e-4, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.25, 1.0)
_DB_ROWS: Final = (1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1e3, 2e3, 5e3, 1e4)
# Ours, since the conventions name none and the SDK's default ends at 10 kB.
_PLUGIN_SECONDS: Final = (1e-5, 1e-4, 0.001, 0.01, 0.1, 0.5, 1.0, 2.0, 5.0)  # S2c's edges: 1, 2 and 5 s
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
TELEMETRY_DISTRO_NAME: Final = "telemetry.distro.name"
TELEMETRY_DISTRO_VERSION: Final = "telemetry.distro.version"

# -- any span ---------------------------------------------------------------------------------
ERROR_TYPE: Final = "error.type"
EXCEPTION_TYPE: Final = "exception.type"
EXCEPTION_MESSAGE: Final = "exception.message"
EXCEPTION_STACKTRACE: Final = "exception.stacktrace"

# -- log records --------------------------------------------------------------------------------
# An extra of either name is the record's event name (semconv: otel, and the deprecated event attributes).
OTEL_EVENT_NAME: Final = "otel.event.name"
EVENT_NAME: Final = "event.name"
CODE_FILE_PATH: Final = "code.file.path"
CODE_FUNCTION_NAME: Final = "code.function.name"  # semconv: code attributes
CODE_LINE_NUMBER: Final = "code.line.number"

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
URL_FULL: Final = "url.full"
URL_PATH: Final = "url.path"
URL_QUERY: Final = "url.query"
URL_SCHEME: Final = "url.scheme"
SERVER_ADDRESS: Final = "server.address"
SERVER_PORT: Final = "server.port"

# -- HTTP clients -----------------------------------------------------------------------------
HTTP_REQUEST_RESEND_COUNT: Final = "http.request.resend_count"
HTTP_CLIENT_REQUEST_DURATION: Final = Metric(
    "http.client.request.duration",
    "s",
    "Duration of HTTP client requests.",
    kind="histogram",
    buckets=_HTTP_SECONDS,
)
HTTP_CLIENT_REQUEST_BODY_SIZE: Final = Metric(
    "http.client.request.body.size",
    "By",
    "Size of HTTP client request bodies.",
    kind="histogram",
    buckets=_BODY_BYTES,
)
HTTP_CLIENT_RESPONSE_BODY_SIZE: Final = Metric(
    "http.client.response.body.size",
    "By",
    "Size of HTTP client response bodies.",
    kind="histogram",
    buckets=_BODY_BYTES,
)

# -- database ---------------------------------------------------------------------------------
DB_SYSTEM_NAME: Final = "db.system.name"
DB_NAMESPACE: Final = "db.namespace"
DB_COLLECTION_NAME: Final = "db.collection.name"
DB_OPERATION_NAME: Final = "db.operation.name"
DB_OPERATION_BATCH_SIZE: Final = "db.operation.batch.size"
DB_QUERY_TEXT: Final = "db.query.text"
DB_QUERY_SUMMARY: Final = "db.query.summary"
DB_RESPONSE_STATUS_CODE: Final = "db.response.status_code"

# -- caches (ours) ------------------------------------------------------------------------------
# The conventions have none.
SCOPE_CACHES: Final = "spanwise.meters.cache"
CACHE_NAME: Final = "cache.name"
CACHE_SYSTEM: Final = "cache.system"  # the library that keeps the entries
CACHE_OPERATION_NAME: Final = "cache.operation.name"
CACHE_OUTCOME: Final = "cache.outcome"
CACHE_OPERATIONS: Final = Metric(
    "cache.operations",
    "{operation}",
    "Operations on entries: get by hit, miss, expired and error; set by stored, refused and error; delete by "
    "deleted, absent and error.",
    "spanwise",
)
CACHE_OPERATION_DURATION: Final = Metric(
    "cache.operation.duration",
    "s",
    "Duration of operations on a cache: of one in 256 where it is in the process's memory, of all elsewhere.",
    "spanwise",
    "histogram",
    _CACHE_SECONDS,
)
CACHE_EVICTIONS: Final = Metric(
    "cache.evictions", "{entry}", "Entries that a full cache dropped for others.", "spanwise"
)
CACHE_SIZE: Final = Metric(
    "cache.size", "{unit}", "What is in a cache, as it measures its limit.", "spanwise", "updowncounter"
)
CACHE_LIMIT: Final = Metric(
    "cache.limit", "{unit}", "The largest size that a cache may have.", "spanwise", "updowncounter"
)
CACHE_HIT_RATIO: Final = Metric(
    "cache.hit_ratio", "1", "Share of lookups that hit since the process began.", "spanwise", "gauge"
)

# -- rating (ours) ----------------------------------------------------------------------------
# Set on a span that was worse than good, by the process or by the Collector, from the same file.
RATING: Final = "spanwise.rating"
RATING_RULE: Final = "spanwise.rating.rule"
RATING_LIMIT: Final = "spanwise.rating.limit"
RATED_SPANS: Final = Metric(
    "spanwise.rated.spans", "{span}", "Spans that were rated worse than good, by rule and rating.", "spanwise"
)

# -- objectives (ours) ------------------------------------------------------------------------
# Set by the Collector on the spans of a rule that has an objective: the rule's name, and whether the span
# meets the objective.
OBJECTIVE: Final = "spanwise.objective"
OBJECTIVE_MET: Final = "spanwise.objective.met"

# -- tail sampling of the Collector ----------------------------------------------------------------
# https://github.com/open-telemetry/opentelemetry-collector-contrib/tree/v0.145.0/processor/tailsamplingprocessor
SAMPLING_POLICY: Final = "tailsampling.policy"

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
OTEL_COMPONENT_NAME: Final = "otel.component.name"
OTEL_COMPONENT_TYPE: Final = "otel.component.type"

# -- what an instrument has no sets for (of the specification of the SDK) ------------------------
METRIC_OVERFLOW: Final = "otel.metric.overflow"

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
DELIVERY_TRUNCATED: Final = Metric(
    "spanwise.delivery.truncated", "{value}", "Values and names that were cut to 1 MiB.", "spanwise"
)
# Of the span, event, link, point or record whose values or name were cut: how many.
TRUNCATED: Final = "spanwise.truncated"

# -- process meters ---------------------------------------------------------------------------
# https://opentelemetry.io/docs/specs/semconv/system/process-metrics/
SCOPE_PROCESS: Final = "spanwise.meters.process"
PROCESS_MEMORY_USAGE: Final = Metric(
    "process.memory.usage", "By", "Physical memory the process uses.", kind="updowncounter"
)
PROCESS_MEMORY_VIRTUAL: Final = Metric(
    "process.memory.virtual", "By", "Virtual memory the process has committed.", kind="updowncounter"
)
PROCESS_MEMORY_GROWTH_RATIO: Final = Metric(
    "process.memory.growth.ratio",
    "1",
    "Memory above the highest usage of the process's warm-up, as a share of that.",
    "spanwise",
    kind="gauge",
)
PROCESS_CPU_TIME: Final = Metric("process.cpu.time", "s", "CPU seconds by cpu.mode.")
PROCESS_CPU_UTILIZATION: Final = Metric(
    "process.cpu.utilization",
    "1",
    "CPU time by cpu.mode, as a share of the CPUs that the process may use.",
    kind="gauge",
)
PROCESS_DISK_IO: Final = Metric("process.disk.io", "By", "Bytes the process read from and wrote to disks.")
PROCESS_THREAD_COUNT: Final = Metric(
    "process.thread.count", "{thread}", "Threads of the process.", kind="updowncounter"
)
PROCESS_OPEN_FILES: Final = Metric(
    "process.unix.file_descriptor.count",
    "{file_descriptor}",
    "File descriptors the process holds.",
    kind="updowncounter",
)
PROCESS_CONTEXT_SWITCHES: Final = Metric(
    "process.context_switches", "{context_switch}", "Context switches of the process's threads."
)
PROCESS_PAGING_FAULTS: Final = Metric("process.paging.faults", "{fault}", "Page faults of the process.")
PROCESS_UPTIME: Final = Metric("process.uptime", "s", "Time since the process began.", kind="gauge")
CPU_MODE: Final = "cpu.mode"
DISK_IO_DIRECTION: Final = "disk.io.direction"
CONTEXT_SWITCH_TYPE: Final = "process.context_switch.type"
PAGING_FAULT_TYPE: Final = "system.paging.fault.type"

# -- system meters ----------------------------------------------------------------------------
# https://opentelemetry.io/docs/specs/semconv/system/system-metrics/
SCOPE_SYSTEM: Final = "spanwise.meters.system"
SYSTEM_CPU_TIME: Final = Metric("system.cpu.time", "s", "CPU seconds of the machine by cpu.mode.")
SYSTEM_CPU_UTILIZATION: Final = Metric(
    "system.cpu.utilization",
    "1",
    "Busy CPU time as a share of the machine's CPUs, or of the container's limit.",
    kind="gauge",
)
SYSTEM_MEMORY_USAGE: Final = Metric(
    "system.memory.usage",
    "By",
    "Memory of the machine, or within the container's limit, by state.",
    kind="updowncounter",
)
SYSTEM_MEMORY_UTILIZATION: Final = Metric(
    "system.memory.utilization",
    "1",
    "Memory by state, as a share of the machine's, or of the container's limit.",
    kind="gauge",
)
SYSTEM_MEMORY_LIMIT: Final = Metric(
    "system.memory.limit", "By", "Memory of the machine, or the container's limit.", kind="updowncounter"
)
SYSTEM_PAGING_USAGE: Final = Metric("system.paging.usage", "By", "Swap space by state.", kind="updowncounter")
SYSTEM_PAGING_UTILIZATION: Final = Metric(
    "system.paging.utilization", "1", "Swap space by state, as a share of all.", kind="gauge"
)
SYSTEM_DISK_IO: Final = Metric("system.disk.io", "By", "Bytes read from and written to a disk.")
SYSTEM_DISK_OPERATIONS: Final = Metric("system.disk.operations", "{operation}", "Reads and writes of a disk.")
SYSTEM_FILESYSTEM_UTILIZATION: Final = Metric(
    "system.filesystem.utilization", "1", "Used share of a filesystem.", kind="gauge"
)
SYSTEM_NETWORK_IO: Final = Metric("system.network.io", "By", "Bytes received and sent by an interface.")
SYSTEM_NETWORK_ERRORS: Final = Metric(
    "system.network.errors", "{error}", "Receive and send errors of an interface."
)
SYSTEM_NETWORK_CONNECTION_COUNT: Final = Metric(
    "system.network.connection.count", "{connection}", "TCP connections by state.", kind="updowncounter"
)
SYSTEM_DEVICE: Final = "system.device"
SYSTEM_MEMORY_STATE: Final = "system.memory.state"
SYSTEM_PAGING_STATE: Final = "system.paging.state"
SYSTEM_FILESYSTEM_STATE: Final = "system.filesystem.state"
SYSTEM_FILESYSTEM_MOUNTPOINT: Final = "system.filesystem.mountpoint"
SYSTEM_FILESYSTEM_TYPE: Final = "system.filesystem.type"
NETWORK_INTERFACE_NAME: Final = "network.interface.name"
NETWORK_IO_DIRECTION: Final = "network.io.direction"
NETWORK_CONNECTION_STATE: Final = "network.connection.state"
NETWORK_TRANSPORT: Final = "network.transport"

# -- container meters -------------------------------------------------------------------------
# https://opentelemetry.io/docs/specs/semconv/system/container-metrics/
SCOPE_CONTAINER: Final = "spanwise.meters.container"
CONTAINER_CPU_TIME: Final = Metric("container.cpu.time", "s", "CPU seconds of the container by cpu.mode.")
CONTAINER_CPU_USAGE: Final = Metric(
    "container.cpu.usage", "{cpu}", "CPUs in use by the container, by cpu.mode.", kind="gauge"
)
CONTAINER_MEMORY_USAGE: Final = Metric(
    "container.memory.usage", "By", "Memory of the container, caches included.", kind="updowncounter"
)
CONTAINER_MEMORY_WORKING_SET: Final = Metric(
    "container.memory.working_set",
    "By",
    "Memory of the container without what the kernel can take back at once.",
    kind="updowncounter",
)
CONTAINER_MEMORY_AVAILABLE: Final = Metric(
    "container.memory.available", "By", "The container's limit less its working set.", kind="updowncounter"
)

# -- runtime meters ---------------------------------------------------------------------------
# https://opentelemetry.io/docs/specs/semconv/runtime/cpython-metrics/
SCOPE_RUNTIME: Final = "spanwise.meters.runtime"
GC_COLLECTIONS: Final = Metric("cpython.gc.collections", "{collection}", "Garbage collections by generation.")
GC_COLLECTED: Final = Metric(
    "cpython.gc.collected_objects", "{object}", "Objects that garbage collections freed, by generation."
)
GC_UNCOLLECTABLE: Final = Metric(
    "cpython.gc.uncollectable_objects", "{object}", "Objects found that cannot be freed, by generation."
)
GC_PAUSE: Final = Metric(
    "spanwise.gc.pause.time",
    "s",
    "Time that garbage collections took, during which nothing else of Python runs, by generation.",
    "spanwise",
)
GC_GENERATION: Final = "cpython.gc.generation"

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
OPERATION_KIND_PLUGIN_LOAD: Final = "plugin.load"  # its values that instrumentors write
OPERATION_KIND_PLUGIN_HOOK: Final = "plugin.hook"
OPERATION_KIND_PLUGIN_CALL: Final = "plugin.call"
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
# -- database connections and statements of SQLAlchemy -------------------------------------------
# https://opentelemetry.io/docs/specs/semconv/db/database-metrics/
DB_CLIENT_CONNECTION_POOL_NAME: Final = "db.client.connection.pool.name"
DB_CLIENT_CONNECTION_STATE: Final = "db.client.connection.state"
DB_CLIENT_CONNECTION_COUNT: Final = Metric(
    "db.client.connection.count",
    "{connection}",
    "Open connections of a pool, by state: idle, used.",
    kind="updowncounter",
)
DB_CLIENT_CONNECTION_IDLE_MAX: Final = Metric(
    "db.client.connection.idle.max", "{connection}", "Idle connections a pool keeps.", kind="updowncounter"
)
DB_CLIENT_CONNECTION_IDLE_MIN: Final = Metric(
    "db.client.connection.idle.min",
    "{connection}",
    "Idle connections a pool has at least.",
    kind="updowncounter",
)
DB_CLIENT_CONNECTION_MAX: Final = Metric(
    "db.client.connection.max", "{connection}", "Connections a pool opens at most.", kind="updowncounter"
)
DB_CLIENT_CONNECTION_PENDING_REQUESTS: Final = Metric(
    "db.client.connection.pending_requests",
    "{request}",
    "Callers that wait for a connection now.",
    kind="updowncounter",
)
DB_CLIENT_CONNECTION_TIMEOUTS: Final = Metric(
    "db.client.connection.timeouts", "{timeout}", "Callers that waited for a connection in vain."
)
DB_CLIENT_CONNECTION_CREATE_TIME: Final = Metric(
    "db.client.connection.create_time",
    "s",
    "Time it took to open a connection.",
    kind="histogram",
    buckets=_DB_SECONDS,
)
DB_CLIENT_CONNECTION_WAIT_TIME: Final = Metric(
    "db.client.connection.wait_time",
    "s",
    "Time it took to get an open connection from a pool.",
    kind="histogram",
    buckets=_DB_SECONDS,
)
DB_CLIENT_CONNECTION_USE_TIME: Final = Metric(
    "db.client.connection.use_time",
    "s",
    "Time between taking a connection from a pool and giving it back.",
    kind="histogram",
    buckets=_DB_SECONDS,
)
DB_CLIENT_RESPONSE_RETURNED_ROWS: Final = Metric(
    "db.client.response.returned_rows",
    "{row}",
    "Rows that a database operation returned.",
    kind="histogram",
    buckets=_DB_ROWS,
)
# Ours. The conventions have no name for whether a database can be reached.
DB_CLIENT_CONNECTION_DOWN: Final = Metric(
    "db.client.connection.down",
    "{connection}",
    "1 after a connection failed or broke, 0 after one was opened or used.",
    "spanwise",
    "gauge",
)
DB_SLOW_STATEMENTS: Final = Metric(
    "spanwise.db.slow_statements", "{statement}", "Statements that took longer than the limit.", "spanwise"
)
# Ours, on the server span of a request that ran one statement many times: which, and how often.
DB_REPEATED_COUNT: Final = "spanwise.db.repeated.count"
DB_REPEATED_SUMMARY: Final = "spanwise.db.repeated.summary"
DB_REPEATED_FINGERPRINT: Final = "spanwise.db.repeated.fingerprint"
# Before the stable conventions.
OLD_DB_CLIENT_CONNECTIONS_USAGE: Final = Metric(
    "db.client.connections.usage",
    "connections",
    "Connections that are in the state that the attribute state tells.",
    kind="updowncounter",
)
OLD_POOL_NAME: Final = "pool.name"
OLD_POOL_STATE: Final = "state"

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
    "circuit_breaker.trips", "{trip}", "Times a circuit breaker opened.", "spanwise"
)
CIRCUIT_TRIPS_BY_REASON: Final = Metric(
    "circuit_breaker.trips.by_reason", "{trip}", "Times a circuit breaker opened, by reason.", "spanwise"
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

# -- plugins (ours) ------------------------------------------------------------------------------
# There are no conventions for plugins, but for CODE_FUNCTION_NAME.
PLUGIN_PROJECT: Final = "plugin.project"  # what the plugins are for: the plugin manager's project
PLUGIN_NAME: Final = "plugin.name"
PLUGIN_HOOK: Final = "plugin.hook.name"
PLUGIN_WRAPPER: Final = "plugin.wrapper"  # the implementation wraps the others
PLUGIN_OWN_TIME: Final = "plugin.own_time"  # seconds: a wrapper's duration without what it wraps
PLUGIN_LOAD_MEMORY: Final = "plugin.load.memory.growth"  # bytes
PLUGIN_CALL_DURATION: Final = Metric(
    "plugin.call.duration",
    "s",
    "Duration of one plugin's part of a hook call.",
    "spanwise",
    "histogram",
    _PLUGIN_SECONDS,
)
PLUGIN_LOAD_DURATION: Final = Metric(
    "plugin.load.duration",
    "s",
    "Duration of importing and registering a plugin.",
    "spanwise",
    "histogram",
    _PLUGIN_SECONDS,
)
PLUGIN_MEMORY: Final = Metric(
    "plugin.memory", "By", "Growth of the process's memory while a plugin was loaded.", "spanwise", "gauge"
)

# -- Redis --------------------------------------------------------------------------------------
DB_STORED_PROCEDURE_NAME: Final = "db.stored_procedure.name"
OLD_DB_REDIS_DATABASE_INDEX: Final = "db.redis.database_index"
OLD_NET_TRANSPORT: Final = "net.transport"

# -- Redis, names of no convention (of redis-py and contrib) --------------------------------------
# redis-py's own name for a command that waits for data, on spans and metrics
# (https://github.com/redis/redis-py/blob/v8.1.0/redis/observability/attributes.py).
REDIS_BLOCKING: Final = "redis.client.operation.blocking"
# contrib's; written where the old names are.
OLD_DB_REDIS_ARGS_LENGTH: Final = "db.redis.args_length"
OLD_DB_REDIS_PIPELINE_LENGTH: Final = "db.redis.pipeline_length"

# What INFO tells, under the names of the Collector's redis receiver
# (https://github.com/open-telemetry/opentelemetry-collector-contrib/tree/v0.145.0/receiver/redisreceiver).
REDIS_UPTIME: Final = Metric("redis.uptime", "s", "Seconds since the Redis server's start.", "collector")
REDIS_CLIENTS_CONNECTED: Final = Metric(
    "redis.clients.connected", "{client}", "Client connections of the server.", "collector", "updowncounter"
)
REDIS_CLIENTS_BLOCKED: Final = Metric(
    "redis.clients.blocked", "{client}", "Clients waiting in a blocking call.", "collector", "updowncounter"
)
REDIS_MEMORY_USED: Final = Metric(
    "redis.memory.used", "By", "Bytes that the server has allocated.", "collector", "gauge"
)
REDIS_MEMORY_PEAK: Final = Metric(
    "redis.memory.peak", "By", "Most bytes that the server had allocated.", "collector", "gauge"
)
REDIS_MEMORY_RSS: Final = Metric(
    "redis.memory.rss", "By", "The server's memory as the operating system sees it.", "collector", "gauge"
)
REDIS_MEMORY_FRAGMENTATION: Final = Metric(
    "redis.memory.fragmentation_ratio", "1", "redis.memory.rss over redis.memory.used.", "collector", "gauge"
)
REDIS_MAXMEMORY: Final = Metric(
    "redis.maxmemory", "By", "The configured limit of memory; 0 is none.", "collector", "gauge"
)
REDIS_CONNECTIONS_RECEIVED: Final = Metric(
    "redis.connections.received", "{connection}", "Connections that the server accepted.", "collector"
)
REDIS_CONNECTIONS_REJECTED: Final = Metric(
    "redis.connections.rejected", "{connection}", "Connections refused because of maxclients.", "collector"
)
REDIS_COMMANDS_PROCESSED: Final = Metric(
    "redis.commands.processed", "{command}", "Commands that the server processed.", "collector"
)
REDIS_KEYS_EXPIRED: Final = Metric("redis.keys.expired", "{event}", "Keys that expired.", "collector")
REDIS_KEYS_EVICTED: Final = Metric(
    "redis.keys.evicted", "{key}", "Keys evicted because of maxmemory.", "collector"
)
REDIS_KEYSPACE_HITS: Final = Metric(
    "redis.keyspace.hits", "{hit}", "Lookups that found their key.", "collector"
)
REDIS_KEYSPACE_MISSES: Final = Metric(
    "redis.keyspace.misses", "{miss}", "Lookups that did not find their key.", "collector"
)
REDIS_KEYSPACE_HIT_RATIO: Final = Metric(
    "redis.keyspace.hit_ratio",
    "1",
    "Share of lookups since the server's start that found their key.",
    "spanwise",
    "gauge",
)
CACHE_MEMORY_USAGE: Final = Metric(
    "cache.memory.usage", "By", "Memory that a cache's entries take.", "spanwise", "gauge"
)

# -- alerts in the process (ours) ----------------------------------------------------------------
SCOPE_ALERTS: Final = "spanwise.alerts"
SCOPE_SQLALCHEMY: Final = "spanwise.instrumentors.sqlalchemy"  # its own log has its slow statements
EVENT_ALERT: Final = "spanwise.alert"
ALERTS_ACTIVE: Final = Metric(
    "spanwise.alerts.active", "{series}", "Series that an alert fires for.", "spanwise", "updowncounter"
)
ALERTS_NOTIFICATIONS: Final = Metric(
    "spanwise.alerts.notifications",
    "{notification}",
    "Notifications of alerts, by handler and what became of them.",
    "spanwise",
)
ALERT_NAME: Final = "spanwise.alert.name"
ALERT_SEVERITY: Final = "spanwise.alert.severity"
ALERT_STATUS: Final = "spanwise.alert.status"  # firing or resolved
ALERT_METRIC: Final = "spanwise.alert.metric"
ALERT_VALUE: Final = "spanwise.alert.value"
ALERT_LIMIT: Final = "spanwise.alert.limit"
ALERT_HANDLER: Final = "spanwise.alert.handler"
ALERT_OUTCOME: Final = "spanwise.alert.outcome"  # sent, failed or dropped

# -- scopes that say nothing of the application's own work -----------------------------------------
# A process that has no others stays silent. Libraries use caches while they are imported.
SCOPES_OF_THE_PROCESS: Final = frozenset(
    (
        SCOPE_DELIVERY,
        SCOPE_PROCESS,
        SCOPE_SYSTEM,
        SCOPE_CONTAINER,
        SCOPE_RUNTIME,
        SCOPE_CACHES,
        SCOPE_ALERTS,
    )
)
