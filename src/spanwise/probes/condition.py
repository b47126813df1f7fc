"""Whether the process is well: the metric rules of the thresholds, as the process's own alerts hold them."""

from __future__ import annotations

import math
import time as clock
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, Final, Protocol

from spanwise.meters.sampler import Sampler
from spanwise.rules.model import MetricRule

__all__ = ["Firing", "Health", "Issue", "take"]

HEALTHY: Final = "healthy"
UNKNOWN: Final = "unknown"
# What an issue of a severity makes of the whole. One of severity info is told, and changes nothing.
_MAKES: Final = {"critical": "critical", "warning": "warning"}
_WORST_FIRST: Final = ("critical", "warning", "info")

# After so many missing samples the newest says nothing of now: a thread that hangs, or was never started.
_MISSED: Final = 3
_PATIENCE: Final = 10.0


class Firing(Protocol):
    """An alert that fires. The alerts decide when; nothing here holds a figure against a limit."""

    rule: MetricRule
    value: float
    since: float
    """When the limit was first passed, on the clock of the history."""


@dataclass(frozen=True)
class Issue:
    """A rule whose limit is passed.

    Attributes:
        name: the rule's name in the thresholds file.
        severity: ``critical``, ``warning`` or ``info``; the worst of its name.
        metric: what it is about.
        value: the figure, the highest where it is about several series.
        limit: what it may be.
        unit: of both, in UCUM; ``1`` for a share.
        seconds: for how long.
    """

    name: str
    severity: str
    metric: str
    value: float
    limit: float
    unit: str
    seconds: float


@dataclass(frozen=True)
class Health:
    """How well the process is.

    Attributes:
        status: ``healthy``, ``warning``, ``critical``, or ``unknown`` where nothing was sampled (yet).
        issues: the rules whose limits are passed, the worst first.
        service: the service's name; empty without telemetry.
        time: when it was asked, in seconds since 1970.
        reason: why it is unknown, and empty otherwise.
    """

    status: str
    issues: tuple[Issue, ...] = ()
    service: str = ""
    time: float = 0.0
    reason: str = ""

    def as_dict(self) -> dict[str, Any]:
        """The same as plain dictionaries, lists, numbers and strings, for JSON."""
        found = asdict(self)
        found["issues"] = [
            # JSON has no infinity, which a ratio can be.
            {
                key: str(each) if isinstance(each, float) and not math.isfinite(each) else each
                for key, each in issue.items()
            }
            for issue in found["issues"]
        ]
        return found


def take(sampler: Sampler | None, firing: Iterable[Firing] | None, service: str = "") -> Health:
    """The health as of the newest sample.

    Args:
        sampler: takes the samples; None where none are taken.
        firing: the alerts that fire; None where there are no alerts.
        service: the service's name.
    """
    now = clock.time()
    reason = _silent(sampler)
    if firing is None or reason:
        reason = reason or "the alerts of the process did not begin: its log says why"
        return Health(UNKNOWN, (), service, now, reason)
    found: dict[str, Issue] = {}
    for each in sorted(
        firing, key=lambda one: (_WORST_FIRST.index(one.rule.severity), one.rule.name, -one.value)
    ):
        found.setdefault(each.rule.name, _issue(each))
    issues = tuple(found.values())
    status = next((_MAKES[each.severity] for each in issues if each.severity in _MAKES), HEALTHY)
    return Health(status, issues, service, now)


def _issue(firing: Firing) -> Issue:
    rule = firing.rule
    return Issue(
        rule.name,
        rule.severity,
        rule.series.metric,
        firing.value,
        rule.limit,
        rule.unit,
        max(0.0, clock.monotonic() - firing.since),
    )


def _silent(sampler: Sampler | None) -> str:
    if sampler is None:
        return "no metrics are sampled: telemetry is not started, or history: keeps no samples"
    if not sampler.history.samples:
        return f"no samples yet: there is one every {sampler.interval:g} s"
    age = clock.monotonic() - sampler.history.newest
    if age > _MISSED * sampler.interval + _PATIENCE:
        return f"no sample for {age:.0f} s: what takes them hangs"
    return ""
