"""The composition root: builds everything from the settings, and starts it.

All ways to launch end here: ``spanwise run`` and :func:`spanwise.configure` call :func:`launch`;
``opentelemetry-instrument`` comes in by the entry points of :mod:`spanwise.entrypoints`.
"""

from __future__ import annotations

import os
import time
from dataclasses import replace
from typing import Any

from spanwise import environment, names, notices, sources
from spanwise.errors import SpanwiseError
from spanwise.launched import Launch
from spanwise.log import Log
from spanwise.options import merged, options_of
from spanwise.settings import SIGNALS

__all__ = ["Launch", "current", "instrument", "launch", "start"]

_logger = Log("spanwise")

# Comma-separated list of the convention groups whose stable names are used. contrib's instrumentors
# still default to the old ones; a user's own choice wins.
STABLE_CONVENTIONS = "http,database"

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
        for problem in environment.mend():
            _logger.warning("%s", problem)
        from spanwise import components

        notices.bound_propagators(components.propagators())
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
        from spanwise import report
        from spanwise.instrumentors.load import load

        if not current.settings.disabled:
            current.outcomes = load(current.settings, merged(options_of(current.settings), current.options))
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
    if launched.settings.disabled:
        return launched
    from spanwise import limits

    try:
        limits.read(launched, arguments)
    except SpanwiseError as error:
        by = " (SPANWISE_THRESHOLDS)" if launched.settings.thresholds else ""
        _logger.error("the shipped thresholds hold, since those given%s cannot be used: %s", by, error)
        limits.use_shipped(launched)
    except Exception:
        # A fault of ours in reading them must not cost all telemetry.
        _logger.exception("the shipped thresholds hold, since reading those given failed. Please report this")
        limits.use_shipped(launched)
    for problem in launched.settings.problems:
        _logger.warning("%s", problem)
    return launched


def _start_from_file(launched: Launch, path: str) -> None:
    from spanwise import declarative

    declared = declarative.apply(path)
    loaded = launched.settings
    launched.settings = replace(
        loaded,
        disabled=declared.disabled,
        disabled_instrumentations=loaded.disabled_instrumentations + declared.denied,
    )
    launched.options = merged(launched.options, declared.options)
    launched.service = f"configured by {path}"
    launched.destinations.append(f"all signals: as {path} says")


def _start(launched: Launch) -> None:
    # Here, not above: a process that wants no telemetry must not pay for it.
    from spanwise import resource

    resource.import_sdk()
    from spanwise import providers
    from spanwise.deliver import exporters
    from spanwise.deliver.lifecycle import Lifecycle
    from spanwise.deliver.pipeline import Pipeline
    from spanwise.forks import when_serving
    from spanwise.instrumentors._abandoned import end_abandoned
    from spanwise.instrumentors.reloader import when_supervising

    loaded = launched.settings = exporters.resolved(launched.settings)
    own = [
        signal
        for signal in SIGNALS
        for name in providers.exporter_names(loaded, signal)
        if exporters.own_signal(name, loaded.exporter(signal))
    ]
    pipeline = Pipeline(loaded, own)
    for told in dict.fromkeys(pipeline.unusable.values()):
        signals = [signal for signal, each in pipeline.unusable.items() if each == told]
        _logger.error("%s are not sent: %s", ", ".join(signals), told)
    described = resource.detect(loaded.service_name)
    service = str(described.attributes.get(names.SERVICE_NAME, ""))
    unnamed = ". Set OTEL_SERVICE_NAME" if service.startswith("unknown_service") else ""
    launched.service = f"service {service}{unnamed}"
    launched.service_name = service
    closing = []
    for signal, begin in (
        ("traces", providers.start_traces),
        ("logs", providers.start_logs),
        ("metrics", providers.start_metrics),
    ):
        if signal == "logs" and not providers.exporter_names(loaded, "logs"):
            continue
        try:
            closing.append(begin(launched, pipeline, described))
        except Exception:
            _logger.exception("there are no %s: their provider could not be made. Please report this", signal)

    def at_exit() -> None:
        deadline = time.monotonic() + loaded.exit_timeout / 1000
        end_abandoned()  # at SIGTERM nobody else does
        pipeline.shutdown()
        exporters.close(closing, deadline)

    Lifecycle(pipeline.after_fork, at_exit).begin()
    when_supervising(pipeline.stand_by)
    if loaded.trace_response:
        from opentelemetry.instrumentation import propagators

        propagators.set_global_response_propagator(propagators.TraceResponsePropagator())  # type: ignore[no-untyped-call]
    when_serving(pipeline.start)
    if not providers.exporter_names(loaded, "logs"):
        # Without an exporter the log handler would cost a record on each call for nothing.
        launched.options["logging"] = {"enable_log_auto_instrumentation": False}
