"""Observable instruments: the same limit of attribute sets as for the others."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any

from spanwise.meters import sdk_shape
from spanwise.meters.series import MOST_SETS, OVERFLOW

__all__ = ["limit_sets"]


def limit_sets(instrument: Any) -> Any:
    """Has what an observable instrument's callbacks tell of too many sets go to the overflow.

    Args:
        instrument: the SDK's; one that is limited already is left alone.

    Returns:
        The instrument.
    """
    if "callback" not in vars(instrument):
        # On the instrument, not in a class of its own: readers look its class up.
        instrument.callback = _limited(instrument.callback)
    return instrument


def _limited(callback: Callable[[Any], Iterable[Any]]) -> Callable[[Any], Iterator[Any]]:
    seen: set[Any] = set()

    def limited(options: Any) -> Iterator[Any]:
        for measurement in callback(options):
            key = sdk_shape.identity(measurement.attributes or {})
            if key not in seen:
                if len(seen) >= MOST_SETS - 1:
                    yield replace(measurement, attributes=OVERFLOW)
                    continue
                seen.add(key)
            yield measurement

    return limited
