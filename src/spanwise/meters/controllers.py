"""Controllers: objects that hold much (a player, a decoder, a loaded item) and must not become too many."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

from opentelemetry.metrics import CallbackOptions, Meter, Observation

from spanwise import names
from spanwise.instruments import make
from spanwise.meters.locks import ForkLock
from spanwise.meters.weakly import WeakTable

__all__ = ["FAILED", "LOADING", "READY", "STATES", "ControllerCounts", "ControllerMeter"]

LOADING: Final = "loading"
READY: Final = "ready"
FAILED: Final = "failed"
STATES: Final = (READY, LOADING, FAILED)


class ControllerCounts(NamedTuple):
    """The controllers of this process at one moment.

    Attributes:
        total: how many are held.
        ready, loading, failed: how many are in that state.
        limit: how many may be held; None where nobody said.
        disposal_errors: how many disposals failed since the start.
    """

    total: int
    ready: int
    loading: int
    failed: int
    limit: int | None
    disposal_errors: int


class Entry(NamedTuple):
    """What is known of a controller.

    Attributes:
        name: the user's id for it; empty without one.
        state: one of STATES.
    """

    name: str
    state: str


class ControllerMeter:
    """The controllers and their instruments, which are read when metrics are collected.

    Args:
        meter: makes them.

    Attributes:
        table: the controllers.
        limit: how many may be held.
    """

    def __init__(self, meter: Meter) -> None:
        self.table: WeakTable[Entry] = WeakTable()
        self.limit: int | None = None
        self._used = False
        self._disposal_errors = 0
        self._lock = ForkLock()
        self._errors = make(meter, names.CONTROLLER_DISPOSAL_ERRORS)
        make(meter, names.CONTROLLER_ACTIVE, self._active)
        make(meter, names.CONTROLLER_COUNT, self._by_state)
        make(meter, names.CONTROLLER_LIMIT, self._of_limit)

    def put(self, controller: object, name: str, state: str) -> None:
        """Tracks a controller, or changes what is known of it.

        Raises:
            TypeError: it cannot be referenced weakly.
        """
        self.table.set(controller, Entry(name, state))
        self._used = True
        # Prometheus sees no growth in a series that begins with its first error.
        self._errors.add(0)

    def disposal_failed(self) -> None:
        """Counts an error."""
        with self._lock:
            self._disposal_errors += 1
        self._errors.add(1)

    def counts(self) -> ControllerCounts:
        """How many there are now."""
        states = [entry.state for entry in self.table.values()]
        by_state = {state: states.count(state) for state in STATES}
        return ControllerCounts(
            total=len(states), **by_state, limit=self.limit, disposal_errors=self._disposal_errors
        )

    # Silent until there was one: a process without controllers has no series of them.

    def _active(self, _: CallbackOptions) -> Iterator[Observation]:
        if self._used:
            yield Observation(len(self.table.values()))

    def _by_state(self, _: CallbackOptions) -> Iterator[Observation]:
        if self._used:
            states = [entry.state for entry in self.table.values()]
            for state in STATES:
                yield Observation(states.count(state), {names.CONTROLLER_STATE: state})

    def _of_limit(self, _: CallbackOptions) -> Iterator[Observation]:
        if self.limit is not None:
            yield Observation(self.limit)
