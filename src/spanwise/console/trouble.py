"""When the console's file takes nothing: a full disk is told once, and how a transaction ends then."""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from spanwise.log import Log

if TYPE_CHECKING:
    import duckdb

__all__ = ["FullDisk", "is_full", "roll_back"]

# DuckDB gives the system's words and no number.
_NO_ROOM: Final = tuple(os.strerror(number).lower() for number in (errno.ENOSPC, errno.EDQUOT))

_log = Log(__name__)


class FullDisk:
    """Whether the file's disk has room: told when it no longer has, and when it has again.

    Args:
        path: the file.

    Attributes:
        on: whether it had none when something was last written.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.on = False

    def begins(self) -> None:
        """Something could not be written for it."""
        if not self.on:
            self.on = True
            _log.seldom(
                "The disk of %s is full (no space left on device): the console answers 503, so that senders"
                " keep their data and come back, until there is room",
                self._path,
            )

    def ends(self) -> None:
        """Something could be written."""
        if self.on:
            self.on = False
            _log.seldom("There is room on the disk of %s: the console stores what it receives", self._path)


def is_full(error: BaseException) -> bool:
    """Whether the disk, or a quota, has no room."""
    return any(each in str(error).lower() for each in _NO_ROOM)


def roll_back(cursor: duckdb.DuckDBPyConnection) -> None:
    """Ends a failed transaction. A failed commit has done so already: the error of a second end hides it."""
    with suppress(Exception):
        cursor.rollback()
