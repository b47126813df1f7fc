"""``event``: an OpenTelemetry log event, to wherever the process's logs go.

https://opentelemetry.io/docs/specs/otel/logs/data-model/#field-eventname
"""

from __future__ import annotations

from typing import Final

from opentelemetry._logs import LogRecord, SeverityNumber, get_logger

from spanwise import names
from spanwise.alerts.notification import Notification

__all__ = ["emit"]

_SEVERITIES: Final = {
    "critical": SeverityNumber.ERROR,
    "warning": SeverityNumber.WARN,
    "info": SeverityNumber.INFO,
}


def emit(notification: Notification) -> None:
    """Emits it. Its severity is as the log's; where no logs are exported, it goes nowhere."""
    firing = notification.status == "firing"
    severity = _SEVERITIES[notification.severity] if firing else SeverityNumber.INFO
    get_logger(names.SCOPE_ALERTS).emit(
        LogRecord(
            timestamp=round(notification.time * 1e9),
            severity_number=severity,
            severity_text=severity.name,
            body=notification.summary,
            event_name=names.EVENT_ALERT,
            attributes={
                names.ALERT_NAME: notification.name,
                names.ALERT_SEVERITY: notification.severity,
                names.ALERT_STATUS: notification.status,
                names.ALERT_METRIC: notification.metric,
                names.ALERT_VALUE: notification.value,
                names.ALERT_LIMIT: notification.limit,
            },
        )
    )
