"""``log``: a line of the logger ``spanwise.alerts``."""

from __future__ import annotations

import logging

from spanwise.alerts.notification import Notification

__all__ = ["write"]

_logger = logging.getLogger("spanwise.alerts")
_LEVELS = {"critical": logging.ERROR, "warning": logging.WARNING, "info": logging.INFO}


def write(notification: Notification) -> None:
    """Logs it: critical as an error, a warning as such, the rest and what is resolved as information."""
    firing = notification.status == "firing"
    level = _LEVELS[notification.severity] if firing else logging.INFO
    _logger.log(level, "%s alert: %s", notification.severity, notification.summary)
