"""Circuit breakers that no instrumentor knows, told of by hand."""

from __future__ import annotations

from typing import Final

from spanwise.instrumentors._failure import type_name
from spanwise.manual.measured import Measured
from spanwise.manual.told import shown, tell, text
from spanwise.meters.circuit import Breaker
from spanwise.meters.locks import ForkLock

__all__ = ["Circuit"]

# Breakers by name, kept as long as the process: whoever tells of one holds nothing of ours.
_MOST: Final = 1_000
_breakers: Final[dict[str, Breaker]] = {}
_lock: Final = ForkLock()


def _breaker(name: str) -> Breaker:
    with _lock:
        found = _breakers.get(name)
        if found is None:
            found = Breaker(name)
            if len(_breakers) >= _MOST:
                tell(f"{shown(name)} is circuit breaker {_MOST + 1}: name breakers by what they protect")
            else:
                _breakers[name] = found
        return found


class Circuit(Measured):
    """See :func:`spanwise.circuit`, which makes them."""

    what = "circuit breaker's call"
    current = False

    def __init__(self, name: object) -> None:
        super().__init__()
        self._breaker = _breaker(text(name))
        self._state = self._breaker.state

    @property
    def state(self) -> str:
        """``closed``, ``half_open`` or ``open``, as it was told last."""
        return self._breaker.state

    def trip(
        self, reason: str = "", *, error: BaseException | None = None, backoff: float | None = None
    ) -> None:
        """The breaker opened: it refuses calls from now on.

        Args:
            reason: why, of low cardinality.
            error: the failure that was one too many.
            backoff: seconds until it lets a call through again, if that is known.
        """
        self._breaker.tripped(
            reason, error_type=type_name(error) if isinstance(error, BaseException) else "", backoff=backoff
        )

    def half_open(self) -> None:
        """It lets a call through to see whether that succeeds."""
        self._breaker.half_open()

    def closed(self) -> None:
        """It lets all calls through again."""
        self._breaker.closed()

    def rejected(self) -> None:
        """It refused a call."""
        self._breaker.rejected()

    def start(self) -> Circuit:
        """A call is let through. Several may be at a time, so that one object serves them all."""
        self._begin()
        return self

    def _end(self, error: BaseException | str | None, failed: bool) -> None:
        self._finish(None, failed, "")

    def raised(self, error: BaseException) -> None:
        """The application raised this. A generator that is closed early had its call answered: a success."""
        self._end(error, not self._leaves(error))

    def _begin(self) -> None:
        self._state = self._breaker.state

    def _finish(self, error: BaseException | None, failed: bool, message: str) -> None:
        if failed:
            self._breaker.failed(self._state)
        else:
            self._breaker.succeeded(self._state)
