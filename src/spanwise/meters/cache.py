"""What became of the operations on caches: counts, durations, sizes, hit ratio; any library.

A hit in the process's memory takes 0.2 µs, so nothing may be recorded on it: it adds one to an integer
(:class:`Cell`), and the integers are told when metrics are collected. That is why ``cache.operations`` is an
observable counter. An addition holds no lock: under the GIL nothing can come between its load and its store.
Without a GIL, two threads that count at the same moment may lose one.

A forked process starts at zero.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator
from typing import Any, Final
from weakref import WeakKeyDictionary, ref

from opentelemetry.metrics import CallbackOptions, MeterProvider, Observation, get_meter, get_meter_provider
from opentelemetry.util.types import AttributeValue

from spanwise import names
from spanwise.forks import after_any_fork
from spanwise.instruments import make
from spanwise.log import Log
from spanwise.meters.tally import OTHER, Cell, Tally

__all__ = [
    "ABSENT",
    "DELETE",
    "DELETED",
    "ERROR",
    "EXPIRED",
    "GET",
    "HIT",
    "MISS",
    "MOST_NAMES",
    "MOST_OF_ONE",
    "OTHER",
    "REFUSED",
    "SET",
    "STORED",
    "Caches",
    "Cell",
    "Tally",
    "caches_of",
]

_logger = Log("spanwise.meters")

GET, SET, DELETE = "get", "set", "delete"
# Of a get; of a set; of a delete; of each of them.
HIT, MISS, EXPIRED = "hit", "miss", "expired"
STORED, REFUSED = "stored", "refused"
DELETED, ABSENT = "deleted", "absent"
ERROR = "error"

MOST_NAMES: Final = 160
"""Names of caches, so that their ten outcomes stay under an instrument's 2,000 sets of attributes."""

MOST_OF_ONE: Final = 110
"""Of one library, so that the caches of another one, which may be made later, have names too."""

# Every dependency has functions of these, and they have two outcomes, not ten.
_COUNTED_APART: Final = {"functools": 150}

_MOST_WATCHED: Final = 2_000  # caches whose size is asked for at each collection, at 1 µs each

Reading = tuple["float | None", "float | None"]


class _Watched:
    __slots__ = ("owner", "read", "tally")

    def __init__(self, owner: ref[Any], tally: Tally, read: Callable[[Any], Reading]) -> None:
        self.owner, self.tally, self.read = owner, tally, read


class Caches:
    """All caches that one meter provider is told of. See :func:`caches_of`.

    Args:
        provider: makes the instruments.
    """

    def __init__(self, provider: MeterProvider) -> None:
        self._tallies: dict[tuple[str, Hashable], Tally] = {}
        self._watched: dict[int, _Watched] = {}
        self._polled: dict[str, Callable[[], None]] = {}
        meter = get_meter(names.SCOPE_CACHES, meter_provider=provider)
        self._duration = make(meter, names.CACHE_OPERATION_DURATION)
        # The first, so that what is polled is so once a collection.
        make(meter, names.CACHE_OPERATIONS, self._guarded(self._operations))
        make(meter, names.CACHE_EVICTIONS, self._guarded(self._evictions))
        make(meter, names.CACHE_HIT_RATIO, self._guarded(self._ratios))
        make(meter, names.CACHE_SIZE, self._guarded(lambda: self._readings(0)))
        make(meter, names.CACHE_LIMIT, self._guarded(lambda: self._readings(1)))

    def tally(self, system: str, key: Hashable, name: str | Callable[[], str] = "") -> Tally:
        """The counts of the caches with this key; new ones at first.

        Args:
            system: the library.
            key: tells caches apart.
            name: as in the metrics, or finds it when it is first needed; the key by default. There may be
                several keys of one name: their counts are told as one.
        """
        found = self._tallies.get((system, key))
        if found is not None:
            return found
        if self._are_enough(system):
            key = name = OTHER
        return self._tallies.setdefault((system, key), Tally(system, name or str(key)))

    def _are_enough(self, system: str) -> bool:
        systems = [each for each, _ in list(self._tallies)]
        counted = systems.count(system)
        if system in _COUNTED_APART:
            return counted >= _COUNTED_APART[system]
        others = sum(each not in _COUNTED_APART for each in systems)
        return counted >= MOST_OF_ONE or others >= MOST_NAMES

    def discard(self, tally: Tally) -> None:
        """Forgets a tally into which nobody counts."""
        for key, each in list(self._tallies.items()):
            if each is tally and not tally.counts():
                self._tallies.pop(key, None)

    def note(self, tally: Tally, operation: str, outcome: str, seconds: float, count: int = 1) -> None:
        """Takes note of an operation. Never raises.

        Args:
            tally: of the cache.
            operation: `GET`, `SET` or `DELETE`.
            outcome: `HIT`, `MISS`, `EXPIRED`, `STORED`, `REFUSED`, `DELETED`, `ABSENT` or `ERROR`.
            seconds: how long it took; negative for what was told with another outcome of it.
            count: of how many keys this became; 0 for none.
        """
        cell = tally.cell(operation, outcome)
        cell.value += count
        if seconds >= 0:
            self.time(tally, operation, outcome, seconds)

    def time(self, tally: Tally, operation: str, outcome: str, seconds: float) -> None:
        """Records a duration alone. Never raises."""
        try:
            self._duration.record(seconds, tally.labels(operation, outcome))
        except Exception:
            _logger.debug("a cache's duration cannot be recorded", exc_info=True)

    def watch(self, owner: Any, tally: Tally, read: Callable[[Any], Reading]) -> None:
        """Asks a cache for its size and limit at each collection, as long as it lives.

        Args:
            owner: the cache; held weakly.
            tally: its counts.
            read: tells size and limit of it, None for what it has not. Called on the delivery thread while
                the application uses the cache: it must not change it.
        """
        if len(self._watched) >= _MOST_WATCHED:
            return
        key, watched = id(owner), self._watched
        watched[key] = _Watched(ref(owner, lambda _: watched.pop(key, None)), tally, read)

    def poll(self, system: str, update: Callable[[], None]) -> None:
        """Has a function bring the counts up to date at each collection; one a library."""
        self._polled[system] = update

    def forget(self, system: str) -> None:
        """Tells no more of a library's caches."""
        self._polled.pop(system, None)
        for key in [key for key in list(self._tallies) if key[0] == system]:
            self._tallies.pop(key, None)
        for owner, watched in list(self._watched.items()):
            if watched.tally.system == system:
                self._watched.pop(owner, None)

    def begin_anew(self) -> None:
        """Called in a forked process: its counts start at zero, as a process's do."""
        try:
            self._update()
            for tally in list(self._tallies.values()):
                tally.begin_anew()
        except Exception:
            _logger.exception("a forked process tells of its parent's caches; please report this")

    def _update(self) -> None:
        for update in list(self._polled.values()):
            update()

    # -- collection, on the delivery thread ----------------------------------------------------

    def _guarded(self, observe: Callable[[], Iterable[Observation]]) -> Callable[..., list[Observation]]:
        def callback(_: CallbackOptions) -> list[Observation]:
            try:
                return list(observe())
            except Exception:
                # Raised here, it would end the collection of all else.
                _logger.exception("the caches cannot be told of; please report this")
                return []

        return callback

    def _operations(self) -> Iterator[Observation]:
        self._update()
        sums: dict[tuple[str, str, str, str], int] = {}
        for tally in list(self._tallies.values()):
            for (operation, outcome), value in tally.counts():
                key = (tally.system, tally.name, operation, outcome)
                sums[key] = sums.get(key, 0) + value
        for (system, name, operation, outcome), value in sums.items():
            labels = {names.CACHE_OPERATION_NAME: operation, names.CACHE_OUTCOME: outcome}
            yield Observation(value, {**_labels(system, name), **labels})

    def _evictions(self) -> Iterator[Observation]:
        sums: dict[tuple[str, str], int] = {}
        for tally in list(self._tallies.values()):
            if tally.evicted.own:
                key = (tally.system, tally.name)
                sums[key] = sums.get(key, 0) + tally.evicted.own
        for key, value in sums.items():
            yield Observation(value, _labels(*key))

    def _ratios(self) -> Iterator[Observation]:
        hits: dict[tuple[str, str], int] = {}
        lookups: dict[tuple[str, str], int] = {}
        for tally in list(self._tallies.values()):
            key = (tally.system, tally.name)
            for (operation, outcome), value in tally.counts():
                # A cache that does not answer is no worse a cache for it: errors are told as such.
                if operation == GET and outcome != ERROR:
                    lookups[key] = lookups.get(key, 0) + value
                    hits[key] = hits.get(key, 0) + (value if outcome == HIT else 0)
        for key, value in lookups.items():
            yield Observation(hits[key] / value, _labels(*key))

    def _readings(self, which: int) -> Iterator[Observation]:
        sums: dict[tuple[str, str], float] = {}
        for watched in list(self._watched.values()):
            owner = watched.owner()
            if owner is None:
                continue
            try:
                value = watched.read(owner)[which]
            except Exception:
                _logger.debug("a cache's size cannot be read", exc_info=True)
                continue
            if value is not None:
                key = (watched.tally.system, watched.tally.name)
                sums[key] = sums.get(key, 0) + value
        for key, value in sums.items():
            yield Observation(value, _labels(*key))


def _labels(system: str, name: str) -> dict[str, AttributeValue]:
    return {names.CACHE_NAME: name, names.CACHE_SYSTEM: system}


_made: WeakKeyDictionary[MeterProvider, Caches] = WeakKeyDictionary()


def caches_of(provider: MeterProvider | None = None) -> Caches:
    """A provider's caches: the same for each caller, since the SDK takes an instrument's callbacks once.

    Args:
        provider: the global one by default.
    """
    chosen = provider or get_meter_provider()
    found = _made.get(chosen)
    return _made.setdefault(chosen, Caches(chosen)) if found is None else found


def _in_child() -> None:
    for each in list(_made.values()):
        each.begin_anew()


after_any_fork(_in_child)
