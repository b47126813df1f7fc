"""Segments whose process is gone: what it had not sent is sent by the next one.

A live process holds a lock on its segment's file, which the kernel lifts however it ends. Whoever
gets the lock owns the file: of several that look at the same time, one does.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from pathlib import Path

from spanwise.deliver.segment import CHUNK, HEAD, MAGIC, SUFFIX
from spanwise.encode.request import RECORD
from spanwise.encode.wire import nested
from spanwise.log import Log

try:
    import fcntl
except ImportError:  # see spanwise.deliver.segment
    fcntl = None  # type: ignore[assignment]

__all__ = ["FORGOTTEN_SECONDS", "LENGTHS", "Orphan", "find", "sweep"]

_logger = Log("spanwise.deliver")

LENGTHS = struct.Struct("<4I")
"""What an opening begins with: the lengths of its four parts, which are the beginning and the end of
the resource's message, and of the scope's."""

# A process that is killed and started in a loop while its destination is down must not fill the disk.
MOST = 16

# A job that runs once a week with its destination down the first time still finds its spans.
FORGOTTEN_SECONDS = 8 * 24 * 3600

# One request an iteration: a segment of 32 MiB in one piece would be refused by most servers.
_LARGEST = 4 * CHUNK


class Orphan:
    """The segment of a process that is gone, ours now.

    Attributes:
        path: its file.
        damaged: chunks that could not be read to their end, as after a kill in the middle of a write.
    """

    def __init__(self, path: Path, handle: int) -> None:
        self.path = path
        self._handle = handle
        self.damaged = 0

    @property
    def ours(self) -> bool:
        """Whether it is a segment: in a folder of the user's choice other files may have such a name."""
        size = os.fstat(self._handle).st_size
        heads = (os.pread(self._handle, len(MAGIC), at) for at in range(0, size, CHUNK))
        return all(head == MAGIC or not any(head) for head in heads)

    def requests(self) -> Iterator[tuple[int, bytes]]:
        """Number of spans and bytes of each request that its records make."""
        count, body = 0, b""
        with open(self._handle, "rb", closefd=False) as file:
            while chunk := file.read(CHUNK):
                number, request = self._request(chunk)
                if not number:
                    continue
                if body and len(body) + len(request) > _LARGEST:
                    yield count, body
                    count, body = 0, b""
                count, body = count + number, body + request
        if count:
            yield count, body

    def _request(self, chunk: bytes) -> tuple[int, bytes]:
        if len(chunk) < HEAD.size or not chunk.startswith(MAGIC):
            return 0, b""
        _, length = HEAD.unpack_from(chunk)
        start = HEAD.size + length
        try:
            lengths = LENGTHS.unpack_from(chunk, HEAD.size)
        except struct.error:
            lengths = (0, 0, 0, 0)
        if LENGTHS.size + sum(lengths) != length or start >= len(chunk):
            self.damaged += 1
            return 0, b""
        parts, at = [], HEAD.size + LENGTHS.size
        for size in lengths:
            parts.append(chunk[at : at + size])
            at += size
        count, end = self._records(chunk, start)
        resource, resource_end, scope, scope_end = parts
        inner = nested(b"\x12", scope + chunk[start:end] + scope_end)
        return count, nested(b"\x0a", resource + inner + resource_end)

    def _records(self, chunk: bytes, at: int) -> tuple[int, int]:
        """How many whole records begin at ``at``, and where they end."""
        count = 0
        while at < len(chunk) and chunk[at] != 0:
            try:
                if chunk[at] != RECORD[0]:
                    raise ValueError
                length, shift, position = 0, 0, at + 1
                while True:
                    byte = chunk[position]
                    position += 1
                    length |= (byte & 0x7F) << shift
                    shift += 7
                    if byte < 0x80:
                        break
                if position + length > len(chunk):
                    raise ValueError
            except (IndexError, ValueError):
                self.damaged += 1
                break
            at = position + length
            count += 1
        return count, at

    def close(self, *, remove: bool) -> None:
        """Lets go of the file, and removes it when all of it was sent."""
        if remove:
            self.path.unlink(missing_ok=True)
        os.close(self._handle)


def find(folder: Path, label: str) -> list[Orphan]:
    """The orphans of one destination that belong to this user. Each is ours until it is closed.

    Args:
        folder: where segments lie.
        label: what the names of this destination's files begin with: the spans of an application
            that sends elsewhere are not ours to send.
    """
    orphans: list[Orphan] = []
    for path in _listed(folder, f"{label}-*{SUFFIX}"):
        orphan = _own(path)
        if orphan is None:
            continue
        if len(orphans) < MOST:
            orphans.append(orphan)
        else:
            _logger.warning(
                "removed unsent: %s, of a process that was killed. %d others are sent", path, MOST
            )
            orphan.close(remove=True)
    return orphans


def _listed(folder: Path, pattern: str) -> list[Path]:
    """The files of a folder; none where it cannot be read, of which the writer of our own file tells."""
    try:
        return sorted(folder.glob(pattern))
    except (OSError, ValueError):  # a path that is too long, or that no file system has
        return []


def sweep(folder: Path, now: float) -> None:
    """Removes what nobody came for: files of destinations that no process has sent to for long.

    Args:
        folder: where segments lie.
        now: seconds since 1970.
    """
    for path in _listed(folder, f"*{SUFFIX}"):
        try:
            if now - path.stat().st_mtime < FORGOTTEN_SECONDS:
                continue
        except OSError:
            continue
        orphan = _own(path)
        if orphan is not None and not orphan.ours:
            orphan.close(remove=False)
        elif orphan is not None:
            lost = sum(count for count, _ in orphan.requests())
            if lost:
                _logger.warning(
                    "removed %s: for a week no process has sent to its destination. %d spans are lost",
                    path,
                    lost,
                )
            orphan.close(remove=True)


def _own(path: Path) -> Orphan | None:
    """The orphan in that file, ours from now on; None where its process lives or it isn't ours to take."""
    if fcntl is None:
        return None
    try:
        handle = os.open(path, os.O_RDWR | os.O_NOFOLLOW)
    except OSError:
        return None  # gone meanwhile, or another user's
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # It may have been sent and removed between the listing and the lock.
        if os.fstat(handle).st_uid != os.geteuid() or not path.exists():
            raise OSError
    except OSError:
        os.close(handle)
        return None
    return Orphan(path, handle)
