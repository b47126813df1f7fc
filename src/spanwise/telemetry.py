"""The telemetry of one process: makes the providers and the delivery, and ends them with the process."""

from __future__ import annotations

import threading
import time
from _thread import get_ident
from collections.abc import Callable
from typing import TYPE_CHECKING

from spanwise import names, pending
from spanwise.deliver.lifecycle import Lifecycle
from spanwise.forks import mark, noticed, wait_for_server
from spanwise.instrumentors.reloader import when_supervising
from spanwise.launched import Launch
from spanwise.log import Log
from spanwise.settings import SIGNALS
from spanwise.threads import started_task

if TYPE_CHECKING:
    from spanwise.deliver.pipeline import Pipeline

__all__ = ["Telemetry"]

_logger = Log("spanwise")


class Telemetry:
    """Providers and delivery, which :meth:`start` makes; until then only the hooks for fork and exit.

    :meth:`start` imports the parts, which takes most of a launch's time.

    Args:
        launched: the settings to start with; receives what came of them.

    Attributes:
        lifecycle: to be begun at the launch, so that the application's own exit handlers run before ours.
    """

    def __init__(self, launched: Launch) -> None:
        self._launched = launched
        self._pipeline: Pipeline | None = None
        self._closing: list[Callable[[], None]] = []
        self._supervising = False
        self._attempts = 5
        self.lifecycle = Lifecycle(self._after_fork, self._at_exit)
        when_supervising(self._stand_by)

    def start(self) -> bool:
        """Makes the providers and starts the delivery.

        Returns:
            False if another thread's imports are in the way; a later attempt is arranged.

        Raises:
            SpanwiseError: a setting cannot be used.
        """
        from spanwise import resource

        if not mark[0]:
            noticed()  # a child's first need of it
        with resource.pools_at_exit():
            if self._attempts and _others_run() and not _parts_are_there():
                self._attempts -= 1
                started_task(_try_again, "spanwise-start")
                return False
            self._make()
        return True

    def _make(self) -> None:
        from spanwise import resource

        resource.import_sdk()
        from spanwise import limits, providers
        from spanwise.deliver import exporters
        from spanwise.deliver.pipeline import Pipeline

        launched = self._launched
        limits.settle(launched)
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
        for signal, begin in (
            ("traces", providers.start_traces),
            ("logs", providers.start_logs),
            ("metrics", providers.start_metrics),
        ):
            if signal == "logs" and not providers.exporter_names(loaded, "logs"):
                # Without an exporter the log handler would cost a record on each call for nothing.
                launched.options["logging"] = {"enable_log_auto_instrumentation": False}
                continue
            try:
                self._closing.append(begin(launched, pipeline, described))
            except Exception:
                _logger.exception(
                    "no %s are recorded: their provider could not be created. Please report this", signal
                )
        self._pipeline = pipeline
        if self._supervising:
            pipeline.stand_by()
        if loaded.trace_response:
            from opentelemetry.instrumentation import propagators

            propagators.set_global_response_propagator(propagators.TraceResponsePropagator())  # type: ignore[no-untyped-call]
        wait_for_server(pipeline.deliver)
        pipeline.start()

    def _stand_by(self) -> None:
        self._supervising = True
        if self._pipeline is not None:
            self._pipeline.stand_by()

    def _after_fork(self) -> None:
        self._supervising = False
        if self._pipeline is not None:
            self._pipeline.after_fork()

    def _at_exit(self) -> None:
        if self._pipeline is None:
            return
        from spanwise.deliver import exporters
        from spanwise.instrumentors._abandoned import end_abandoned

        deadline = time.monotonic() + self._launched.settings.exit_timeout / 1000
        end_abandoned()  # at SIGTERM nobody else does
        self._pipeline.shutdown()
        exporters.close(self._closing, deadline)


def _others_run() -> bool:
    """Whether other threads may import something now."""
    return threading.active_count() > 1 or get_ident() != threading.main_thread().ident


def _parts_are_there() -> bool:
    """Imports what telemetry is made of.

    If another thread imports OpenTelemetry at the same moment, the two may wait for each other. Python then
    makes one of them fail, or gives it a half-imported module. A later attempt succeeds.
    """
    try:
        from spanwise import resource

        resource.import_sdk()
        from spanwise import providers  # noqa: F401
        from spanwise.deliver import log_signal, pipeline  # noqa: F401
    except (ImportError, RuntimeError):
        return False
    return True


def _try_again() -> None:
    time.sleep(0.1)
    pending.now()
