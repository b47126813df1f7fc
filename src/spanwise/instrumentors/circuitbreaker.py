"""circuitbreaker 2.0 and newer: state, trips, calls, time open and back-off of every circuit breaker.

The library has no listeners. All its ways to guard a call enter and leave the breaker as a context manager,
so that is wrapped, together with ``reset()``, the error that stands for a rejected call, and the fallback
that is called in its place. The state is read by the public properties before and after. An open breaker
becomes half open by time alone; that is told when the next call is let through.
"""

from __future__ import annotations

import sys
import weakref
from collections.abc import Mapping
from contextvars import ContextVar
from typing import Any, Final

from opentelemetry.metrics import get_meter
from opentelemetry.trace import get_tracer

from spanwise.instrumentors._calls import Calls
from spanwise.instrumentors._classes import Function, instances
from spanwise.instrumentors._failure import type_name
from spanwise.instrumentors._library import LibraryInstrumentor
from spanwise.instrumentors._patches import Patches
from spanwise.instrumentors._traceback import passed_over, unseen
from spanwise.meters.circuit import CLOSED, HALF_OPEN, OPEN, Breaker, Circuits

__all__ = ["CircuitbreakerInstrumentor"]

_UNNAMED: Final = "unnamed"
_DEEPEST: Final = 64  # calls within one another that are kept; what is left of abandoned ones goes by it

# Calls under way in this context, the innermost last: breaker's identity, and its state when it let the call
# through. Concurrent calls that were let through together began in the same state.
_begun: ContextVar[tuple[tuple[int, str], ...]] = ContextVar("spanwise-circuit-calls", default=())


class CircuitbreakerInstrumentor(LibraryInstrumentor):
    """Observes circuitbreaker's circuit breakers. Used like any OpenTelemetry instrumentor."""

    library = "circuitbreaker"
    since = (2, 0)
    module = "circuitbreaker"

    def _observe(self, options: Mapping[str, Any]) -> _Observing:
        return _Observing(options)


class _Observing:
    """One `instrument()`."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        self._circuits = Circuits(get_meter(__name__, meter_provider=options.get("meter_provider")))
        # For its warnings: breakers have no spans of their own.
        self._calls = Calls("circuitbreaker", get_tracer(__name__))
        self._breakers: weakref.WeakKeyDictionary[Any, Breaker] = weakref.WeakKeyDictionary()
        self._patches = Patches()

    def warn(self, doing: str, error: BaseException) -> None:
        """See :meth:`spanwise.instrumentors._call.Calls.warn`."""
        self._calls.warn(doing, error)

    def attach(self, circuitbreaker: Any, earlier: bool) -> None:
        kind = circuitbreaker.CircuitBreaker
        replace = self._patches.replace
        replace(kind, "decorate", self._decorating)
        replace(kind, "__enter__", self._entering)
        replace(kind, "__exit__", self._leaving)
        if hasattr(kind, "reset"):  # from 2.1
            replace(kind, "reset", self._resetting)
        replace(kind, "fallback_function", self._falling_back)
        replace(circuitbreaker.CircuitBreakerError, "__init__", self._rejecting)
        if earlier:
            for breaker in instances(kind):
                self._told(breaker)

    def detach(self) -> None:
        self._patches.restore()
        self._breakers.clear()

    def _told(self, breaker: Any) -> Breaker:
        found = self._breakers.get(breaker)
        if found is None or found.name == _UNNAMED != (breaker.name or _UNNAMED):
            # It takes its name of the function that it decorates.
            found = self._breakers[breaker] = Breaker(breaker.name or _UNNAMED, self._circuits)
            if breaker.opened:
                found.resume(OPEN, backoff=breaker.open_remaining)
        return found

    @passed_over
    def _tell(self, function: Function, *args: Any) -> Any:
        """Calls a function of ours; what it raises is logged."""
        try:
            return function(*args)
        except Exception as error:
            self.warn("observe a circuit breaker", error)
            return None

    @passed_over
    def _decorating(self, original: Function) -> Function:
        def decorate(breaker: Any, function: Any) -> Any:
            decorated = original(breaker, function)
            self._tell(self._told, breaker)
            return decorated

        return decorate

    @passed_over
    def _entering(self, original: Function) -> Function:
        def enter(breaker: Any) -> Any:
            result = original(breaker)
            self._tell(self._begun, breaker)
            return result

        return enter

    def _begun(self, breaker: Any) -> None:
        told = self._told(breaker)
        if breaker.state == HALF_OPEN:
            told.half_open()
        _begun.set((*_begun.get()[-_DEEPEST:], (id(breaker), told.state)))

    def _before(self, breaker: Any) -> tuple[str, int]:
        """In which state the call under way began, and how many failures there are."""
        told = self._told(breaker)
        calls = _begun.get()
        for position in range(len(calls) - 1, -1, -1):
            if calls[position][0] == id(breaker):
                _begun.set(calls[:position])
                return calls[position][1], breaker.failure_count
        return told.state, breaker.failure_count  # it began before us, or in another context

    @passed_over
    def _leaving(self, original: Function) -> Function:
        def leave(breaker: Any, kind: Any, error: Any, trace: Any) -> Any:
            before = self._tell(self._before, breaker)
            try:
                return original(breaker, kind, error, trace)
            except BaseException as raised:  # the application's own predicate
                unseen(raised)
                raise
            finally:
                if before is not None:
                    self._tell(self._ended, breaker, *before, error)

        return leave

    def _ended(self, breaker: Any, state: str, failures: int, error: BaseException | None) -> None:
        told = self._told(breaker)
        # A failure is what adds to the count; anything else sets it back.
        if breaker.failure_count <= failures:
            self._closed(breaker)
            told.succeeded(state)
            return
        told.failed(state)
        # Not "opened": one that stays open for no time is half open by now.
        if not breaker.closed and told.state != OPEN:
            reason = "trial failed" if state == HALF_OPEN else "failures"
            told.tripped(
                reason,
                error_type="" if error is None else type_name(error),
                backoff=breaker.open_remaining,
            )

    @passed_over
    def _resetting(self, original: Function) -> Function:
        def reset(breaker: Any) -> Any:
            result = original(breaker)
            self._tell(self._closed, breaker)
            return result

        return reset

    def _closed(self, breaker: Any) -> None:
        told = self._told(breaker)
        if breaker.closed and told.state != CLOSED:
            told.closed()

    @passed_over
    def _rejecting(self, original: Function) -> Function:
        def make(error: Any, circuit_breaker: Any, *args: Any, **kwargs: Any) -> None:
            original(error, circuit_breaker, *args, **kwargs)
            self._tell(lambda: self._told(circuit_breaker).rejected())

        return make

    def _falling_back(self, original: property) -> property:
        get = original.fget
        assert get is not None

        def fallback_function(breaker: Any) -> Any:
            found = get(breaker)
            # The library asks for it when it rejects a call, and calls it then. Anybody else gets what it is.
            if sys._getframe(1).f_globals.get("__name__") != "circuitbreaker":
                return found
            return None if found is None else _Fallback(found, lambda: self._rejected(breaker))

        return property(fallback_function, doc=original.__doc__)

    def _rejected(self, breaker: Any) -> None:
        self._tell(lambda: self._told(breaker).rejected())


class _Fallback:
    """A fallback function that tells when it is called, as true as it is; the library alone sees it."""

    def __init__(self, function: Function, tell: Function) -> None:
        self._function, self._tell = function, tell

    @passed_over
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        self._tell()
        try:
            return self._function(*args, **kwargs)
        except BaseException as error:
            unseen(error)
            raise

    def __bool__(self) -> bool:
        return bool(self._function)
