"""What every process has: meters of itself, its machine, its container and its interpreter, and a history."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from opentelemetry.metrics import MeterProvider

from spanwise import names
from spanwise.log import Log
from spanwise.meters.history import History
from spanwise.meters.sampler import Sampler
from spanwise.meters.watched import WATCHED

__all__ = ["observe", "sampler"]

_logger = Log("spanwise.meters")


def observe(provider: MeterProvider) -> None:
    """Makes the observable instruments. A group that cannot be made on this platform costs one debug line.

    Args:
        provider: whose readers collect them.
    """
    # Here, not above: the sampler has this run when the application has started.
    from spanwise.meters import container, process, runtime, system

    limits = container.Container()
    for scope, begin in (
        (names.SCOPE_PROCESS, lambda meter: process.observe(meter, limits)),
        (names.SCOPE_SYSTEM, lambda meter: system.observe(meter, limits)),
        (names.SCOPE_CONTAINER, lambda meter: container.observe(meter, limits)),
        (names.SCOPE_RUNTIME, runtime.observe),
    ):
        try:
            begin(provider.get_meter(scope))
        except Exception as error:
            _logger.debug("no metrics of %s: %r", scope, error)


def sampler(
    provider: MeterProvider,
    collect: Callable[[], Any] | None,
    kept: Mapping[str, int],
    *,
    of_process: bool,
    wanted: Callable[[], bool] = lambda: True,
) -> Sampler | None:
    """What samples the metrics into a history, and makes the meters of :func:`observe` after the start.

    Args:
        provider: whose metrics they are.
        collect: as for :class:`Sampler`; None where no history is wanted. Then the meters are made now.
        kept: ``interval`` in nanoseconds and ``samples``, as the thresholds have them.
        of_process: whether those meters are made at all.
        wanted: asked at the end of a process that had not made them yet: whether they are collected then.
    """
    if collect is None:
        if of_process:
            observe(provider)
        return None
    prepare = (lambda: observe(provider)) if of_process else None
    history = History(kept["samples"], WATCHED)
    return Sampler(collect, kept["interval"] / 1e9, history, prepare, wanted=wanted)
