"""Lyrics from another service, behind a circuit breaker."""

from __future__ import annotations

import logging
from typing import Any

import pybreaker
import requests

from settings import Settings

log = logging.getLogger("store.upstream")


class LyricsUnavailable(Exception):
    """The service failed, or the breaker did not let the call through. `breaker` is its state."""

    def __init__(self, reason: str, breaker: str) -> None:
        super().__init__(reason)
        self.breaker = breaker


class _Log(pybreaker.CircuitBreakerListener):
    def state_change(self, cb: Any, old_state: Any, new_state: Any) -> None:
        log.warning("breaker %s: %s -> %s", cb.name, old_state and old_state.name, new_state.name)


class Lyrics:
    """The client. Safe between threads; the breaker is one for the process."""

    def __init__(self, settings: Settings) -> None:
        self._timeout = settings.upstream_timeout
        self.breaker = pybreaker.CircuitBreaker(
            fail_max=settings.breaker_failures,
            reset_timeout=settings.breaker_reset,
            listeners=[_Log()],
            name="lyrics",
        )

    @property
    def state(self) -> str:
        """closed, open or half-open."""
        return str(self.breaker.current_state)

    def fetch(self, base: str, track_id: int) -> dict[str, Any]:
        """The lyrics as the service at `base` gives them. Raises LyricsUnavailable."""
        try:
            answer: dict[str, Any] = self.breaker.call(self._get, f"{base}/upstream/lyrics/{track_id}")
        except pybreaker.CircuitBreakerError as error:
            raise LyricsUnavailable(str(error), self.state) from error
        except (requests.RequestException, ValueError) as error:
            raise LyricsUnavailable(f"upstream: {error}", self.state) from error
        return answer

    def _get(self, url: str) -> dict[str, Any]:
        response = requests.get(url, timeout=self._timeout)
        response.raise_for_status()
        body: dict[str, Any] = response.json()
        return body
