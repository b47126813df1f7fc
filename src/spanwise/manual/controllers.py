"""Controllers: what holds much and must not become too many. Imports nothing before the first call."""

from __future__ import annotations

from spanwise.manual.nothing import imported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, TypeVar

    from spanwise.manual.tracking import Disposal, Loading
    from spanwise.meters.controllers import ControllerCounts

    T = TypeVar("T")

__all__ = ["Controllers"]


class Controllers:
    """Tracks controllers without keeping them alive; ``spanwise.controllers`` is the process's.

    A controller is any object that can be referenced weakly. It is tracked until it is disposed of or dies.
    Metrics: ``controller.active`` (the total, which the shipped thresholds watch), ``controller.count`` by
    ``controller.state``, ``controller.limit`` and ``controller.disposal.errors``. Nothing here raises; a
    wrong argument costs one warning.

    Example:
        >>> import spanwise
        >>> class Player:
        ...     def __init__(self):
        ...         spanwise.controllers.track(self, "track-17")
        ...
        ...     @spanwise.controllers.loading()
        ...     def load(self): ...
        ...
        ...     @spanwise.controllers.disposal()
        ...     def close(self): ...
    """

    def track(self, controller: T, id: object = None, state: str = "loading") -> T:  # noqa: A002
        """Tracks a controller, or changes what is known of one that is tracked.

        Args:
            controller: any object that can be referenced weakly.
            id: for span events about it, never for metrics; what it was before, or empty, by default.
            state: ``loading``, ``ready`` or ``failed``.

        Returns:
            The controller.
        """
        self._do("track", controller, id, state)
        return controller

    def ready(self, controller: object) -> None:
        """It can be used. Changes nothing where it is not tracked, or no longer."""
        self._do("change", controller, "ready")

    def failed(self, controller: object) -> None:
        """It could not be loaded and is still held. Changes nothing where it is not tracked, or no longer."""
        self._do("change", controller, "failed")

    def disposed(self, controller: object, error: BaseException | str | None = None) -> None:
        """It was given up and is tracked no longer.

        Args:
            controller: which.
            error: what went wrong in that, if anything: counted in ``controller.disposal.errors``, and an
                event on the current span.
        """
        self._do("dispose", controller, error)

    def loading(self, controller: object = None) -> Loading:
        """For ``with``, or as decorator of its method: loading within, then ready, or failed if that raises.

        Args:
            controller: which; as decorator the method's own object, ``self``.
        """
        made: Loading = self._make("Loading", controller)
        return made

    def disposal(self, controller: object = None) -> Disposal:
        """The same for its disposal: afterwards it is tracked no longer, and what is raised is counted.

        Args:
            controller: which; as decorator the method's own object, ``self``.
        """
        made: Disposal = self._make("Disposal", controller)
        return made

    @property
    def limit(self) -> int | None:
        """How many may be held, as the metric ``controller.limit``; None, as at first, says nothing.

        It is observed, not enforced; the thresholds say when too many is an alert.
        """
        found = self._do("get_limit")
        return found if isinstance(found, int) else None

    @limit.setter
    def limit(self, limit: int | None) -> None:
        self._do("set_limit", limit)

    def counts(self) -> ControllerCounts | None:
        """How many there are now, by state, with the limit and the disposals that failed.

        Returns:
            None where OpenTelemetry cannot be imported.
        """
        found = self._do("counts")
        counts: ControllerCounts | None = found if hasattr(found, "_fields") else None
        return counts

    def _do(self, function: str, *arguments: Any) -> Any:
        return imported("tracking", function, *arguments)

    _make = _do
