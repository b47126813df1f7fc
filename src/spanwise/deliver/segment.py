"""A segment: mapped memory, cut into chunks that encoded spans are written to.

The page cache owns what has been written, not the process: a kill -9 leaves it in the file. Each
chunk tells what it holds, so that another process could read it:

    magic · length of the opening · opening · records, each as it stands in a request · 0

The opening is the request's bytes up to the records (resource and scope). A record begins with its
protobuf tag, which is never 0, so the zero after the last one ends the chunk.
"""

from __future__ import annotations

import mmap
import os
import struct
import tempfile
from pathlib import Path

from spanwise.log import Log

try:
    import fcntl
except ImportError:  # not a POSIX system: no locks, so no file that another could take
    fcntl = None  # type: ignore[assignment]

__all__ = ["CHUNK", "HEAD", "MAGIC", "SUFFIX", "Chunk", "Segment", "spool_folder"]

_logger = Log("spanwise.deliver")

SUFFIX = ".segment"
MAGIC = b"SPW1"
HEAD = struct.Struct("<4sI")
"""What a chunk begins with: magic, and the length of the opening after it."""

# A chunk holds some 200 ordinary spans of one scope. Larger ones waste memory where a process has
# many scopes; smaller ones are taken, framed and freed more often for the same spans.
CHUNK = 64 * 1024


def spool_folder(given: str | None) -> Path:
    """The folder for segments, made where it is missing.

    Args:
        given: the user's choice; by default one that only this user can read, in the temporary folder.
    """
    uid = os.getuid() if hasattr(os, "getuid") else "user"
    folder = Path(given) if given else Path(tempfile.gettempdir()) / f"spanwise-{uid}"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        _logger.warning("ended spans will not outlive a kill: %s cannot be made (%s)", folder, error)
    return folder


class Chunk:
    """One chunk that is being filled, or waits to be sent.

    Attributes:
        start: offset of its first record in the segment.
        end: offset behind its last record.
        limit: offset that no record may pass, nor the zero after it.
        count: records in it.
        most: records that it may hold.
    """

    __slots__ = ("at", "count", "end", "limit", "most", "start")

    def __init__(self, at: int, start: int, limit: int) -> None:
        self.at = at
        self.start = self.end = start
        self.limit = limit
        self.count = self.most = 0


class Segment:
    """A mapped file of ``size`` bytes, given out in chunks. Not thread-safe: its owner locks.

    The file is locked as long as its process lives: who finds it unlocked may take it (see
    :mod:`spanwise.deliver.orphans`). Where no file can be made, the memory is anonymous: everything
    works, and nothing outlives a kill.

    Args:
        size: bytes, a multiple of :data:`CHUNK`. Pages take memory when they are first written to.
        folder: where the file lies.
        label: what its name begins with: the files of one destination have the same.
    """

    def __init__(self, size: int, folder: Path, label: str) -> None:
        self.path: Path | None = None
        self._handle: int | None = None
        self.data = self._map(size, folder, label)
        self._view = memoryview(self.data)
        # Last in, first out: chunks that were just sent are in the processor's cache and need no new page.
        self._free = list(range(size - CHUNK, -1, -CHUNK))

    def _map(self, size: int, folder: Path, label: str) -> mmap.mmap:
        if fcntl is None:
            return mmap.mmap(-1, size)
        try:
            while self._handle is None:
                # mkstemp: mode 0600, since spans may hold what others must not read.
                handle, name = tempfile.mkstemp(prefix=f"{label}-", suffix=SUFFIX, dir=folder)
                self._handle, self.path = handle, Path(name)
                try:
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    # Taken for an orphan in this very moment: it will be found empty and removed.
                    self.close(remove=False)
            os.ftruncate(self._handle, size)
            return mmap.mmap(self._handle, size)
        except OSError as error:
            _logger.warning("ended spans will not outlive a kill: no file in %s (%s)", folder, error)
            self.close(remove=True)
            return mmap.mmap(-1, size)

    def take(self, opening: bytes) -> Chunk | None:
        """A free chunk that begins with ``opening``; None where none is free or it does not fit."""
        if not self._free or HEAD.size + len(opening) + 1 >= CHUNK:
            return None
        at = self._free.pop()
        start = at + HEAD.size + len(opening)
        # The zero first: with the magic written before it, a kill between the two would let what
        # an earlier use left be read as records.
        self.data[start : start + 1] = b"\0"
        self.data[at:start] = HEAD.pack(MAGIC, len(opening)) + opening
        return Chunk(at, start, at + CHUNK)

    def give_back(self, chunk: Chunk) -> None:
        """The chunk was sent: forget what it holds."""
        self.data[chunk.at : chunk.at + 1] = b"\0"
        self._free.append(chunk.at)

    def records(self, chunk: Chunk) -> memoryview:
        """The chunk's records, as they stand in a request: a view, good until the chunk is given back."""
        return self._view[chunk.start : chunk.end]

    def close(self, *, remove: bool) -> None:
        """Lets go of the file; a forked child leaves it to its parent (``remove=False``)."""
        handle, self._handle = self._handle, None
        path, self.path = self.path, None
        if remove and path is not None:
            path.unlink(missing_ok=True)
        if handle is not None:
            os.close(handle)
