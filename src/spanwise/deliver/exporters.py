"""Exporters other than our own OTLP/HTTP: gRPC, the console, and whatever is installed.

They are found by the entry points that every OpenTelemetry exporter declares, and run behind the
SDK's own batch processors.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from spanwise.errors import ConfigurationError
from spanwise.installed import entry_points
from spanwise.log import Log
from spanwise.settings import SIGNALS, Exporter, Settings
from spanwise.threads import must_pass, started_task

__all__ = ["address", "close", "make", "own_signal", "resolved", "usable"]

_logger = Log("spanwise.deliver")

# What other exporters get at exit when our own delivery took all of the exit time-out.
_LEAST_SECONDS = 0.5

_GRPC = {"otlp": "otlp_proto_grpc"}
_PROTOCOLS = {"otlp_proto_http": "http/protobuf", "otlp_proto_grpc": "grpc"}
_BUILT_IN = {"otlp", "none"}


def resolved(settings: Settings) -> Settings:
    """The settings with those exporters alone that there are, and with the protocol that their names say."""
    found: dict[str, Any] = {}
    for signal in SIGNALS:
        names = found[f"{signal}_exporter"] = usable(signal, getattr(settings, f"{signal}_exporter"))
        exporter = settings.exporter(signal)
        # One is sent by our own delivery: that which is named first.
        own = next((name for name in names if name in _PROTOCOLS or name == "otlp"), "")
        found[signal] = replace(exporter, protocol=_PROTOCOLS.get(own, exporter.protocol))
    return replace(settings, **found)


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


def own_signal(name: str, exporter: Exporter) -> bool:
    """Whether exporter ``name`` is OTLP/HTTP with protobuf, which our own delivery sends."""
    return name == "otlp_proto_http" or (name == "otlp" and exporter.protocol == "http/protobuf")


def address(name: str, exporter: Exporter) -> str:
    """Where an exporter other than our own sends to, as the start-up report names it."""
    if name == "otlp":
        name = _GRPC[name]
    if name == "otlp_proto_grpc":
        return f"{exporter.endpoint or 'http://localhost:4317'} (gRPC)"
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


def make(signal: str, name: str, exporter: Exporter) -> Any:
    """An exporter (for metrics an exporter or a reader) made from its entry point.

    Args:
        signal: ``traces``, ``metrics`` or ``logs``.
        name: as in ``OTEL_TRACES_EXPORTER``.
        exporter: where and how; the stock exporters read the same variables themselves.

    Raises:
        ConfigurationError: there is no such exporter, or it cannot be made.
    """
    wanted = _GRPC.get(name, name)
    group = f"opentelemetry_{signal}_exporter"
    found = {entry.name: entry for entry in entry_points(group)}
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
