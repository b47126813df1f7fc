"""The composition root: builds everything from the settings, and starts it.

All ways to launch end here: ``spanwise run`` and :func:`spanwise.configure` call :func:`launch`;
``opentelemetry-instrument`` comes in by the entry points of :mod:`spanwise.entrypoints`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from spanwise import environment, notices, pending, sources, waiting
from spanwise.errors import SpanwiseError
from spanwise.launched import Launch
from spanwise.log import Log
from spanwise.options import merged, options_of
from spanwise.telemetry import Telemetry

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
    """Prepares telemetry, once a process: it starts when it is first needed, where nothing forbids that.

    Never raises. A fault of ours, or of a setting, costs telemetry and one logged error; the application
    runs.
    """
    global current
    if current is not None:
        return
    notices.speak()
    _guarded(_prepare, arguments)


def _prepare(arguments: dict[str, Any]) -> None:
    global current
    current = launched = _read(arguments)
    if launched.settings.disabled:
        return
    for problem in environment.mend():
        _logger.warning("%s", problem)
    more: list[str] = []
    if os.environ.get("OTEL_PROPAGATORS"):
        from spanwise import components

        more = components.propagators()
    notices.bound_propagators(more)
    # What users see of the stable conventions must not depend on the way of launching.
    os.environ.setdefault("OTEL_SEMCONV_STABILITY_OPT_IN", STABLE_CONVENTIONS)
    if launched.settings.config_file:
        _start_from_file(launched, launched.settings.config_file)
        return
    telemetry = Telemetry(launched)
    telemetry.lifecycle.begin()
    pending.launch(lambda: _guarded(telemetry.start))
    if waiting.must_start(launched.settings):
        pending.now()
    else:
        waiting.begin()


def _guarded(function: Callable[..., Any], *arguments: Any) -> Any:
    try:
        return function(*arguments)
    except SpanwiseError as error:
        _switch_off()
        _logger.error("no telemetry: %s", error)
    except Exception:
        _switch_off()
        _logger.exception(
            "no telemetry: spanwise could not start. The application goes on; please report this"
        )
    return None


def instrument() -> None:
    """Instruments every installed library, once a process, and prints the start-up report. Never raises."""
    if current is None or current.instrumented:
        return
    current.instrumented = True
    try:
        from spanwise import report
        from spanwise.instrumentors.load import load

        if not current.settings.disabled:
            current.outcomes = load(current.settings, _options)
        if current.settings.startup_report:
            thresholds = [] if current.settings.disabled else current.describe()
            report.show(current.service, current.destinations, current.outcomes, thresholds)
    except Exception:
        _logger.exception("instrumenting failed. The application goes on; please report this")


def _options(name: str) -> Mapping[str, Any]:
    """Those of one instrumentation, as of now: the thresholds have some, once telemetry has started."""
    return {} if current is None else merged(options_of(current.settings), current.options).get(name, {})


def _switch_off() -> None:
    # Instrumenting without a pipeline would cost the application time and give nothing.
    if current is not None:
        current.settings = replace(current.settings, disabled=True)


def _read(arguments: dict[str, Any]) -> Launch:
    """Settings and thresholds. The thresholds file may hold settings, and a setting names the file."""
    launched = Launch(sources.load(arguments))
    if launched.settings.disabled:
        return launched
    # The shipped ones are read when telemetry starts: about them there is nothing to warn of.
    if launched.settings.profile or sources.thresholds_file(launched.settings) is not None:
        _read_thresholds(launched, arguments)
    for problem in launched.settings.problems:
        _logger.warning("%s", problem)
    return launched


def _read_thresholds(launched: Launch, arguments: dict[str, Any]) -> None:
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


def _start_from_file(launched: Launch, path: str) -> None:
    from spanwise import declarative, limits

    limits.settle(launched)
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
