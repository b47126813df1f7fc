"""Handlers by their type in the thresholds file. Another is a file beside this one, and a line here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from spanwise.alerts.handlers import event, log
from spanwise.alerts.handlers.file import JsonLines
from spanwise.alerts.handlers.pagerduty import pagerduty
from spanwise.alerts.handlers.slack import slack
from spanwise.alerts.handlers.webhook import webhook
from spanwise.alerts.notification import Notification
from spanwise.rules.alerting import Handler

__all__ = ["HANDLERS"]

HANDLERS: Final[Mapping[str, Callable[[Handler], Callable[[Notification], Any]]]] = {
    "log": lambda handler: log.write,
    "file": lambda handler: JsonLines(handler.address),
    "event": lambda handler: event.emit,
    "webhook": webhook,
    "slack": slack,
    "pagerduty": pagerduty,
}
