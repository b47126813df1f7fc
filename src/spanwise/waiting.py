"""Decides when telemetry starts: when something first needs it, or at once where it cannot wait."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Sequence
from typing import Any

from spanwise import pending
from spanwise.deliver.destinations import Destination, destination, spool_label
from spanwise.deliver.segment_file import SUFFIX, spool_folder
from spanwise.errors import ConfigurationError
from spanwise.forks import after_any_fork, in_uwsgi
from spanwise.instrumentors._imports import is_being_imported, when_imported
from spanwise.settings import SIGNALS, Settings
from spanwise.threads import Event, started

try:
    import fcntl
except ImportError:
    fcntl = None  # type: ignore[assignment]

__all__ = ["begin", "must_start"]

# Whoever imports anything of it may ask for a provider right after. The first import of all is waited for:
# within a later one, of the SDK's say, what telemetry is made of could not be imported.
_API = "opentelemetry"

# The API's modules; what asks for the provider, the provider's own method that is asked for more, and the
# variable by which the API makes one by itself.
_PROVIDERS = (
    ("opentelemetry.trace", "get_tracer_provider", "get_tracer", "OTEL_PYTHON_TRACER_PROVIDER"),
    ("opentelemetry.metrics", "get_meter_provider", "get_meter", "OTEL_PYTHON_METER_PROVIDER"),
    ("opentelemetry._logs", "get_logger_provider", "get_logger", "OTEL_PYTHON_LOGGER_PROVIDER"),
)

# Seconds after which it starts all the same: a process that lives has an application to watch, whose memory
# may raise an alert. Most commands are over by then, and most servers have started.
_AFTER = 2.0
_over = Event()  # set: nothing is to be started any more


def must_start(settings: Settings) -> bool:
    """Whether telemetry cannot wait.

    That is: the API is imported already, a start-up report is wanted, a killed process left spans, the server
    forks in C, or a setting may prove unusable, which is to be reported at the start.
    """
    if settings.startup_report or _API in sys.modules or in_uwsgi():
        return True
    for signal in SIGNALS:
        names: Sequence[str] = getattr(settings, f"{signal}_exporter")
        to = settings.exporter(signal)
        if not set(names) <= {"otlp", "none"} or to.protocol != "http/protobuf":
            return True
        if to.certificate or to.client_certificate or to.client_key:
            return True
        try:
            found = destination(to, signal)
        except ConfigurationError:
            return True
        if signal == "traces" and "otlp" in names and _left_behind(settings, found):
            return True
    return False


def begin() -> None:
    """Arranges the start: when OpenTelemetry's API is imported, and in any case some seconds from now."""
    when_imported(_API, _wanted)
    for module, provider, method, variable in _PROVIDERS:
        if variable not in os.environ:
            when_imported(module, functools.partial(_hold, provider, method))
    _start_later()
    after_any_fork(_start_later)


def _wanted(_: object) -> None:
    # Where a module of ours is what imports it, for a call that did not ask for telemetry first, that one is
    # half there, and what telemetry is made of needs it whole.
    for name, module in list(sys.modules.items()):
        if name.startswith("spanwise.") and is_being_imported(module):
            when_imported(name, lambda _: pending.now())
            return
    pending.now()


def _hold(provider: str, method: str, module: Any) -> None:
    """Has those wait who ask for a tracer, a meter or a logger on other threads than the one that starts
    telemetry: what they record with the API's stand-in until there is a provider is lost."""
    if not pending.waits():
        return
    stand_in = type(getattr(module, provider)())
    original = getattr(stand_in, method)

    @functools.wraps(original)
    def get(*args: Any, **kwargs: Any) -> Any:
        pending.now()
        return original(*args, **kwargs)

    def restore() -> None:
        if getattr(stand_in, method) is get:
            setattr(stand_in, method, original)

    setattr(stand_in, method, get)
    pending.then(restore)


def _start_later() -> None:
    if not pending.waits():
        return
    global _over
    _over = over = Event()

    def run() -> None:
        if not over.wait(_AFTER):
            pending.now()

    started(run, "spanwise-start", over)
    pending.then(over.set)


def _left_behind(settings: Settings, to: Destination) -> bool:
    """Whether a process that has ended left spans: a segment whose lock is free. A start sends them."""
    if fcntl is None:
        return False
    begins = spool_label(to, "traces") + "-"
    try:
        entries = list(os.scandir(spool_folder(settings.spool)))
    except OSError:  # there can be no folder
        return False
    for entry in entries:
        if not (entry.name.startswith(begins) and entry.name.endswith(SUFFIX)):
            continue
        try:
            handle = os.open(entry.path, os.O_RDWR | os.O_NOFOLLOW)
        except OSError:  # gone meanwhile, or another user's
            continue
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except OSError:
            continue
        finally:
            os.close(handle)
    return False
