"""Circuit breakers: their state, trips, calls, time open and back-off; transitions are events on the span.

A :class:`Breaker` stands for one circuit breaker, whoever implements it: an instrumentor tells it what its
library's breaker does, or the application does so by hand. There are no semantic conventions for breakers;
the states are those of https://martinfowler.com/bliki/CircuitBreaker.html
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from time import monotonic
from typing import Any, Final
from weakref import WeakSet

from opentelemetry.metrics import CallbackOptions, Meter, Observation, get_meter
from opentelemetry.trace import get_current_span
from opentelemetry.util.types import AttributeValue

from spanwise import names
from spanwise.context import get_context, is_suppressed
from spanwise.instruments import make
from spanwise.log import DEBUG, WARNING, Log
from spanwise.meters.locks import ForkLock

__all__ = ["CLOSED", "HALF_OPEN", "OPEN", "Breaker", "Circuits", "shared_circuits"]

_logger = Log("spanwise.meters")

CLOSED: Final = "closed"
HALF_OPEN: Final = "half_open"
OPEN: Final = "open"
_STATES: Final = (CLOSED, HALF_OPEN, OPEN)

# Names of breakers that are told apart. Each has three series of status and up to nine of calls; beyond, they
# are counted together, as an instrument has 2,000 sets of attributes at most.
_MOST_NAMES: Final = 128
# Reasons of a breaker's trips that are told apart on the metric: they may be texts of the application's.
_MOST_REASONS: Final = 16
_LONGEST_NAME: Final = 128
_LONGEST_REASON: Final = 256
_OTHER: Final = "_OTHER"

# Held for some assignments only, never while anything of the application's runs.
_lock: Final = ForkLock()


class _Named:
    """What the breakers of one name have in common. Lives on when they are gone: its counters never fall."""

    __slots__ = ("breakers", "calls", "labels", "open_time", "reasons")

    def __init__(self, name: str) -> None:
        self.labels: dict[str, AttributeValue] = {names.CIRCUIT_NAME: name}
        self.breakers: WeakSet[Breaker] = WeakSet()
        self.open_time = 0.0  # of openings that are over
        self.reasons: set[str] = set()
        self.calls = {
            (state, outcome): {
                **self.labels,
                names.CIRCUIT_STATE: state,
                names.CIRCUIT_OUTCOME: outcome,
            }
            for state in _STATES
            for outcome in ("success", "failure", "rejected")
        }


class Circuits:
    """The instruments of the breakers of one meter.

    Args:
        meter: makes them.
    """

    def __init__(self, meter: Meter) -> None:
        self._named: dict[str, _Named] = {}
        # Without the reason: a series that is born at 1 has no growth, so that Prometheus would miss the
        # first trip of each reason. This one is there, at 0, from the beginning.
        self.trips = make(meter, names.CIRCUIT_TRIPS)
        self.reasons = make(meter, names.CIRCUIT_TRIPS_BY_REASON)
        self.calls = make(meter, names.CIRCUIT_CALLS)
        make(meter, names.CIRCUIT_STATUS, self._status)
        make(meter, names.CIRCUIT_OPEN_TIME, self._open_time)
        make(meter, names.CIRCUIT_BACKOFF, self._backoff)

    def _of(self, breaker: Breaker) -> _Named:
        with _lock:
            named = self._named.get(breaker.name)
            if named is None:
                name = breaker.name if len(self._named) < _MOST_NAMES else _OTHER
                named = self._named.setdefault(name, _Named(name))
            named.breakers.add(breaker)
        self.trips.add(0, named.labels)
        return named

    def _all(self) -> list[tuple[_Named, list[Breaker]]]:
        with _lock:
            return [(named, list(named.breakers)) for named in self._named.values()]

    def _status(self, _: CallbackOptions) -> Iterator[Observation]:
        for named, breakers in self._all():
            found = [breaker.state for breaker in breakers]
            for state in _STATES:
                yield Observation(found.count(state), {**named.labels, names.CIRCUIT_STATE: state})

    def _open_time(self, _: CallbackOptions) -> Iterator[Observation]:
        for named, breakers in self._all():
            with _lock:
                now = monotonic()
                total = named.open_time + sum(now - each._opened for each in breakers if each._opened)
            yield Observation(total, named.labels)

    def _backoff(self, _: CallbackOptions) -> Iterable[Observation]:
        for named, breakers in self._all():
            longest = max((each._backoff for each in breakers if each.state == OPEN), default=0.0)
            yield Observation(longest, named.labels)


class Breaker:
    """One circuit breaker, as it reports. No method raises or blocks.

    Args:
        name: of low cardinality, such as the service that it protects.
        circuits: whose instruments it reports to; those of the global meter provider by default.

    Attributes:
        name: as given, cut after 128 characters. Not to be changed.
        state: ``closed``, ``half_open`` or ``open``.
    """

    __slots__ = ("__weakref__", "_backoff", "_circuits", "_named", "_opened", "_warned", "name", "state")

    def __init__(self, name: str, circuits: Circuits | None = None) -> None:
        self.name = _text(name, _LONGEST_NAME) or _OTHER
        self.state = CLOSED
        self._opened = 0.0  # when, by the monotonic clock; 0 unless it is open
        self._backoff = 0.0
        self._warned = False
        self._circuits = circuits or shared_circuits()
        self._named = self._circuits._of(self)

    def tripped(self, reason: str = "", *, error_type: str = "", backoff: float | None = None) -> None:
        """It opened: calls are rejected from now on. Each call is counted as a trip.

        Args:
            reason: why, of low cardinality: the metric tells 16 reasons of a breaker apart.
            error_type: the class of the exception that was one too many.
            backoff: seconds until a call is let through again, if that is known.
        """
        self._guarded(self._trip, reason, error_type, backoff)

    def half_open(self) -> None:
        """It lets a call through to see whether that succeeds."""
        self._guarded(self._turn, HALF_OPEN)

    def closed(self) -> None:
        """It lets all calls through again."""
        self._guarded(self._turn, CLOSED)

    def rejected(self) -> None:
        """It refused a call."""
        self._guarded(self._count, "rejected", OPEN)

    def succeeded(self, state: str = "") -> None:
        """A call that it let through succeeded.

        Args:
            state: the breaker's when the call began; the present one by default.
        """
        self._guarded(self._count, "success", state)

    def failed(self, state: str = "") -> None:
        """A call that it let through failed.

        Args:
            state: the breaker's when the call began; the present one by default.
        """
        self._guarded(self._count, "failure", state)

    def resume(self, state: str, *, backoff: float | None = None) -> None:
        """Takes a state over in which it already is: no trip, no event.

        Args:
            state: ``closed``, ``half_open`` or ``open``.
            backoff: see :meth:`tripped`.
        """
        self._guarded(self._move, state, backoff)

    def _trip(self, reason: str, error_type: str, backoff: float | None) -> None:
        before = self.state
        self._move(OPEN, backoff)
        reason = _text(reason, _LONGEST_REASON)
        told = self._told(reason)
        kinds = {names.CIRCUIT_REASON: told} if told else {}
        if error_type:
            kinds[names.ERROR_TYPE] = error_type
        about: dict[str, AttributeValue] = {**kinds}
        if reason:
            about[names.CIRCUIT_REASON] = reason
        if backoff is not None:
            about[names.CIRCUIT_RETRY_AFTER] = float(backoff)
        # The event first: what a metric's attributes do wrong costs the metric alone.
        self._tell(names.CIRCUIT_TRIPPED_EVENT, before, about)
        self._circuits.trips.add(1, self._named.labels)
        self._circuits.reasons.add(1, {**self._named.labels, **kinds})

    def _told(self, reason: str) -> str:
        with _lock:
            reasons = self._named.reasons
            if reason in reasons or len(reasons) < _MOST_REASONS:
                reasons.add(reason)
                return reason
        return _OTHER

    def _turn(self, state: str) -> None:
        before = self.state
        self._move(state, None)
        if before != state:
            event = names.CIRCUIT_CLOSED_EVENT if state == CLOSED else names.CIRCUIT_HALF_OPEN_EVENT
            self._tell(event, before, {})

    def _move(self, state: str, backoff: float | None) -> None:
        with _lock:
            now = monotonic()
            if state == OPEN:
                self._opened = self._opened or now
                self._backoff = self._backoff if backoff is None else float(backoff)
            elif self._opened:
                self._named.open_time += now - self._opened
                self._opened = 0.0
            self.state = state

    def _tell(self, event: str, before: str, about: dict[str, AttributeValue]) -> None:
        span = get_current_span()
        if span.is_recording():
            span.add_event(event, {**self._named.labels, names.CIRCUIT_PREVIOUS_STATE: before, **about})

    def _count(self, outcome: str, state: str) -> None:
        if is_suppressed(get_context()):
            return
        self._circuits.calls.add(1, self._named.calls[state or self.state, outcome])

    def _guarded(self, function: Callable[..., None], *arguments: Any) -> None:
        try:
            function(*arguments)
        except Exception as error:
            level = DEBUG if self._warned else WARNING
            self._warned = True
            _logger.log(
                level,
                "circuit breaker %s could not report (%s: %s); the application is not affected, but its "
                "telemetry is missing",
                self.name,
                type(error).__name__,
                error,
            )


_default: Circuits | None = None


def shared_circuits() -> Circuits:
    """The instruments of the global meter provider, made once."""
    global _default
    with _lock:
        if _default is None:
            _default = Circuits(get_meter(names.SCOPE_CIRCUIT))
        return _default


def _text(value: object, longest: int) -> str:
    try:
        return str(value)[:longest]
    except Exception:
        return f"<{type(value).__name__}>"
