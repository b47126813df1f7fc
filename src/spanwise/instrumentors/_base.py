"""What our instrumentors have in common.

The same face as OpenTelemetry's BaseInstrumentor, without the parser of requirements that it imports for its
check of versions: 10 ms of every start.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection
from typing import Any, ClassVar

from spanwise.installed import version

__all__ = ["Instrumentor"]


class Instrumentor(ABC):
    """Turns the observation of one library on and off. One instance a class, as with OpenTelemetry's.

    Attributes:
        library: the library's distribution; empty for Python's own.
        since: the oldest version that is observed, major and minor.
    """

    library: ClassVar[str] = ""
    since: ClassVar[tuple[int, int]] = (0, 0)
    _only: ClassVar[Any] = None
    _on = False

    def __new__(cls) -> Any:
        if cls.__dict__.get("_only") is None:
            cls._only = super().__new__(cls)
        return cls._only

    @property
    def is_instrumented_by_opentelemetry(self) -> bool:
        """Whether it is on."""
        return self._on

    def instrumentation_dependencies(self) -> Collection[str]:
        """The library and its versions, as a requirement."""
        return (f"{self.library} >= {_text(self.since)}",) if self.library else ()

    def conflict(self) -> str | None:
        """Why the installed library is not observed; None where it is, empty where it is not installed."""
        if not self.library:
            return None
        installed = version(self.library)
        if installed is None:
            return ""
        numbers = tuple(int(part) for part in installed.split(".")[:2] if part.isdigit())
        if numbers >= self.since:
            return None
        least = f"{self.library}>={_text(self.since)}"
        return f"its instrumentor needs {least}, installed is {self.library} {installed}"

    def instrument(self, **options: Any) -> None:
        """Observes the library. Does nothing when it does so already.

        Args:
            options: ``tracer_provider``, ``meter_provider`` (by default the global ones), and the
                instrumentor's own. Others are ignored, as OpenTelemetry's launcher gives some.
        """
        if not self._on:
            self._instrument(**options)
            self._on = True

    def uninstrument(self, **_: Any) -> None:
        """Observes it no longer. What was begun ends as it would have."""
        if self._on:
            self._uninstrument()
            self._on = False

    @abstractmethod
    def _instrument(self, **options: Any) -> None:
        """Begins. What it raises costs the user one warning."""

    @abstractmethod
    def _uninstrument(self) -> None:
        """Ends."""


def _text(numbers: tuple[int, int]) -> str:
    return ".".join(map(str, numbers))
