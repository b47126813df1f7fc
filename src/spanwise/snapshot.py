"""The calls that ask how the process is, and what was slow in it."""

from __future__ import annotations

import sys

TYPE_CHECKING = False  # typing is not imported for it: every start of `spanwise run` would pay
if TYPE_CHECKING:
    from typing import Any

    from spanwise.alerts.operation import SlowOperation
    from spanwise.meters.statistics import Statistics
    from spanwise.probes.condition import Health

__all__ = ["health", "slow_operations", "statistics"]


def health() -> Health:
    """Whether the process is well: ``healthy``, ``warning`` or ``critical``, with the issues by name.

    As of the newest sample of the metrics (every 30 s; ``history:`` in the thresholds file), by the metric
    rules of the thresholds that hold, each for as long as its ``for:`` says. Before the first sample, and
    without telemetry, it is ``unknown``. Takes no sample, waits for nothing: some microseconds. Never raises.

    Example:
        >>> import spanwise
        >>> spanwise.health().status
        'unknown'
    """
    launched = _launched()
    from spanwise.probes.condition import take

    if launched is None:
        return take(None, ())
    return take(launched.sampler, launched.firing(), launched.service_name)


def slow_operations() -> list[SlowOperation]:
    """The newest 100 and the slowest 100 spans that the thresholds rated poor or critical, slowest first.

    Each has name, kind, duration and limit in seconds, rating, rule, trace id, span id, time and those
    attributes that say which operation it was. Without telemetry there are none. Never raises.

    Example:
        >>> import spanwise
        >>> [each.name for each in spanwise.slow_operations()]
        []
    """
    launched = _launched()
    return launched.slow.operations() if launched is not None and launched.slow is not None else []


def statistics() -> Statistics:
    """How the process is: memory, controllers, preloads, where memory and speed are going, and since when.

    Works wherever telemetry runs, whatever is exported. Takes a sample first: some 3 ms on another thread,
    for which it waits a second at most. Without telemetry, all but the memory is empty. Never raises.

    Example:
        >>> import spanwise
        >>> spanwise.statistics().as_dict()["samples"]
        0
    """
    # Imported on the call, and the composition root not even then: without a launch there is no history.
    launched = _launched()
    from spanwise.meters.statistics import take

    return take(launched.sampler if launched is not None else None)


def _launched() -> Any:
    distro = sys.modules.get("spanwise.distro")
    if distro is None:
        return None
    from spanwise import pending

    pending.now()
    return distro.current
