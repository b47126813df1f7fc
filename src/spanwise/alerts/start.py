"""Begins the alerts of a process, once its history begins."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from opentelemetry.metrics import MeterProvider

from spanwise import names

if TYPE_CHECKING:
    from spanwise.alerts.engine import Alerts, Firing
    from spanwise.meters.sampler import Sampler

__all__ = ["attach"]


def attach(
    sampler: Sampler, read: Callable[[], tuple[Any, ...]], provider: MeterProvider, service: str
) -> Callable[[], list[Firing] | None]:
    """Has the alerts follow the samples. Costs the start nothing: all else happens on the sampler's thread.

    Args:
        sampler: whose history they are about.
        read: the rules that hold in this process.
        provider: makes the metrics of the alerts.
        service: the service's name.

    Returns:
        What says which alerts fire; None before they have begun.
    """
    now: list[Alerts] = []

    def begin() -> None:
        # Here, not above: it takes 30 ms to import, and a process may end before its first sample.
        from spanwise.alerts import engine
        from spanwise.rules.alerting import Alerting
        from spanwise.rules.local import in_process
        from spanwise.rules.model import History

        rules = read()
        alerting = next(rule for rule in rules if isinstance(rule, Alerting))
        kept = next(rule for rule in rules if isinstance(rule, History))
        first = not now
        # After a fork, too: what fired in the parent is the parent's to tell.
        now[:] = [engine.Alerts(in_process(rules, kept), alerting, sampler.history, service)]
        if first:
            engine.observe(provider.get_meter(names.SCOPE_ALERTS), lambda: now[0])

    def sampled(time: float) -> None:
        if now:
            now[0].sampled(time)

    sampler.listen(sampled, begin)
    return lambda: now[0].firing() if now else None
