"""pybreaker 1.0 and newer: state, trips, calls, time open and back-off of every circuit breaker.

By pybreaker's own listener, which breakers made before and after get added. No listener is told of a call
that an open breaker rejects, so ``CircuitBreaker.call`` is wrapped too: decorators and ``calling()`` go
through it. What Tornado's ``call_async`` rejects is not counted. Listeners are called under the breaker's
lock: nothing here waits.
"""

from __future__ import annotations

import sys
import threading
import weakref
from collections.abc import Mapping
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

__all__ = ["PybreakerInstrumentor"]

_STATES: Final = {"closed": CLOSED, "half-open": HALF_OPEN, "open": OPEN}
_UNNAMED: Final = "unnamed"


class PybreakerInstrumentor(LibraryInstrumentor):
    """Observes pybreaker's circuit breakers. Used like any OpenTelemetry instrumentor."""

    library = "pybreaker"
    since = (1, 0)
    module = "pybreaker"

    def _observe(self, options: Mapping[str, Any]) -> _Observing:
        return _Observing(options)


class _OnThread(threading.local):
    """What goes on in this thread.

    Attributes:
        let_through: calls that breakers have let through.
        failing: identities of the breaker that looks at a failure, and of the exception.
    """

    let_through = 0
    failing = (0, 0)


_here = _OnThread()


class _Listener:
    """Tells of one breaker; mixed with pybreaker's own class, which has whatever a later version calls."""

    def __init__(self, circuits: Circuits, breaker: Any) -> None:
        self._circuits = circuits
        self._told = Breaker(breaker.name or _UNNAMED, circuits)
        self._began = CLOSED  # the state in which the call under way began; there is one at a time
        state = _STATES.get(breaker.current_state, CLOSED)
        if state != CLOSED:
            self._told.resume(state, backoff=breaker.reset_timeout)

    def _breaker(self, breaker: Any) -> Breaker:
        name = breaker.name or _UNNAMED
        if name != self._told.name:  # it may be named later
            renamed = Breaker(name, self._circuits)
            if renamed.name != self._told.name:  # a long one is cut
                renamed.resume(self._told.state)
                self._told = renamed
        return self._told

    def rejected(self, breaker: Any) -> None:
        self._breaker(breaker).rejected()

    def before_call(self, cb: Any, func: Any, *args: Any, **kwargs: Any) -> None:
        _here.let_through += 1
        self._began = self._told.state

    def success(self, cb: Any) -> None:
        self._breaker(cb).succeeded(self._began)

    def failure(self, cb: Any, exc: BaseException) -> None:
        _here.failing = (id(cb), id(exc))
        self._breaker(cb).failed(self._began)

    def state_change(self, cb: Any, old_state: Any, new_state: Any) -> None:
        told = self._breaker(cb)
        state = _STATES.get(new_state.name)
        if state == OPEN:
            # By the exception that is being handled, for nobody says when the breaker has looked at it.
            error = sys.exc_info()[1]
            failing = ""
            reason = "forced"  # open() by hand, or another process on the same storage
            if error is not None and _here.failing == (id(cb), id(error)):
                failing = type_name(error)
                trial = getattr(old_state, "name", None) == "half-open"
                reason = "trial failed" if trial else "failures"
            told.tripped(reason, error_type=failing, backoff=cb.reset_timeout)
        elif state == HALF_OPEN:
            told.half_open()
        elif state == CLOSED:
            told.closed()


class _Observing:
    """One `instrument()`."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        self._circuits = Circuits(get_meter(__name__, meter_provider=options.get("meter_provider")))
        # For its warnings: breakers have no spans of their own.
        self._calls = Calls("pybreaker", get_tracer(__name__))
        self._kind: type = _Listener
        self._listeners: weakref.WeakKeyDictionary[Any, _Listener] = weakref.WeakKeyDictionary()
        self._patches = Patches()

    def warn(self, doing: str, error: BaseException) -> None:
        """See :meth:`spanwise.instrumentors._call.Calls.warn`."""
        self._calls.warn(doing, error)

    def attach(self, pybreaker: Any, earlier: bool) -> None:
        self._kind = type("SpanwiseListener", (_Listener, pybreaker.CircuitBreakerListener), {})
        kind = pybreaker.CircuitBreaker
        self._patches.replace(kind, "__init__", self._making)
        self._patches.replace(kind, "call", lambda call: self._calling(call, pybreaker.CircuitBreakerError))
        if earlier:
            for breaker in instances(kind):
                self._observe(breaker)

    def detach(self) -> None:
        self._patches.restore()
        for breaker, listener in list(self._listeners.items()):
            if listener in breaker.listeners:
                breaker.remove_listener(listener)
        self._listeners.clear()

    def _observe(self, breaker: Any) -> None:
        try:
            listener = self._kind(self._circuits, breaker)
            breaker.add_listener(listener)
            self._listeners[breaker] = listener
        except Exception as error:
            self.warn("observe a circuit breaker", error)

    @passed_over
    def _making(self, original: Function) -> Function:
        def make(breaker: Any, *args: Any, **kwargs: Any) -> None:
            try:
                original(breaker, *args, **kwargs)
            except BaseException as error:
                unseen(error)
                raise
            self._observe(breaker)

        return make

    @passed_over
    def _calling(self, original: Function, rejection: type[BaseException]) -> Function:
        def call(breaker: Any, func: Any, *args: Any, **kwargs: Any) -> Any:
            let_through = _here.let_through
            try:
                return original(breaker, func, *args, **kwargs)
            except BaseException as error:
                unseen(error)
                if isinstance(error, rejection) and _here.let_through == let_through:
                    listener = self._listeners.get(breaker)
                    if listener is not None:
                        listener.rejected(breaker)
                raise
            finally:
                _here.failing = (0, 0)

        return call
