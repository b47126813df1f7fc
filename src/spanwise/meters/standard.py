"""The meters that every process has: its own, its machine's, its container's, its interpreter's."""

from __future__ import annotations

import logging

from opentelemetry.metrics import MeterProvider

from spanwise import names
from spanwise.meters import container, process, runtime, system

__all__ = ["observe"]

_logger = logging.getLogger("spanwise.meters")


def observe(provider: MeterProvider) -> None:
    """Makes their observable instruments. A group that cannot be made on this platform costs one debug line.

    Args:
        provider: whose readers collect them.
    """
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
