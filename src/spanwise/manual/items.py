"""Items by their id: loaded ahead, or streamed. The id is the span's alone: each item has its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from spanwise.manual.measured import Measured
from spanwise.manual.told import text

__all__ = ["IdOf", "Identified", "is_cancelled", "is_timeout", "size_of"]

IdOf = Callable[..., object]
"""Takes a decorated function's arguments and gives the item's id."""

# Time-outs have no class in common: Python's own, asyncio's and concurrent.futures' before Python 3.11, and
# those of requests, urllib3 and httpx.
_TIMEOUTS: Final = frozenset(("TimeoutError", "Timeout", "TimeoutException"))
# By name, too: importing asyncio takes an application that has no use for it 6 ms of its start.
_CANCELLED: Final = frozenset(("CancelledError", "Cancelled", "GreenletExit"))


def is_timeout(error: BaseException | None) -> bool:
    """Whether an exception says that something took too long."""
    return error is not None and any(each.__name__ in _TIMEOUTS for each in type(error).__mro__)


def is_cancelled(error: BaseException | None) -> bool:
    """Whether an exception says that somebody has no more use for what is under way.

    That of asyncio, anyio, trio and gevent: no Exception, unlike concurrent.futures' of the same name.
    """
    if error is None or isinstance(error, Exception):
        return False
    return any(each.__name__ in _CANCELLED for each in type(error).__mro__)


def size_of(value: object) -> int:
    """Bytes of a bytes-like value or of a text; 0 for anything else."""
    if isinstance(value, (bytes, bytearray)):
        return len(value)
    if isinstance(value, memoryview):
        return value.nbytes
    return len(value.encode("utf-8", "surrogatepass")) if isinstance(value, str) else 0


class Identified(Measured):
    """An item with an id.

    Args:
        id: as a text it goes onto the span; None where ``id_from`` finds it.
        id_from: finds it from a decorated function's arguments.
    """

    def __init__(self, id: object, id_from: IdOf | None) -> None:  # noqa: A002
        super().__init__()
        self._id = "" if id is None else text(id)
        self._id_from = id_from

    def _take(self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        if self._id_from is not None:
            self._id = text(self._id_from(*args, **kwargs))
