"""Exporters other than our own OTLP/HTTP: gRPC, the console, and whatever is installed.

They are found by the entry points that every OpenTelemetry exporter declares, and run behind the
SDK's own batch processors.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib.util import find_spec
from typing import Any

from spanwise.deliver.destinations import destination
from spanwise.errors import ConfigurationError
from spanwise.installed import entry_points
from spanwise.log import Log
from spanwise.settings import SIGNALS, Exporter, Settings
from spanwise.threads import must_pass, started_task
from spanwise.values import without_secrets

__all__ = ["address", "close", "make", "own_signal", "protocol", "resolved", "usable"]

_logger = Log("spanwise.deliver")

# What other exporters get at exit when our own delivery took all of the exit time-out.
_LEAST_SECONDS = 0.5

_STOCK = {"http/protobuf": "otlp_proto_http", "grpc": "otlp_proto_grpc"}
_GRPC_SCHEMES = ("unix:", "unix-abstract:", "dns:", "ipv4:", "ipv6:", "xds:", "vsock:")
_CREDENTIALS = tuple(
    f"OTEL_PYTHON_EXPORTER_OTLP_GRPC_{signal}CREDENTIAL_PROVIDER"
    for signal in ("", "TRACES_", "METRICS_", "LOGS_")
)
_PROTOCOLS = {"otlp_proto_http": "http/protobuf", "otlp_proto_grpc": "grpc"}
_BUILT_IN = {"otlp", "none"}


def resolved(settings: Settings) -> Settings:
    """The settings with those exporters alone that there are, and with the protocol that their names say."""
    found: dict[str, Any] = {}
    lacking = []
    for signal in SIGNALS:
        names = found[f"{signal}_exporter"] = usable(signal, getattr(settings, f"{signal}_exporter"))
        exporter = settings.exporter(signal)
        # One is sent by our own delivery: that which is named first.
        own = next((name for name in names if name in _PROTOCOLS or name == "otlp"), "")
        exporter = replace(exporter, protocol=protocol(own, exporter))
        if own and exporter.protocol == "grpc" and find_spec("grpc") is None:
            lacking.append(signal)
            exporter = _over_http(exporter)
        found[signal] = exporter
    if lacking:
        _logger.error(
            "%s go over OTLP/HTTP, to port 4318 where 4317 was asked for: gRPC (OTEL_EXPORTER_OTLP_PROTOCOL)"
            " needs grpcio. Run: pip install opentelemetry-exporter-otlp-proto-grpc",
            ", ".join(lacking),
        )
    return replace(settings, **found)


def _over_http(exporter: Exporter) -> Exporter:
    """The same destination by the other protocol, at its usual port."""
    address = exporter.endpoint
    if address and "://" not in address:
        address = f"{'https' if exporter.encrypted else 'http'}://{address}"
    if address.rstrip("/").endswith(":4317"):
        address = f"{address.rstrip('/').removesuffix('4317')}4318"
    # What a signal's own endpoint says for gRPC has no path.
    whole = exporter.endpoint_is_whole and address.count("/") > 2
    return replace(exporter, protocol="http/protobuf", endpoint=address, endpoint_is_whole=whole)


def usable(signal: str, names: Sequence[str]) -> tuple[str, ...]:
    """The exporters of a signal that there are. One that is not installed is told, and left out.

    As the specification has it for a value that is not known: where nothing is left, the default holds.
    """
    found = []
    for name in names:
        if name in _BUILT_IN:
            found.append(name)
            continue
        known = {entry.name for entry in entry_points(f"opentelemetry_{signal}_exporter")} | _BUILT_IN
        if name in known or name.lower() in known:
            found.append(name if name in known else name.lower())
            continue
        import difflib

        close = difflib.get_close_matches(name.lower(), sorted(known), n=1)
        _logger.warning(
            "no %s exporter %r is installed (%s). %s%s",
            signal,
            name,
            f"OTEL_{signal.upper()}_EXPORTER",
            f"Did you mean {close[0]}? " if close else f"There are {', '.join(sorted(known))}. ",
            "The others are used" if len(names) > 1 else "otlp is used",
        )
    return tuple(found) or (("otlp",) if names else ())


def protocol(name: str, exporter: Exporter) -> str:
    """The protocol that an exporter of OTLP speaks: its name's, else that of the settings."""
    return _PROTOCOLS.get(name, exporter.protocol)


def own_signal(name: str, exporter: Exporter) -> bool:
    """Whether exporter ``name`` is one of OTLP that our own delivery sends: over HTTP or gRPC, as protobuf.

    gRPC's own kinds of addresses (``unix:``, ``dns:``), and credentials that another package provides, are
    the stock exporter's.
    """
    if name not in _PROTOCOLS and name != "otlp":
        return False
    if protocol(name, exporter) != "grpc":
        return True
    foreign = exporter.endpoint.lower().startswith(_GRPC_SCHEMES)
    return not foreign and not any(os.environ.get(variable) for variable in _CREDENTIALS)


def address(name: str, exporter: Exporter) -> str:
    """Where an exporter other than our own sends to, as the start-up report names it."""
    if name == "otlp":
        name = _STOCK[exporter.protocol]
    if name == "otlp_proto_grpc":
        return f"{without_secrets(exporter.endpoint) or 'http://localhost:4317'} (gRPC)"
    return f"exporter {name}"


def close(shutdowns: Sequence[Callable[[], None]], deadline: float) -> None:
    """Shuts down what the SDK's processors still hold. The stock gRPC exporter alone would take 20 s.

    Args:
        shutdowns: called one after the other.
        deadline: monotonic seconds; when it is over, what is left is lost, and a warning says so.
    """

    def run() -> None:
        for shutdown in shutdowns:
            try:
                shutdown()
            except BaseException as error:
                if must_pass(error):
                    raise
                _logger.warning("an exporter failed at exit: %r", error)

    thread = started_task(run, "spanwise-exit")
    if thread is None:
        run()
        return
    thread.join(max(deadline - time.monotonic(), _LEAST_SECONDS))
    if thread.is_alive():
        _logger.warning(
            "an exporter had not ended in time at exit: what it still held is lost, uncounted. "
            "Check its destination; SPANWISE_EXIT_TIMEOUT gives it longer"
        )


def _arguments(wanted: str, signal: str, exporter: Exporter) -> dict[str, Any]:
    """How a stock exporter is made: what was given in code or in a file it cannot read in its variables."""
    if wanted == "otlp_proto_grpc":
        import grpc  # type: ignore[import-untyped]

        found: dict[str, Any] = {
            "endpoint": exporter.endpoint or None,
            "headers": exporter.headers or None,
            "timeout": exporter.timeout / 1000,
            "compression": grpc.Compression.Gzip if exporter.compression == "gzip" else None,
        }
        foreign = exporter.endpoint.lower().startswith(_GRPC_SCHEMES)
        if foreign:
            found["insecure"] = exporter.insecure or None
        elif not exporter.encrypted:
            found["insecure"] = True
        elif exporter.certificate or exporter.client_certificate:
            from spanwise.deliver.otlp_grpc import credentials

            found["credentials"] = credentials(exporter)
        return found
    if wanted == "otlp_proto_http":
        from opentelemetry.exporter.otlp.proto.http import Compression

        to = destination(exporter, signal)
        return {
            "endpoint": to.url,
            "headers": dict(to.headers) or None,
            "timeout": to.timeout,
            "compression": Compression.Gzip if to.gzip else Compression.NoCompression,
            "certificate_file": to.certificate,
            "client_certificate_file": to.client_certificate,
            "client_key_file": to.client_key,
        }
    return {}


def make(signal: str, name: str, exporter: Exporter) -> Any:
    """An exporter (for metrics an exporter or a reader) made from its entry point.

    Args:
        signal: ``traces``, ``metrics`` or ``logs``.
        name: as in ``OTEL_TRACES_EXPORTER``.
        exporter: where and how; the stock exporters read the same variables themselves.

    Raises:
        ConfigurationError: there is no such exporter, or it cannot be made.
    """
    wanted = _STOCK[exporter.protocol] if name == "otlp" else name
    group = f"opentelemetry_{signal}_exporter"
    found = {entry.name: entry for entry in entry_points(group)}
    if wanted not in found:
        raise ConfigurationError(
            f"no {signal} exporter {wanted!r} is installed",
            where=f"OTEL_{signal.upper()}_EXPORTER",
            fix=f"Install it, or use one of: otlp, none, {', '.join(sorted(found))}",
        )
    try:
        return found[wanted].load()(**_arguments(wanted, signal, exporter))
    except Exception as error:
        raise ConfigurationError(
            f"the {signal} exporter {wanted!r} cannot be made: {error}",
            where=f"OTEL_{signal.upper()}_EXPORTER",
            fix="Check its settings, or use another exporter",
        ) from error
