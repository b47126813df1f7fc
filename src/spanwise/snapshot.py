"""The one call that asks how the process is."""

from __future__ import annotations

import sys

TYPE_CHECKING = False  # typing is not imported for it: every start of `spanwise run` would pay
if TYPE_CHECKING:
    from spanwise.meters.statistics import Statistics

__all__ = ["statistics"]


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
    from spanwise.meters.statistics import take

    distro = sys.modules.get("spanwise.distro")
    launched = distro.current if distro is not None else None
    return take(launched.sampler if launched is not None else None)
