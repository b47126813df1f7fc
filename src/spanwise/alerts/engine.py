"""Alerts in the process: after each sample of the metrics, the rules are held against it, and who is to know
is told."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

from opentelemetry.metrics import CallbackOptions, Meter, Observation

from spanwise import names
from spanwise.alerts.announcing import Announcing, Told
from spanwise.alerts.figures import Labels, figures, watches
from spanwise.alerts.handlers.table import HANDLERS
from spanwise.alerts.listeners import LISTENERS
from spanwise.alerts.notification import Notification, Series
from spanwise.alerts.outbox import Outbox
from spanwise.alerts.states import State
from spanwise.instruments import make
from spanwise.log import Log
from spanwise.meters.history import History
from spanwise.rules.alerting import Alerting
from spanwise.rules.model import MetricRule

__all__ = ["Alerts", "Firing", "Sent", "observe"]

_logger = Log("spanwise.alerts.outbox")


class Sent(NamedTuple):
    """What became of a handler's notifications."""

    sent: int
    failed: int
    dropped: int


class Firing(NamedTuple):
    """An alert that fires for a series.

    Attributes:
        rule: of one severity.
        value: the figure that was last above the limit.
        since: when it was first, on the clock of the samples.
    """

    rule: MetricRule
    value: float
    since: float


class Alerts:
    """The alerts of one process. A forked child begins with none.

    Args:
        rules: those that can be held in the process.
        alerting: who is told, and how often.
        history: of the metrics; what the rules are about is watched in it.
        service: the service's name.
        wall: seconds since 1970.
    """

    def __init__(
        self,
        rules: Iterable[MetricRule],
        alerting: Alerting,
        history: History,
        service: str,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._history = history
        self._service = service
        self._wall = wall
        self._states = [State(rule) for rule in rules]
        self._announcing = Announcing(self._states, alerting)
        self._outboxes = _outboxes(alerting)
        self._functions: list[tuple[Any, Outbox]] = []
        self._before: dict[str, Sent] = {}  # what became of those of functions that were taken back
        for rule in (state.rule for state in self._states):
            for watch in watches(rule):
                history.watch(watch)

    def sampled(self, now: float) -> None:
        """Takes the history's newest sample.

        Args:
            now: its time.
        """
        for state in self._states:
            try:
                found = figures(state.rule, self._history)
            except Exception as error:  # a metric of a shape that no rule is about costs its rules alone
                _logger.debug("%s has no figure: %r", state.rule.name, error)
                found = {}
            state.sample(now, found)
        for told in self._announcing.sample(now, self._wall()):
            self._tell(self._notification(told))

    def firing(self) -> list[Firing]:
        """What fires as of the newest sample, a series each."""
        found = []
        for state in self._states:
            since = state.since
            found += [
                Firing(state.rule, value, since[labels])
                for labels, value in state.firing.items()
                if labels in since
            ]
        return found

    def active(self) -> dict[tuple[str, str], int]:
        """For how many series each alert fires, by name and severity."""
        return {(each.rule.name, each.rule.severity): len(each.firing) for each in self._states}

    def notifications(self) -> dict[str, Sent]:
        """What became of the notifications, by handler. Functions of one name are one handler."""
        found = dict(self._before)
        for box in (*self._outboxes, *(box for _, box in list(self._functions))):
            found[box.name] = _sum(found.get(box.name), box)
        return found

    def _tell(self, notification: Notification) -> None:
        listening = list(LISTENERS)
        for each in [each for each in self._functions if each[0] not in listening]:
            self._functions.remove(each)
            box = each[1]
            box.end()
            self._before[box.name] = _sum(self._before.get(box.name), box)
        known = [function for function, _ in self._functions]
        for function in listening:
            if function not in known:
                name = getattr(function, "__qualname__", type(function).__qualname__)
                self._functions.append((function, Outbox(name, function)))
        for box in (*self._outboxes, *(box for _, box in self._functions)):
            box.put(notification)

    def _notification(self, told: Told) -> Notification:
        state, status, series, since, ended = told
        found = _highest_first(series)
        rule = state.rule
        return Notification(
            name=rule.name,
            severity=rule.severity,
            status=status,
            metric=rule.series.metric,
            unit=rule.unit,
            limit=rule.limit,
            value=found[0].value,
            since=since,
            time=self._wall(),
            series=found,
            service=self._service,
            host=platform.node(),
            pid=os.getpid(),
            form=rule.form,
            ended=_highest_first(ended),
        )


def _highest_first(series: dict[Labels, float]) -> tuple[Series, ...]:
    ordered = sorted(series.items(), key=lambda each: (-each[1], each[0]))
    return tuple(Series(dict(labels), value) for labels, value in ordered)


def _sum(before: Sent | None, box: Outbox) -> Sent:
    sent, failed, dropped = before or (0, 0, 0)
    return Sent(sent + box.sent, failed + box.failed, dropped + box.dropped)


def _outboxes(alerting: Alerting) -> list[Outbox]:
    return [
        Outbox(handler.name, HANDLERS[handler.type](handler), handler.severities)
        for handler in alerting.handlers
        if handler.by in ("", "process")
    ]


def observe(meter: Meter, current: Callable[[], Alerts]) -> None:
    """Makes the metrics of alerts.

    Args:
        meter: makes them.
        current: the alerts of the process; another's after a fork.
    """

    def active(_: CallbackOptions) -> Iterator[Observation]:
        alerts = current()
        for (name, severity), count in alerts.active().items():
            yield Observation(count, {names.ALERT_NAME: name, names.ALERT_SEVERITY: severity})

    def notifications(_: CallbackOptions) -> Iterator[Observation]:
        alerts = current()
        for handler, sent in alerts.notifications().items():
            for outcome, count in sent._asdict().items():
                yield Observation(count, {names.ALERT_HANDLER: handler, names.ALERT_OUTCOME: outcome})

    make(meter, names.ALERTS_ACTIVE, active)
    make(meter, names.ALERTS_NOTIFICATIONS, notifications)
