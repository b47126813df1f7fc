"""Who is told of alerts, and how often: neutral, as the rules are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

__all__ = ["SEVERITIES", "Alerting", "Handler", "Severity"]

Severity: TypeAlias = Literal["critical", "warning", "info"]

SEVERITIES: Final[tuple[Severity, ...]] = ("critical", "warning", "info")
"""Worst first."""


@dataclass(frozen=True, slots=True)
class Handler:
    """One that is told.

    Attributes:
        name: its name in the file.
        type: ``webhook``, ``slack`` or ``pagerduty``: the shape of what Alertmanager and the process send it;
            or ``log``, ``event`` or ``file``, which the process alone tells.
        address: a URL, PagerDuty's integration key, or the path of a ``file``; empty where the attribute
            ``file`` names where it is, and for what needs none.
        file: the file, on the machine that tells, which holds the address, so that a secret need not stand
            in the thresholds; empty for none.
        severities: those it is told of, worst first.
        by: who tells it: ``process`` or ``alertmanager``; empty for both, where both can.
    """

    name: str
    type: str
    address: str = ""
    file: str = ""
    severities: tuple[str, ...] = SEVERITIES
    by: str = ""


@dataclass(frozen=True, slots=True)
class Alerting:
    """How alerts are told.

    Attributes:
        throttle: nanoseconds; an alert that changes is not told again within it.
        repeat: nanoseconds; an alert that goes on is told again after it.
        handlers: who is told, by name.
    """

    throttle: int
    repeat: int
    handlers: tuple[Handler, ...]
