"""Observable instruments: one observation that cannot be used costs itself alone, and none is too many.

What an observation raises while it is collected would cost the SDK the whole collection, of all instruments.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import replace
from typing import Any, Final

from opentelemetry.context import Context
from opentelemetry.metrics import Observation

from spanwise.log import ERROR, Log
from spanwise.meters import sdk_shape
from spanwise.meters.amounts import Refused, amount_of
from spanwise.meters.attributes import attributes_of
from spanwise.meters.series import MOST_SETS, OVERFLOW
from spanwise.threads import must_pass

__all__ = ["guarded", "limit_sets"]

_logger = Log("spanwise.meters")

# The SDK keeps an aggregation for each set that it was ever told. When it has so many, those of sets that are
# gone are dropped.
_MOST_KEPT: Final = 2 * MOST_SETS

# Of one callback in one collection: one that never ends must not hold the collection for ever.
_MOST_OBSERVED: Final = 100_000


def guarded(name: Any, callbacks: Any) -> Any:
    """An observable instrument's callbacks, whose observations can all be used.

    Args:
        name: the instrument's.
        callbacks: what the application gave: functions, or generators, as the API allows.

    Returns:
        A list of functions; what is none of this is left for the SDK to complain of.
    """
    if callbacks is None or not isinstance(callbacks, Iterable):
        return callbacks
    try:
        return [_Guarded(str(name), each).observe for each in callbacks]
    except Exception:  # a name whose text raises, or what cannot be gone through: the SDK may not even ask
        return callbacks


class _Guarded:
    """Stands before one callback."""

    def __init__(self, name: str, callback: Any) -> None:
        self._name = name
        # An error to the SDK, too: the callback is wrong.
        self._refused = Refused(name, ERROR)
        self._ask: Callable[[Any], Any] = callback
        if isinstance(callback, Generator):
            next(callback)
            self._ask = callback.send

    def observe(self, options: Any) -> Iterator[Observation]:
        """What the callback observes, as far as it can be used. What would end a thread ends none of ours."""
        try:
            yield from self._observed(options)
        except (Exception, GeneratorExit):
            raise  # the SDK tells of it; or nobody wants more
        except BaseException as error:
            if must_pass(error):
                raise
            _logger.seldom("a callback of %s raised %s: %s", self._name, type(error).__name__, error)

    def _observed(self, options: Any) -> Iterator[Observation]:
        try:
            answer = self._ask(options)
        except StopIteration:  # a generator that has ended
            return
        try:
            for number, observation in enumerate(answer):
                if number >= _MOST_OBSERVED:
                    _logger.seldom(
                        "a callback of %s goes on after %d observations: the others are ignored",
                        self._name,
                        number,
                    )
                    return
                usable = self._usable(observation)
                if usable is not None:
                    yield usable
        finally:
            self._refused.tell()

    def _usable(self, observation: Any) -> Observation | None:
        try:
            value, attributes, context = observation.value, observation.attributes, observation.context
            value = amount_of(value, signed=True)
            if attributes is not None:
                attributes = attributes_of(attributes)
            if context is not None and not isinstance(context, Context):
                context = None
            return Observation(value, attributes, context)
        except Exception as error:
            self._refused.add(observation, error)
            return None


def limit_sets(instrument: Any) -> Any:
    """Has what an observable instrument's callbacks tell of too many sets at once go to the overflow.

    As the specification asks, the limit is a collection's, whose first sets are kept: sets may come and go.

    Args:
        instrument: the SDK's; one that is limited already is left alone.

    Returns:
        The instrument.
    """
    if "callback" not in vars(instrument):
        # On the instrument, not in a class of its own: readers look its class up.
        instrument.callback = _Limited(instrument).callback
    return instrument


class _Limited:
    """Stands before an instrument's callbacks. The SDK makes one collection at a time."""

    def __init__(self, instrument: Any) -> None:
        self._instrument = instrument
        self._callback = instrument.callback
        self._kept: set[Any] = set()

    def callback(self, options: Any) -> Iterator[Any]:
        """What the instrument's own gives."""
        seen: set[Any] = set()
        for measurement in self._callback(options):
            key = sdk_shape.identity(measurement.attributes or {})
            if key not in seen:
                if len(seen) >= MOST_SETS - 1:
                    yield replace(measurement, attributes=OVERFLOW)
                    continue
                seen.add(key)
            yield measurement
        self._kept |= seen
        if len(self._kept) > _MOST_KEPT:
            self._forget(seen)

    def _forget(self, seen: set[Any]) -> None:
        self._kept = seen
        try:
            told = {*seen, sdk_shape.identity(OVERFLOW)}
            sdk_shape.forget_others(self._instrument._measurement_consumer, self._instrument, told)
        except Exception:
            # Raised here, it would end the collection of all else.
            _logger.debug("attribute sets of %s could not be forgotten", self._instrument, exc_info=True)
