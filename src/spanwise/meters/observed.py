"""Observable instruments: the same limit of attribute sets as for the others, for each collection."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Final

from spanwise.log import Log
from spanwise.meters import sdk_shape
from spanwise.meters.series import MOST_SETS, OVERFLOW

__all__ = ["limit_sets"]

_logger = Log("spanwise.meters")

# The SDK keeps an aggregation for each set that it was ever told. When it has so many, those of sets that are
# gone are dropped.
_MOST_KEPT: Final = 2 * MOST_SETS


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
