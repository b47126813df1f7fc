"""The arms: what is compared, how it is installed, started and pointed at the sink."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["ARMS", "OFF", "OURS", "PLAIN", "STOCK", "THEIRS", "Arm"]

PLAIN, STOCK, OURS = "plain", "stock", "spanwise"
# Ours by OpenTelemetry's own launcher, and switched off: of the start-up alone.
THEIRS, OFF = "spanwise-instrumented", "spanwise-disabled"

# The application's libraries, the same in every arm. SQLAlchemy below 2.1, because contrib's
# instrumentation refuses newer ones and its arms would send no database spans.
APPLICATION = ("flask>=3.1", "sqlalchemy>=2.0,<2.1", "redis>=5")
CONTRIB = (
    "opentelemetry-instrumentation-flask",
    "opentelemetry-instrumentation-sqlalchemy",
    "opentelemetry-instrumentation-redis",
)
# {sink} is the sink's address, {host} that without the scheme. Logs are off, as the peers that are no
# OpenTelemetry send none.
OTLP = {
    "OTEL_EXPORTER_OTLP_ENDPOINT": "{sink}",
    "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
    "OTEL_TRACES_EXPORTER": "otlp",
    "OTEL_METRICS_EXPORTER": "otlp",
    "OTEL_LOGS_EXPORTER": "none",
    "OTEL_SERVICE_NAME": "bench",
}


START_UP = ("start_up", "first_request")


@dataclass(frozen=True)
class Arm:
    """One thing compared.

    Attributes:
        name: as on the command line and in the table.
        package: the distribution whose version the table shows.
        driver: module of ``workloads/drivers`` that speaks its API.
        requirements: beside the application's. ``{root}`` is this repository.
        launcher: command put before ``python``, where it has one.
        environment: variables, with ``{sink}`` and ``{host}`` filled in.
        metrics: whether it records metrics through the OpenTelemetry API.
        shares: the arm whose installed environment it runs in; empty: its own.
        workloads: those that it takes part in; empty: all.
    """

    name: str
    package: str
    driver: str
    requirements: tuple[str, ...] = ()
    launcher: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    metrics: bool = False
    shares: str = ""
    workloads: tuple[str, ...] = ()


ARMS: Mapping[str, Arm] = {
    arm.name: arm
    for arm in (
        Arm(PLAIN, "flask", "plain"),
        Arm(
            STOCK,
            "opentelemetry-sdk",
            "otel",
            ("opentelemetry-distro", "opentelemetry-exporter-otlp-proto-http", *CONTRIB),
            ("opentelemetry-instrument",),
            OTLP,
            metrics=True,
        ),
        Arm(
            "ddtrace",
            "ddtrace",
            "datadog",
            ("ddtrace",),
            ("ddtrace-run",),
            {
                "DD_TRACE_AGENT_URL": "{sink}",
                "DD_SERVICE": "bench",
                "DD_INSTRUMENTATION_TELEMETRY_ENABLED": "false",
                "DD_REMOTE_CONFIGURATION_ENABLED": "false",
            },
        ),
        Arm(
            "sentry",
            "sentry-sdk",
            "sentry",
            ("sentry-sdk[flask]",),
            (),
            {"SENTRY_DSN": "http://key@{host}/1"},
        ),
        Arm(
            "logfire",
            "logfire",
            "logfire",
            ("logfire[flask,sqlalchemy,redis]",),
            (),
            {**OTLP, "LOGFIRE_SEND_TO_LOGFIRE": "false"},
            metrics=True,
        ),
        Arm(
            "elastic",
            "elastic-apm",
            "elastic",
            ("elastic-apm[flask]",),
            (),
            {
                "ELASTIC_APM_SERVER_URL": "{sink}",
                "ELASTIC_APM_SERVICE_NAME": "bench",
                "ELASTIC_APM_CENTRAL_CONFIG": "false",
                "ELASTIC_APM_CLOUD_PROVIDER": "none",
                # By default it merges like spans into one; the others send each.
                "ELASTIC_APM_SPAN_COMPRESSION_ENABLED": "false",
            },
        ),
        Arm(
            "splunk",
            "splunk-opentelemetry",
            "otel",
            ("splunk-opentelemetry", *CONTRIB),
            ("opentelemetry-instrument",),
            OTLP,
            metrics=True,
        ),
        Arm("fastotel", "fastotel", "fastotel", ("fastotel", *CONTRIB), (), OTLP),
        Arm(OURS, "spanwise", "otel", ("{root}",), ("spanwise", "run"), OTLP, metrics=True),
        Arm(
            THEIRS,
            "spanwise",
            "otel",
            launcher=("opentelemetry-instrument",),
            environment=OTLP,
            shares=OURS,
            workloads=START_UP,
        ),
        Arm(
            OFF,
            "spanwise",
            "otel",
            launcher=("spanwise", "run"),
            environment={**OTLP, "OTEL_SDK_DISABLED": "true"},
            shares=OURS,
            workloads=START_UP,
        ),
    )
}
