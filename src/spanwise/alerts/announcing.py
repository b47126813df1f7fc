"""What is told of alerts, and when: as the generated Alertmanager configuration tells it.

Alerts of one name and severity are told together. The first at once; what changes within the throttle, after
it, so that one that comes and goes is told of once; one that goes on, again after the repeat. While a worse
severity of the same name fires, nothing is told of the milder ones.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from spanwise.alerts.figures import Labels
from spanwise.alerts.states import State
from spanwise.rules.alerting import SEVERITIES, Alerting

__all__ = ["Announcing", "Told"]

Told = tuple[State, str, dict[Labels, float], float, dict[Labels, float]]
"""Of which alert, ``firing`` or ``resolved``, for which series, since when it fires, and which series it was
last told for and fires for no longer: whoever keeps a record a series would never close theirs."""


class _Group:
    """What was told of an alert.

    Attributes:
        state: the alert.
        told: the series with which it was last told as firing; None where it was not, or was resolved since.
        at: when anything was last told of it.
        since: when it began to fire.
    """

    def __init__(self, state: State) -> None:
        self.state = state
        self.told: dict[Labels, float] | None = None
        self.at: float | None = None
        self.since: float | None = None


class Announcing:
    """Decides after each sample.

    Args:
        states: the alerts.
        alerting: throttle and repeat.
    """

    def __init__(self, states: Iterable[State], alerting: Alerting) -> None:
        self._throttle = alerting.throttle / 1e9
        self._repeat = alerting.repeat / 1e9
        self._groups = [_Group(each) for each in states]

    def sample(self, now: float, wall: float) -> Iterator[Told]:
        """What is to be told now, worst first.

        Args:
            now: the sample's time.
            wall: the same in seconds since 1970.
        """
        inhibited: set[str] = set()
        for group in sorted(self._groups, key=lambda each: SEVERITIES.index(each.state.rule.severity)):
            name, firing = group.state.rule.name, group.state.firing
            if firing and group.since is None:
                group.since = wall
            if name not in inhibited:
                yield from self._group(group, firing, now, wall)
            if firing:
                inhibited.add(name)
            elif group.told is None:
                group.since = None

    def _group(self, group: _Group, firing: dict[Labels, float], now: float, wall: float) -> Iterator[Told]:
        passed = self._throttle if group.at is None else now - group.at
        if passed < self._throttle:
            return
        since = group.since if group.since is not None else wall
        if firing:
            before = group.told or {}
            if firing.keys() != before.keys() or passed >= self._repeat:
                ended = {labels: value for labels, value in before.items() if labels not in firing}
                group.told, group.at = firing, now
                yield group.state, "firing", firing, since, ended
        elif group.told is not None:
            told, group.told, group.at = group.told, None, now
            yield group.state, "resolved", told, since, {}
