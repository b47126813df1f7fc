"""What OpenTelemetry's own launcher finds: distro, configurator, instrumentor, and a last call.

``opentelemetry-instrument`` picks a distribution, configures it, then checks one instrumentor after the
other, complains of those that do not go with what is installed, and offers the rest to the distribution.
All of them are loaded by our own loader instead (see :mod:`spanwise.instrumentors.load`), so that every way
of launching gives the same. So the launcher is told to skip them all, and ours come at its last call.
"""

from __future__ import annotations

import os
from collections.abc import Collection
from typing import TYPE_CHECKING, Any

from opentelemetry.instrumentation.distro import BaseDistro
from opentelemetry.instrumentation.environment_variables import (
    OTEL_PYTHON_CONFIGURATOR,
    OTEL_PYTHON_DISABLED_INSTRUMENTATIONS,
)
from opentelemetry.instrumentation.instrumentor import BaseInstrumentor

from spanwise.launch import switched_off
from spanwise.log import Log

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

__all__ = ["SpanwiseConfigurator", "SpanwiseDistro", "SpanwiseInstrumentor", "at_last"]

_logger = Log("spanwise")
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
        """Nothing: our own loader has its turn at the end."""


class SpanwiseConfigurator:
    """The ``opentelemetry_configurator`` entry point."""

    def configure(self, **_: Any) -> None:
        """Starts telemetry; the launcher's keyword arguments have no meaning for us."""
        if not switched_off():
            from spanwise.interrupts import deadly

            with deadly:
                from spanwise import distro

                distro.start()
        if SpanwiseDistro.chosen:
            _Skipped.begin()


class _Skipped:
    """The launcher's deny-list, which says "all" while it goes through the instrumentors.

    It checks the versions of each before it offers it, and logs an error for SQLAlchemy 2.1 although ours
    traces it. That takes 10 ms too.
    """

    before: str | None = None
    on = False

    @classmethod
    def begin(cls) -> None:
        cls.before, cls.on = os.environ.get(OTEL_PYTHON_DISABLED_INSTRUMENTATIONS), True
        os.environ[OTEL_PYTHON_DISABLED_INSTRUMENTATIONS] = "*"  # all

    @classmethod
    def end(cls) -> None:
        """The user's own list again: children of this process read it."""
        if not cls.on:
            return
        cls.on = False
        if cls.before is None:
            os.environ.pop(OTEL_PYTHON_DISABLED_INSTRUMENTATIONS, None)
        else:
            os.environ[OTEL_PYTHON_DISABLED_INSTRUMENTATIONS] = cls.before


def at_last() -> None:
    """The ``opentelemetry_post_instrument`` entry point: instruments, if this distribution was chosen."""
    _Skipped.end()
    if SpanwiseDistro.chosen and not switched_off():
        from spanwise import distro
        from spanwise.interrupts import deadly

        with deadly:
            distro.instrument()


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
