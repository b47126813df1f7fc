"""OpenTelemetry's own instrumentor of a library, which an application may call beside ours.

Both would make a span of each call. Ours stands back: theirs is what the application asked for by name.
"""

from __future__ import annotations

from typing import Any, Final

from spanwise.instrumentors._imports import when_imported
from spanwise.log import Log

__all__ = ["Contrib"]

_LOG: Final = Log(__name__)


class Contrib:
    """Tells whether it is on.

    Args:
        library: the library's name, which both instrumentors have.
        name: their class's.

    Attributes:
        instrumentor: theirs, once the application has imported it; None before, when nothing is to be asked.
    """

    def __init__(self, library: str, name: str) -> None:
        self._library = library
        self._told = False
        self.instrumentor: Any = None
        when_imported(f"opentelemetry.instrumentation.{library}", lambda module: self._found(module, name))

    def _found(self, module: Any, name: str) -> None:
        # Runs within the application's import statement.
        try:
            self.instrumentor = getattr(module, name)()
        except Exception:
            _LOG.debug("opentelemetry.instrumentation.%s has no %s", self._library, name, exc_info=True)

    @property
    def on(self) -> bool:
        """Whether it observes the library, by OpenTelemetry's public marker."""
        return getattr(self.instrumentor, "is_instrumented_by_opentelemetry", False) is True

    def stand_back(self) -> None:
        """Says once that ours makes no span where theirs does."""
        if not self._told:
            self._told = True
            _LOG.warning(
                "the application calls OpenTelemetry's own instrumentor of %s: where its spans are, spanwise "
                "makes none, and records no duration. Take the call out, or silence this with "
                "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS=%s",
                self._library,
                self._library,
            )
