"""Functions of the application that are told of alerts. Imports nothing: `import spanwise` has it."""

from __future__ import annotations

TYPE_CHECKING = False  # typing is not imported for it: every start of `spanwise run` would pay
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeVar

    from spanwise.alerts.notification import Notification

    Listener = TypeVar("Listener", bound=Callable[[Notification], Any])

__all__ = ["LISTENERS", "on_alert"]

LISTENERS: list[Callable[[Notification], Any]] = []
"""Those that were given, each once."""


def on_alert(function: Listener) -> Listener:
    """Has a function called with each :class:`~spanwise.alerts.notification.Notification` of an alert.

    It is called on a thread of its own, one notification after the other, of every severity, whatever
    handlers the thresholds file has. If it raises or hangs, that costs a warning, and nobody else waits.

    Args:
        function: takes the notification. Given twice, it is called once.

    Returns:
        The function, so that this can be its decorator.

    Raises:
        TypeError: it cannot be called.

    Example:
        >>> import spanwise
        >>> @spanwise.on_alert
        ... def page(alert):
        ...     print(alert.severity, alert.name, alert.status)
    """
    if not callable(function):
        raise TypeError(f"spanwise.on_alert takes a function, not {type(function).__name__}")
    if function not in LISTENERS:
        LISTENERS.append(function)
    return function
