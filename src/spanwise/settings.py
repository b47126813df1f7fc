"""Every setting of spanwise, once: its environment variable, type, default and meaning.

Read by :func:`spanwise.sources.load`. Order of precedence: argument of :func:`spanwise.configure` >
environment > ``settings:`` of the thresholds file > default. Where OpenTelemetry's specification has a
variable, that one is used and means what it says there
(https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/);
``SPANWISE_…`` names exist only for what it has none for.

A value that cannot be used never stops the application: it is reported in :attr:`Settings.problems`
and the next source in the order of precedence holds, as the specification asks.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from spanwise import values

__all__ = ["OTLP", "SIGNALS", "Exporter", "Settings", "documentation", "fields"]

SIGNALS = ("traces", "metrics", "logs")
OTLP = "OTEL_EXPORTER_OTLP_"


# Above these a figure is a mistake, and they hold instead. A span waits in 350 bytes, a log record in 2,000.
_MOST_HELD = 1 << 20
_MOST_IN_A_REQUEST = 1 << 16
_HOUR, _DAY = 3_600_000, 86_400_000

_PROTOCOL = values.one_of("http/protobuf", "grpc")
_COMPRESSION = values.one_of("none", "gzip")


def _setting(env: str, default: Any, doc: str, parse: Callable[[str], Any] = str) -> Any:
    return dataclasses.field(default=default, metadata={"env": env, "doc": doc, "parse": parse})


@dataclass(frozen=True, kw_only=True)
class Exporter:
    """Where and how one signal is sent over OTLP.

    Each setting has a general variable, ``OTEL_EXPORTER_OTLP_<NAME>``, and one for each signal,
    ``OTEL_EXPORTER_OTLP_<SIGNAL>_<NAME>``, which wins. As arguments: ``endpoint`` and ``traces_endpoint``.
    """

    protocol: str = _setting("PROTOCOL", "http/protobuf", "`http/protobuf` or `grpc`", _PROTOCOL)
    endpoint: str = _setting(
        "ENDPOINT",
        "",
        "base URL, to which `/v1/traces` and so on is added (a signal's own is taken whole);"
        " unset: port 4318 of localhost, 4317 for gRPC",
    )
    headers: tuple[tuple[str, str], ...] = _setting(
        "HEADERS", (), "`key=value,…` sent with every export", values.headers
    )
    compression: str = _setting("COMPRESSION", "none", "`none` or `gzip`", _COMPRESSION)
    timeout: int = _setting(
        "TIMEOUT", 10_000, "longest wait for one answer, in ms", values.milliseconds(_HOUR)
    )
    certificate: str | None = _setting(
        "CERTIFICATE", None, "file with the authorities trusted for the server"
    )
    client_certificate: str | None = _setting(
        "CLIENT_CERTIFICATE", None, "our certificate, where the server asks for one"
    )
    client_key: str | None = _setting("CLIENT_KEY", None, "its private key")
    insecure: bool = _setting(
        "INSECURE",
        False,
        "`true`: no TLS for gRPC, where the endpoint has no scheme that says so",
        values.specified_boolean,
    )
    endpoint_is_whole: bool = False  # a signal's own endpoint gets no path appended
    #: Where each setting came from, by its name; absent: the default. For messages.
    places: Mapping[str, str] = dataclasses.field(default_factory=dict, compare=False, repr=False)

    @property
    def encrypted(self) -> bool:
        """Whether the destination is spoken to over TLS."""
        scheme, separator, _ = self.endpoint.lower().partition("://")
        if separator:
            return scheme == "https"
        return self.protocol == "grpc" and bool(self.endpoint) and not self.insecure

    def place(self, name: str) -> str:
        """Where a setting came from, for messages: a variable, an argument or the thresholds file."""
        general = next(field.metadata["env"] for field in fields(Exporter) if field.name == name)
        return self.places.get(name, f"{OTLP}{general}")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """All settings of a process, read once at start.

    Each field's metadata holds its variable and meaning; :func:`documentation` lists them and the
    README's table is checked against it.
    """

    # -- what runs --------------------------------------------------------------------------
    service_name: str | None = _setting(
        "OTEL_SERVICE_NAME", None, "the service's name; unset: `unknown_service`"
    )
    disabled: bool = _setting(
        "OTEL_SDK_DISABLED", False, "`true`: no telemetry and no instrumentation", values.specified_boolean
    )
    config_file: str | None = _setting(
        "OTEL_CONFIG_FILE",
        None,
        "declarative configuration; then it alone configures the SDK (`spanwise[config-file]`)",
    )
    startup_report: bool = _setting(
        "SPANWISE_STARTUP_REPORT",
        False,
        "`1`: print what was instrumented, where data goes, which thresholds hold",
        values.boolean,
    )
    thresholds: str | None = _setting(
        "SPANWISE_THRESHOLDS",
        None,
        "thresholds file; unset: `thresholds.yaml` in the working folder, else the shipped defaults",
        values.path,
    )
    profile: str | None = _setting(
        "SPANWISE_PROFILE", None, "profile of the thresholds file, over its `profile:`"
    )
    enabled_instrumentations: tuple[str, ...] = _setting(
        "SPANWISE_ENABLED_INSTRUMENTATIONS",
        (),
        "only these instrumentations are loaded, by entry-point name; unset: all",
        values.names,
    )
    disabled_instrumentations: tuple[str, ...] = _setting(
        "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS",
        (),
        "these instrumentations are not loaded; `*` is all",
        values.names,
    )
    contrib_instrumentations: tuple[str, ...] = _setting(
        "SPANWISE_CONTRIB_INSTRUMENTATIONS",
        (),
        "for these libraries contrib's instrumentor is used instead of ours",
        values.names,
    )
    request_memory: bool = _setting(
        "SPANWISE_REQUEST_MEMORY",
        False,
        "`1`: measure what each Flask request adds to memory",
        values.boolean,
    )
    trace_response: bool = _setting(
        "SPANWISE_TRACE_RESPONSE",
        False,
        "`1`: Flask's answers tell the trace in a `traceresponse` header",
        values.boolean,
    )
    excluded_hooks: tuple[str, ...] = _setting(
        "SPANWISE_EXCLUDED_HOOKS",
        (),
        "pluggy hooks that are left alone; `*` and `?` stand for any text and any character",
        values.names,
    )
    process_meters: bool = _setting(
        "SPANWISE_PROCESS_METERS",
        True,
        "metrics of the process, its machine or container, and the interpreter",
        values.boolean,
    )
    cache_spans: bool = _setting(
        "SPANWISE_CACHE_SPANS",
        False,
        "`1`: a span for each operation on a cache in the process or on its disk too, not only metrics",
        values.boolean,
    )

    sql_commenter: bool = _setting(
        "SPANWISE_SQL_COMMENTER",
        False,
        "`1`: SQLAlchemy's statements end in a comment with their trace, for the database's log;"
        " it defeats drivers that prepare statements by their text",
        values.boolean,
    )
    redis_info: bool = _setting(
        "SPANWISE_REDIS_INFO",
        True,
        "memory, clients and hit ratio of the Redis servers that the application uses",
        values.boolean,
    )

    # -- where data goes --------------------------------------------------------------------
    traces_exporter: tuple[str, ...] = _setting(
        "OTEL_TRACES_EXPORTER",
        ("otlp",),
        "`otlp`, `console`, `none` or an installed exporter's name",
        values.names,
    )
    metrics_exporter: tuple[str, ...] = _setting(
        "OTEL_METRICS_EXPORTER", ("otlp",), "the same, for metrics", values.names
    )
    logs_exporter: tuple[str, ...] = _setting(
        "OTEL_LOGS_EXPORTER", ("otlp",), "the same, for logs", values.names
    )
    traces: Exporter = Exporter()
    metrics: Exporter = Exporter()
    logs: Exporter = Exporter()

    # -- how it is sent ---------------------------------------------------------------------
    # The specification's 2,048 holds 0.2 s at 10,000 spans a second: one slow answer would drop spans.
    span_queue: int = _setting(
        "OTEL_BSP_MAX_QUEUE_SIZE",
        65_536,
        "spans held at most; beyond, they are dropped and counted",
        values.whole(1, _MOST_HELD),
    )
    # The specification's 512 asks for a request every 0.05 s at 10,000 spans a second, and a request costs as
    # much as recording 30 spans, however few are in it. 4 MiB are its limit in any case.
    span_batch: int = _setting(
        "OTEL_BSP_MAX_EXPORT_BATCH_SIZE",
        2_048,
        "spans in one request at most",
        values.whole(1, _MOST_IN_A_REQUEST),
    )
    span_delay: int = _setting(
        "OTEL_BSP_SCHEDULE_DELAY", 5_000, "longest wait before spans are sent, in ms", values.whole(0, _HOUR)
    )
    log_queue: int = _setting(
        "OTEL_BLRP_MAX_QUEUE_SIZE", 16_384, "log records held at most", values.whole(1, _MOST_HELD)
    )
    log_batch: int = _setting(
        "OTEL_BLRP_MAX_EXPORT_BATCH_SIZE",
        512,
        "log records in one request at most",
        values.whole(1, _MOST_IN_A_REQUEST),
    )
    log_delay: int = _setting(
        "OTEL_BLRP_SCHEDULE_DELAY", 1_000, "the same, for log records, in ms", values.whole(0, _HOUR)
    )
    metric_interval: int = _setting(
        "OTEL_METRIC_EXPORT_INTERVAL",
        60_000,
        "time between two exports of metrics, in ms",
        values.whole(1, _DAY),
    )
    metric_temporality: str = _setting(
        "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE",
        "cumulative",
        "`cumulative`, `delta` or `lowmemory`",
        values.one_of("cumulative", "delta", "lowmemory"),
    )
    metric_histogram: str = _setting(
        "OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION",
        "explicit_bucket_histogram",
        "that, or `base2_exponential_bucket_histogram`",
        values.one_of("explicit_bucket_histogram", "base2_exponential_bucket_histogram"),
    )
    spool: str | None = _setting(
        "SPANWISE_SPOOL_DIR", None, "folder of what waits to be sent; unset: in /tmp", values.path
    )
    exit_timeout: int = _setting(
        "SPANWISE_EXIT_TIMEOUT",
        2_000,
        "longest wait at exit for what is still unsent, in ms",
        values.whole(0, _HOUR),
    )

    problems: tuple[str, ...] = ()

    def exporter(self, signal: str) -> Exporter:
        """Where and how ``signal`` (``traces``, ``metrics`` or ``logs``) is sent."""
        return {"traces": self.traces, "metrics": self.metrics, "logs": self.logs}[signal]


def fields(of: type) -> list[dataclasses.Field[Any]]:
    """The fields of ``Settings`` or ``Exporter`` that are settings, in order; metadata: env, doc, parse."""
    return [field for field in dataclasses.fields(of) if field.metadata]


def documentation() -> list[tuple[str, str, str, str]]:
    """Every setting as (environment variable, name in code, default, meaning), in the order of this file.

    An exporter setting's ``<SIGNAL>_`` form is told by the general one's row.
    """
    rows = []
    for prefix, owner in (("", Settings), (OTLP, Exporter)):
        for field in fields(owner):
            default = field.default
            shown = ",".join(map(str, default)) if isinstance(default, tuple) else str(default or "")
            if isinstance(default, (bool, int)):
                shown = str(default).lower()
            rows.append((prefix + field.metadata["env"], field.name, shown, field.metadata["doc"]))
    return rows
