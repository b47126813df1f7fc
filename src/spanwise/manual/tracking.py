"""What :class:`spanwise.manual.controllers.Controllers` does, once it is used."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from opentelemetry.trace import get_current_span

from spanwise import names
from spanwise.instrumentors._failure import told_message, type_name
from spanwise.manual.measured import Measured
from spanwise.manual.parts import parts
from spanwise.manual.told import guarded, is_amount, shown, suggestion, tell, text
from spanwise.meters.controllers import FAILED, LOADING, READY, STATES, ControllerCounts

__all__ = ["Disposal", "Loading", "change", "counts", "dispose", "get_limit", "set_limit", "track"]


def track(controller: object, id: object, state: str) -> None:  # noqa: A002
    """See :meth:`Controllers.track`."""
    guarded("track a controller", _track, controller, id, state)


def _track(controller: object, id: object, state: str) -> None:  # noqa: A002
    if state not in STATES:
        raise ValueError(f"{shown(state)} is no state of a controller. {suggestion(state, STATES)}")
    meter = parts().controllers
    known = meter.table.get(controller)
    name = text(id) if id is not None else known.name if known is not None else ""
    try:
        meter.put(controller, name, state)
    except TypeError:
        kind = type(controller).__qualname__
        raise ValueError(
            f"a {kind} cannot be referenced weakly. Track the object that holds it, or add '__weakref__' to "
            "its __slots__"
        ) from None


def change(controller: object, state: str) -> None:
    """See :meth:`Controllers.ready`."""
    guarded("change a controller's state", _change, controller, state)


def _change(controller: object, state: str) -> None:
    meter = parts().controllers
    known = meter.table.get(controller)
    # What was disposed of while it was loading must not come back.
    if known is not None:
        meter.put(controller, known.name, state)


def dispose(controller: object, error: BaseException | str | None) -> None:
    """See :meth:`Controllers.disposed`."""
    guarded("note a controller's disposal", _dispose, controller, error)


def _dispose(controller: object, error: BaseException | str | None) -> None:
    meter = parts().controllers
    known = meter.table.get(controller)
    meter.table.remove(controller)
    if error is None:
        return
    meter.disposal_failed()
    span = get_current_span()
    if span.is_recording():
        about = {names.CONTROLLER_ID: known.name if known is not None else ""}
        if isinstance(error, BaseException):
            about[names.EXCEPTION_TYPE] = type_name(error)
            about[names.EXCEPTION_MESSAGE] = told_message(error)
        else:
            about[names.EXCEPTION_MESSAGE] = text(error)
        span.add_event(names.CONTROLLER_DISPOSAL_ERROR_EVENT, about)


def counts() -> ControllerCounts:
    """See :meth:`Controllers.counts`."""
    return parts().controllers.counts()


def get_limit() -> int | None:
    """See :attr:`Controllers.limit`."""
    return parts().controllers.limit


def set_limit(limit: int | None) -> None:
    """See :attr:`Controllers.limit`."""
    if limit is not None and not (is_amount(limit) and isinstance(limit, int)):
        tell(f"the limit of controllers is a number from 0 on, or None, not {shown(limit)}")
        return
    parts().controllers.limit = limit


class _OfController(Measured):
    """Something that is done with a controller."""

    current = False

    def __init__(self, controller: object) -> None:
        super().__init__()
        self._controller = controller

    def _take(self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        if self._controller is None and args:
            self._controller = args[0]


class Loading(_OfController):
    """See :meth:`Controllers.loading`."""

    what = "controller's loading"

    def _begin(self) -> None:
        _track(self._controller, None, LOADING)

    def _finish(self, error: BaseException | None, failed: bool, message: str) -> None:
        _change(self._controller, FAILED if failed else READY)


class Disposal(_OfController):
    """See :meth:`Controllers.disposal`."""

    what = "controller's disposal"

    def _finish(self, error: BaseException | None, failed: bool, message: str) -> None:
        _dispose(self._controller, (error or message or "it failed") if failed else None)
