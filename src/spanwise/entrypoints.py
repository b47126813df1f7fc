"""What OpenTelemetry's own launcher finds: distro, configurator, instrumentor.

``opentelemetry-instrument`` picks a distribution, configures it, then offers it one instrumentor
after the other. All of them are loaded by our own loader (see :mod:`spanwise.instrumentors.load`),
so that every way of launching gives the same: the distro lets the others pass and acts on ours.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Collection
from importlib.metadata import EntryPoint
from typing import Any

from opentelemetry.instrumentation.distro import BaseDistro
from opentelemetry.instrumentation.environment_variables import OTEL_PYTHON_CONFIGURATOR
from opentelemetry.instrumentation.instrumentor import BaseInstrumentor

from spanwise import distro

__all__ = ["SpanwiseConfigurator", "SpanwiseDistro", "SpanwiseInstrumentor"]

_logger = logging.getLogger("spanwise")
_NAME = "spanwise"


class SpanwiseDistro(BaseDistro):  # type: ignore[misc]
    """The ``opentelemetry_distro`` entry point."""

    chosen = False
    """Whether the launcher picked this distribution."""

    def _configure(self, **_: Any) -> None:
        SpanwiseDistro.chosen = True
        # The launcher runs the first configurator it finds, which may be another distribution's.
        os.environ.setdefault(OTEL_PYTHON_CONFIGURATOR, _NAME)

    def load_instrumentor(self, entry_point: EntryPoint, **_: Any) -> None:
        """Loads all instrumentors when it is our turn; the others' turns are empty."""
        if entry_point.name == _NAME:
            distro.instrument()


class SpanwiseConfigurator:
    """The ``opentelemetry_configurator`` entry point."""

    def configure(self, **_: Any) -> None:
        """Starts telemetry; the launcher's keyword arguments have no meaning for us."""
        distro.start()


class SpanwiseInstrumentor(BaseInstrumentor):  # type: ignore[misc]
    """The ``opentelemetry_instrumentor`` entry point, for launchers of another distribution.

    When another distribution is in charge, ours is installed and idle: that must not pass unnoticed.
    """

    def instrumentation_dependencies(self) -> Collection[str]:
        """Nothing: it instruments no library itself."""
        return ()

    def _instrument(self, **_: Any) -> None:
        if not SpanwiseDistro.chosen:
            _logger.warning(
                "spanwise is installed, but another distribution was loaded and instruments this process. "
                "Set OTEL_PYTHON_DISTRO=spanwise and OTEL_PYTHON_CONFIGURATOR=spanwise, launch with "
                "`spanwise run`, or uninstall one of the two"
            )

    def _uninstrument(self, **_: Any) -> None:
        """Nothing was done, nothing is undone."""
