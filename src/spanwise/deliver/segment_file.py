"""The file behind a segment: made, locked, looked after and closed.

It is written with ``pwrite`` and never mapped: on a full disk, over a quota or after somebody cut the
file, a write fails with an error that can be handled; touching a mapped page ends the process (SIGBUS).
"""

from __future__ import annotations

import contextlib
import errno
import os
import tempfile
from pathlib import Path

try:
    import fcntl
except ImportError:  # not a POSIX system: no locks, so no file that another could take
    fcntl = None  # type: ignore[assignment]

__all__ = ["SUFFIX", "SegmentFile", "spool_folder"]

SUFFIX = ".segment"

# Where an application closes every descriptor that it did not open (a daemon does) and opens its own, those
# get the lowest free numbers. It hardly comes to ours: a write must not land in a file of the application's.
_NUMBERS = (900, 200)


def spool_folder(given: str | None) -> Path:
    """The folder for segments, made where it is missing.

    Args:
        given: the user's choice; by default one that only this user can read, in the temporary folder.
    """
    uid = os.getuid() if hasattr(os, "getuid") else "user"
    folder = Path(given) if given else Path(tempfile.gettempdir()) / f"spanwise-{uid}"
    with contextlib.suppress(OSError):  # told where it matters: when the first span finds no file
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder


class SegmentFile:
    """A locked file of this process. It is closed when nobody holds this object any more.

    Not before: a write under way on another thread would meet a number that is another file's by then.

    Attributes:
        handle: its descriptor; -1 after :meth:`leave`.
        path: where it lies.
        torn: whether a write ended in the middle of a record.
    """

    __slots__ = ("_identity", "handle", "path", "torn")

    def __init__(self, handle: int, path: Path) -> None:
        self.handle, self.path = handle, path
        self.torn = False
        self._identity = _identity(os.fstat(handle))

    @classmethod
    def make(cls, folder: Path, label: str) -> SegmentFile:
        """A new file, in a folder that is made again where somebody removed it.

        The lock lives as long as the process: who finds the file unlocked may take it (see
        :mod:`spanwise.deliver.orphans`).

        Raises:
            OSError: there can be none.
        """
        if fcntl is None:
            raise OSError(errno.ENOTSUP, "no file locks on this system")
        folder.mkdir(mode=0o700, exist_ok=True)
        while True:
            # mkstemp: mode 0600, since spans may hold what others must not read.
            handle, name = tempfile.mkstemp(prefix=f"{label}-", suffix=SUFFIX, dir=folder)
            handle = _out_of_the_way(handle)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if os.fstat(handle).st_nlink:
                    return cls(handle, Path(name))
                os.close(handle)  # taken for an orphan before it was locked, found empty and removed
            except BlockingIOError:
                # Taken for an orphan in this very moment: it will be found empty and removed.
                os.close(handle)
            except OSError:
                os.close(handle)
                Path(name).unlink(missing_ok=True)
                raise

    def lost(self) -> str:
        """Why what is written to it would not be found again; empty where it would be."""
        try:
            found = os.fstat(self.handle)
        except OSError:
            found = None
        if found is None or _identity(found) != self._identity:
            self.handle = (
                -1
            )  # the number may be another file's now, which is not ours to write to or to close
            return "closed"
        return "" if found.st_nlink else "removed"

    def remove(self) -> None:
        """Takes away name and content; never raises."""
        with contextlib.suppress(OSError):
            self.path.unlink()
        # Where the folder is read-only now: what was sent must not be found in it.
        if self.lost() != "closed":
            with contextlib.suppress(OSError):
                os.ftruncate(self.handle, 0)

    def leave(self) -> None:
        """In a forked child: closes its copy. The file, and the lock on it, are the parent's."""
        self._close()

    def _close(self) -> None:
        handle, self.handle = self.handle, -1
        if handle >= 0:
            with contextlib.suppress(OSError):
                os.close(handle)

    def __del__(self) -> None:
        self._close()


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


def _out_of_the_way(handle: int) -> int:
    for number in _NUMBERS:
        try:
            higher = fcntl.fcntl(handle, fcntl.F_DUPFD_CLOEXEC, number)
        except OSError:
            continue  # above the limit of this process
        os.close(handle)
        return higher
    return handle
