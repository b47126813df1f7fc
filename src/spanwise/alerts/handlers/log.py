"""``log``: a line of the logger ``spanwise.alerts``."""

from __future__ import annotations

from spanwise.alerts.notification import Notification
from spanwise.log import ERROR, INFO, WARNING, Log

__all__ = ["write"]

_logger = Log("spanwise.alerts")
_LEVELS = {"critical": ERROR, "warning": WARNING, "info": INFO}


def write(notification: Notification) -> None:
    """Logs it: critical as an error, a warning as such, the rest and what is resolved as information."""
    firing = notification.status == "firing"
    level = _LEVELS[notification.severity] if firing else INFO
    _logger.log(level, "%s alert: %s", notification.severity, notification.summary)
