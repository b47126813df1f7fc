"""``pagerduty``: an event of PagerDuty's Events API v2.

https://developer.pagerduty.com/docs/events-api-v2/trigger-events/
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from datetime import datetime, timezone
from typing import Any, Final

from spanwise.alerts.handlers.post import address, post
from spanwise.alerts.handlers.webhook import body as details
from spanwise.alerts.notification import Notification
from spanwise.rules.alerting import Handler

__all__ = ["ENDPOINT", "body", "pagerduty"]

ENDPOINT: Final = "https://events.pagerduty.com/v2/enqueue"
_LONGEST_SUMMARY: Final = 1024  # PagerDuty's own


def pagerduty(handler: Handler, endpoint: str = ENDPOINT) -> Callable[[Notification], None]:
    """What tells PagerDuty; the handler's address is the integration's key."""
    key = address(handler)
    return lambda notification: post(endpoint, body(notification, key()))


def body(notification: Notification, key: str) -> dict[str, Any]:
    """Opens an incident, or resolves it. There is one a service, machine, alert and severity."""
    # Not one a process: a worker that was killed could never resolve its own. So the first of several workers
    # that is well again resolves it, until the next notification of one that is not.
    incident = json.dumps(
        [notification.service, notification.host, notification.name, notification.severity]
    ).encode()
    return {
        "routing_key": key,
        "event_action": "trigger" if notification.status == "firing" else "resolve",
        "dedup_key": f"spanwise-{hashlib.sha256(incident).hexdigest()[:40]}",
        "payload": {
            "summary": notification.summary[:_LONGEST_SUMMARY],
            "source": notification.host,
            "component": notification.service,
            "severity": notification.severity,  # PagerDuty has the same words
            "timestamp": datetime.fromtimestamp(notification.time, timezone.utc).isoformat(),
            "class": notification.metric,
            "custom_details": details(notification),
        },
    }
