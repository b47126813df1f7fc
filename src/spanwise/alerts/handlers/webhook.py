"""``webhook``: spanwise's own body, to any URL."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from spanwise.alerts.handlers.post import address, post
from spanwise.alerts.notification import Notification
from spanwise.rules.alerting import Handler

__all__ = ["body", "webhook"]

_VERSION: Final = 1


def webhook(handler: Handler) -> Callable[[Notification], None]:
    """What tells a URL."""
    where = address(handler)
    return lambda notification: post(where(), body(notification))


def body(notification: Notification) -> dict[str, Any]:
    """All that a notification says."""
    return {"version": _VERSION, **notification.as_dict()}
