"""Functions of the application that are told of alerts. Imports nothing: `import spanwise` has it."""

from __future__ import annotations

TYPE_CHECKING = False  # typing is not imported for it: every start of `spanwise run` would pay
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeVar

    from spanwise.alerts.notification import Notification

    Listener = TypeVar("Listener", bound=Callable[[Notification], Any])

__all__ = ["LISTENERS", "off_alert", "on_alert"]

# Each has a thread once an alert was told. More are a mistake: one that is made anew again and again.
_MOST = 32

LISTENERS: list[Callable[[Notification], Any]] = []
"""Those that were given, each once."""


def on_alert(function: Listener) -> Listener:
    """Has a function called with each :class:`~spanwise.alerts.notification.Notification` of an alert.

    It is called on a thread of its own, one notification after the other, of every severity, whatever
    handlers the thresholds file has. If it raises or hangs, that costs a warning, and nobody else waits.

    Args:
        function: takes the notification. Given twice, it is called once. Beyond 32 it is refused with a
            warning: give it where it is made once, or take it back with :func:`off_alert`.

    Returns:
        The function, so that this can be its decorator. What cannot be called is refused with a warning.

    Example:
        >>> import spanwise
        >>> @spanwise.on_alert
        ... def page(alert):
        ...     print(alert.severity, alert.name, alert.status)
    """
    if not callable(function):
        from spanwise.log import Log

        Log("spanwise.alerts.listeners").warning(
            "spanwise.on_alert takes a function, not %s", type(function).__name__
        )
        return function
    if _known(function):
        return function
    if len(LISTENERS) < _MOST:
        LISTENERS.append(function)
    else:
        from spanwise.log import Log

        Log("spanwise.alerts.listeners").warning(
            "spanwise.on_alert has %d functions already, so %s is not told of alerts: take back those "
            "that are no longer needed with spanwise.off_alert",
            _MOST,
            getattr(function, "__qualname__", type(function).__qualname__),
        )
    return function


def off_alert(function: Callable[[Notification], Any]) -> None:
    """Has a function no longer called. One that is being called goes on; what waits for it is not told.

    Args:
        function: as it was given to :func:`on_alert`. One that was not changes nothing.
    """
    if _known(function):
        LISTENERS.remove(function)


def _known(function: object) -> bool:
    try:
        return function in LISTENERS
    except Exception:  # whoever compares itself to others in a way of its own
        return False
