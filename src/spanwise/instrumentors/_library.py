"""What the instrumentors of one library do alike: attach when it is imported, all or nothing, and leave."""

from __future__ import annotations

import sys
from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Protocol

from spanwise.instrumentors._base import Instrumentor
from spanwise.instrumentors._imports import when_imported

__all__ = ["LibraryInstrumentor", "Observing"]


class Observing(Protocol):
    """What one `instrument()` begins."""

    def attach(self, module: Any, earlier: bool) -> None:
        """Observes the library.

        Args:
            module: the library's.
            earlier: whether it was imported before, so that there may be objects of it already.
        """

    def detach(self) -> None:
        """Leaves everything as it was found, however far :meth:`attach` came. What stays observes nothing."""

    def warn(self, doing: str, error: BaseException) -> None:
        """Logs a failure of ours."""


class LibraryInstrumentor(Instrumentor):
    """Observes a library from the moment in which its module is imported.

    Attributes:
        module: its name.
    """

    module: ClassVar[str]
    _observing: Observing | None = None

    def _instrument(self, **options: Any) -> None:
        earlier = self.module in sys.modules
        self._observing = observing = self._observe(options)

        def attach(module: Any) -> None:
            # The hook stays after uninstrument(), so it asks whether it is still wanted.
            if self._observing is observing:
                try:
                    observing.attach(module, earlier)
                except Exception as error:
                    observing.detach()
                    observing.warn(f"wrap {self.module}", error)

        when_imported(self.module, attach)

    def _uninstrument(self) -> None:
        if self._observing is not None:
            self._observing.detach()
        self._observing = None

    @abstractmethod
    def _observe(self, options: Mapping[str, Any]) -> Observing:
        """Begins."""
