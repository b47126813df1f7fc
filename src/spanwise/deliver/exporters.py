"""Exporters other than our own OTLP/HTTP: gRPC, the console, and whatever is installed.

They are found by the entry points that every OpenTelemetry exporter declares, and run behind the
SDK's own batch processors.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import entry_points
from typing import Any

from spanwise.errors import ConfigurationError
from spanwise.settings import Exporter

__all__ = ["make", "own_signal"]

_GRPC = {"otlp": "otlp_proto_grpc"}


def own_signal(name: str, exporter: Exporter) -> bool:
    """Whether exporter ``name`` is OTLP/HTTP with protobuf, which our own delivery sends."""
    return name == "otlp_proto_http" or (name == "otlp" and exporter.protocol == "http/protobuf")


def make(signal: str, name: str, exporter: Exporter) -> Any:
    """An exporter (for metrics an exporter or a reader) made from its entry point.

    Args:
        signal: ``traces``, ``metrics`` or ``logs``.
        name: as in ``OTEL_TRACES_EXPORTER``.
        exporter: where and how; the stock exporters read the same variables themselves.

    Raises:
        ConfigurationError: there is no such exporter, or it cannot be made.
    """
    if name == "otlp" and exporter.protocol == "http/json":
        raise ConfigurationError(
            "OTLP over http/json is not supported",
            where="OTEL_EXPORTER_OTLP_PROTOCOL",
            fix="Use http/protobuf or grpc",
        )
    wanted = _GRPC.get(name, name)
    group = f"opentelemetry_{signal}_exporter"
    found = {entry.name: entry for entry in entry_points(group=group)}
    if wanted not in found:
        raise ConfigurationError(
            f"no {signal} exporter {wanted!r} is installed",
            where=f"OTEL_{signal.upper()}_EXPORTER",
            fix=f"Install it, or use one of: otlp, none, {', '.join(sorted(found))}",
        )
    arguments: Mapping[str, Any] = {}
    if wanted == "otlp_proto_grpc" and exporter.endpoint:
        arguments = {"endpoint": exporter.endpoint, "headers": exporter.headers or None}
    try:
        return found[wanted].load()(**arguments)
    except Exception as error:
        raise ConfigurationError(
            f"the {signal} exporter {wanted!r} cannot be made: {error}",
            where=f"OTEL_{signal.upper()}_EXPORTER",
            fix="Check its settings, or use another exporter",
        ) from error
