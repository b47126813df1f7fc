"""What the instrumentors of HTTP clients do alike: attach when the library is imported, and leave."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

from spanwise.instrumentors._base import Instrumentor
from spanwise.instrumentors._http_client import Client
from spanwise.instrumentors._imports import when_imported
from spanwise.instrumentors._patches import Patches

__all__ = ["HttpClientInstrumentor"]


class HttpClientInstrumentor(Instrumentor):
    """Observes one HTTP client library by replacing methods of its public classes.

    Attributes:
        module: the library's, at whose import it is attached.
    """

    module: ClassVar[str]
    _client: Client | None = None
    _patches: Patches | None = None

    def _instrument(self, **options: Any) -> None:
        self._client = client = self._observer(options)
        self._patches = patches = Patches()

        def attach(module: Any) -> None:
            # The hook stays after uninstrument(), so it asks whether it is still wanted.
            if self._client is not client:
                return
            try:
                with patches:
                    self._replace(patches, module, client)
            except Exception as error:
                client.calls.warn(f"wrap {self.module}", error)

        when_imported(self.module, attach)

    def _uninstrument(self) -> None:
        if self._client is not None:
            self._client.calls.open = False
        if self._patches is not None:
            self._patches.restore()
        self._client = self._patches = None

    @abstractmethod
    def _observer(self, options: Mapping[str, Any]) -> Client:
        """What observes the library's requests."""

    @abstractmethod
    def _replace(self, patches: Patches, module: Any, client: Client) -> None:
        """Replaces the library's methods."""
