"""What handlers are told of an alert."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

from spanwise.shown import figure

__all__ = ["Notification", "Series"]

# How the semantic conventions call a share: https://opentelemetry.io/docs/specs/semconv/general/naming/
_SHARES: Final = (".utilization", ".ratio")


@dataclass(frozen=True, slots=True)
class Series:
    """One series that an alert fires for.

    Attributes:
        attributes: the metric's, as text; empty for a figure that is a sum.
        value: its figure when it was last above the limit, in the metric's unit.
    """

    attributes: Mapping[str, str]
    value: float


@dataclass(frozen=True, slots=True)
class Notification:
    """An alert fires, goes on firing, or is resolved.

    Attributes:
        name: the thresholds' rule.
        severity: ``critical``, ``warning`` or ``info``.
        status: ``firing`` or ``resolved``.
        metric: what is measured.
        unit: the metric's, as UCUM has it; ``1`` for a share.
        limit: what the figure may be.
        value: the highest figure of all series; when resolved, the highest that it was last told with.
        since: when it began to fire, in seconds since 1970.
        time: when this was said, likewise.
        series: those that it fires for, the highest first; when resolved, those that it fired for.
        service: the service's name.
        host: the machine's name.
        pid: the process that says so. Each process watches its own metrics.
        form: of the figure: ``level``, ``increase``, ``ratio`` or ``quantile``.
        ended: while it goes on firing, those that it was told for the last time, and fires for no longer.
    """

    name: str
    severity: str
    status: str
    metric: str
    unit: str
    limit: float
    value: float
    since: float
    time: float
    series: tuple[Series, ...]
    service: str
    host: str
    pid: int
    form: str
    ended: tuple[Series, ...] = ()

    @property
    def summary(self) -> str:
        """One sentence."""
        limit, value = self.figure_text(self.limit), self.figure_text(self.value)
        if self.status == "resolved":
            return f"{self.name} is no longer above {limit} in {self.service}: it was {value}"
        return f"{self.name} is above {limit} in {self.service}: it is {value}"

    def as_dict(self) -> dict[str, Any]:
        """The same as a dict that JSON can hold, with the summary.

        JSON has no infinity: a ratio of something to nothing is None.
        """
        found = asdict(self)
        for each in (found, *found["series"], *found["ended"]):
            each["value"] = each["value"] if math.isfinite(each["value"]) else None
        return {"summary": self.summary, **found}

    def figure_text(self, value: float) -> str:
        """A figure with its unit, for people."""
        if self._is_share:
            return f"{figure(value * 100, 4)} %"
        if self.unit == "By" and abs(value) >= 1e6:
            return f"{figure(value / 1e6)} MB"
        said = figure(value)
        return said if self.unit in ("", "1") or self.unit.startswith("{") else f"{said} {self.unit}"

    @property
    def _is_share(self) -> bool:
        """Whether it is one of a whole. Of the unit 1 may also be a queue's length."""
        if self.unit != "1" or self.form == "increase":
            return False
        return self.form == "ratio" or self.metric.endswith(_SHARES)
