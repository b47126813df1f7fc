"""What the API gives where OpenTelemetry cannot be imported: the application runs, nothing is recorded."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["Nothing", "imported"]

_told = False
_found: dict[str, Any] = {}


class Nothing:
    """Stands for any object of the API."""

    def __call__(self, *arguments: Any, **_: Any) -> Any:
        """As a decorator it leaves the function alone."""
        return arguments[0] if len(arguments) == 1 and callable(arguments[0]) else self

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):  # what Python and libraries look for, and NamedTuples have
            raise AttributeError(name)
        return self

    def __enter__(self) -> Nothing:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    async def __aenter__(self) -> Nothing:
        return self

    async def __aexit__(self, *_: object) -> None:
        return None


def imported(module: str, name: str, *arguments: Any) -> Any:
    """Calls what a module of this room has by a name, imported now.

    Returns:
        What it returns; Nothing where it cannot be imported, or raises.
    """
    global _told
    try:
        function = _found.get(name)
        if function is None:
            from spanwise import pending

            pending.now()
            from spanwise.manual.told import guarded

            function = getattr(__import__(f"spanwise.manual.{module}", fromlist=[name]), name)
            # An import statement takes a microsecond each time.
            _found.update({name: function, "guarded": guarded})
    except Exception as error:  # an OpenTelemetry package of a version that does not fit, or half installed
        if not _told:
            _told = True
            from spanwise.log import Log

            Log("spanwise").error("no manual telemetry: it cannot be imported: %r", error)
        return Nothing()
    made = _found["guarded"](f"make a {name}", function, *arguments)
    return Nothing() if made is None else made
