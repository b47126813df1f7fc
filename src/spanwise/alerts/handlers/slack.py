"""``slack``: a message as an incoming webhook takes it.

https://api.slack.com/messaging/webhooks; what must be escaped:
https://api.slack.com/reference/surfaces/formatting#escaping
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from spanwise.alerts.handlers.post import address, post
from spanwise.alerts.notification import Notification
from spanwise.rules.alerting import Handler

__all__ = ["body", "slack"]

_MOST_SERIES: Final = 10


def slack(handler: Handler) -> Callable[[Notification], None]:
    """What tells an incoming webhook."""
    where = address(handler)
    return lambda notification: post(where(), body(notification))


def body(notification: Notification) -> dict[str, Any]:
    """A title, as the generated Alertmanager configuration has it, and a line a series."""
    title = f"{notification.severity}: {notification.name} {notification.status}"
    lines = [f"*{_plain(title)}*", _plain(notification.summary)]
    for each in notification.series[:_MOST_SERIES]:
        if each.attributes:
            labels = ", ".join(f"{key}={value}" for key, value in each.attributes.items())
            lines.append(_plain(f"{labels}: {notification.figure_text(each.value)}"))
    return {"text": "\n".join(lines)}


def _plain(text: str) -> str:
    # <!channel> in a rule's name would call everybody.
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
