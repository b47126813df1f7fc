"""Whether an alert fires, sample by sample, as Prometheus decides with ``for`` and ``keep_firing_for``."""

from __future__ import annotations

from spanwise.alerts.figures import Figures, Labels
from spanwise.rules.model import MetricRule

__all__ = ["State"]


class _Above:
    """A series that is above the limit, or was within the hold.

    Attributes:
        since: when it was first above.
        value: when it was last above.
        firing: whether it has been for the hold.
        kept: since when it fires without being above; None while it is.
    """

    __slots__ = ("firing", "kept", "since", "value")

    def __init__(self, since: float) -> None:
        self.since = since
        self.value = 0.0
        self.firing = False
        self.kept: float | None = None


class State:
    """One rule's.

    Args:
        rule: of one severity.
    """

    def __init__(self, rule: MetricRule) -> None:
        self.rule = rule
        self._hold = rule.hold / 1e9
        self._above: dict[Labels, _Above] = {}

    @property
    def firing(self) -> dict[Labels, float]:
        """The series it fires for, with the value that each last had above the limit."""
        return {labels: each.value for labels, each in list(self._above.items()) if each.firing}

    @property
    def since(self) -> dict[Labels, float]:
        """When each of these series was first above the limit, in seconds of the samples' clock."""
        return {labels: each.since for labels, each in list(self._above.items()) if each.firing}

    def sample(self, now: float, found: Figures) -> None:
        """Takes the figures of a sample. A series that is gone, or not a number, is not above the limit."""
        for labels, value in found.items():
            if value > self.rule.limit:
                above = self._above.setdefault(labels, _Above(now))
                above.value, above.kept = value, None
        for labels, above in list(self._above.items()):
            if not found.get(labels, self.rule.limit) > self.rule.limit:
                if above.kept is None:
                    above.kept = now
                # One sample below does not end what has been above for minutes: it is to be below as long.
                if not above.firing or now - above.kept >= self._hold:
                    del self._above[labels]
                    continue
            if now - above.since >= self._hold:
                above.firing = True
