"""A segment: memory that encoded spans are written to, in chunks, and a file with the same in it.

The page cache owns what was written to the file, not the process: a kill -9 leaves it there. Each chunk
of the file tells what it holds, so that another process can read it:

    magic · length of the opening · opening · records, each as it stands in a request · zeros

The opening is the request's bytes up to the records (resource and scope). A record begins with its
protobuf tag, which is never 0, so the zero after the last one, or the file's end, ends the chunk.
Requests are made from the memory: what becomes of the file costs nothing but the survival.

Threads write to the file without a lock. That is sound since each write copies from the memory as it is
at that moment, a chunk has the same place in both, and what changes in the memory changes before it is
written: whichever write comes last, the file has what the memory has.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from struct import Struct
from time import monotonic
from typing import Any

from spanwise.deliver.segment_file import SUFFIX, SegmentFile
from spanwise.log import Log

__all__ = ["CHUNK", "HEAD", "MAGIC", "SUFFIX", "Chunk", "Segment"]

_logger = Log("spanwise.deliver")

MAGIC = b"SPW1"
HEAD = Struct("<4sI")
"""What a chunk begins with: magic, and the length of the opening after it."""

# A chunk holds some 200 ordinary spans of one scope. Larger ones waste memory where a process has
# many scopes; smaller ones are taken, framed and freed more often for the same spans.
CHUNK = 64 * 1024

PAUSE = 1.0
"""Seconds between two attempts at a file that cannot be written. One takes less than 0.1 ms."""

_ZEROS = memoryview(bytes(CHUNK))
_BODY = len(MAGIC)  # the magic is written last: before, nobody reads the chunk
_CAUGHT_UP = 64  # chunks written at a time when there is room again: 4 MiB, some 2 ms
_LOOKED_AT = 4  # chunks that are looked for in the file, with each new one

_pwrite: Any = getattr(os, "pwrite", None)  # not on Windows, where there is no file either


class Chunk:
    """One chunk that is being filled, or waits to be sent. Offsets are from its beginning.

    Attributes:
        at: its place in the segment and in the file.
        data: its memory, and ``view`` the same without a copy.
        start: offset of its first record.
        end: offset behind its last record. What is before it never changes.
        limit: offset that no record may pass.
        count: records in it.
        most: records that it may hold.
        file: takes its records as they come; None before the first, and while the file cannot be written.
        written: the file that may hold some of it.
        saved: offset up to which the file has it.
        save: :meth:`Segment.save` of its segment, which may not be the newest one.
    """

    # fmt: off
    __slots__ = ("at", "count", "data", "end", "file", "limit", "most", "save", "saved", "start", "view",
                 "written")
    # fmt: on

    def __init__(self, at: int, data: bytearray, start: int, save: Callable[[Chunk], None]) -> None:
        self.at = at
        self.data, self.view = data, memoryview(data)
        self.start = self.end = start
        self.limit = len(data)
        self.count = self.most = 0
        self.file: SegmentFile | None = None
        self.written: SegmentFile | None = None
        self.saved = _BODY
        self.save = save


class Segment:
    """Memory for encoded spans, given out in chunks, and their file.

    Not thread-safe: its owner locks, except for :meth:`save`. The file is made with the first span. Where
    it cannot be written, spans wait in memory alone: everything works, and nothing outlives a kill until
    it can be written again, which is tried at most once in :data:`PAUSE` seconds.

    Args:
        size: bytes at most, a multiple of :data:`CHUNK`. Memory is taken chunk by chunk.
        folder: where the file lies.
        label: what its name begins with: the files of one destination have the same.

    Attributes:
        used: the chunks that were taken, by their place.
    """

    def __init__(self, size: int, folder: Path, label: str) -> None:
        self.used: dict[int, Chunk] = {}
        self._most = size
        self._size = 0
        self._folder = folder
        self._label = label
        # Last in, first out: chunks that were just sent are in the processor's cache and need no new page.
        self._free: list[tuple[int, bytearray]] = []
        self._files: dict[str, SegmentFile] = {}  # one at most: of two threads that make one, one succeeds
        self._again = 0.0  # monotonic: no attempt at the file before
        self._trouble = self._behind = False

    @property
    def file(self) -> SegmentFile | None:
        """The file; None before the first span, and where there can be none."""
        return self._files.get("it")

    @property
    def size(self) -> int:
        """Bytes of memory that it has taken."""
        return self._size

    def take(self, opening: bytes) -> Chunk | None:
        """A free chunk that begins with ``opening``; None where none is free or it does not fit."""
        if HEAD.size + len(opening) + 1 >= CHUNK:
            return None
        if self._free:
            at, data = self._free.pop()
        elif self._size < self._most:
            at, data = self._size, bytearray(CHUNK)
            self._size += CHUNK
        else:
            return None
        head = HEAD.pack(MAGIC, len(opening)) + opening
        data[: len(head)] = head
        chunk = self.used[at] = Chunk(at, data, len(head), self.save)
        return chunk

    def save(self, chunk: Chunk) -> None:
        """Writes to the file what it lacks of a chunk. From any thread; waits for no other.

        When it returns, what the chunk held when it was called outlives the process, unless the file
        cannot be written.
        """
        file = chunk.file
        if file is None:
            self._begin(chunk)
            return
        first, end = chunk.saved, chunk.end
        if first < end:
            piece = chunk.view[first:end]
            try:
                written = _pwrite(file.handle, piece, chunk.at + first)
                if written != end - first:
                    _write(file, piece, chunk.at + first, written)
            except OSError as error:
                self._fail(chunk, error)
                return
            if chunk.saved < end:  # where another thread was faster, too little is as good
                chunk.saved = end

    def give_back(self, chunk: Chunk) -> None:
        """The chunk was sent: forget what it holds."""
        self.used.pop(chunk.at, None)
        end = chunk.end
        chunk.data[:end] = _ZEROS[:end]
        # A file that is no longer ours has no name, and nobody finds anything in it.
        if chunk.written is not None and chunk.written is self.file:
            # Also for the next use: behind its records nothing may look like one.
            try:
                _write(chunk.written, _ZEROS[:end], chunk.at)
            except OSError as error:
                # What was sent must not be found again.
                self._drop(chunk.written)
                self._tell(error)
        self._free.append((chunk.at, chunk.data))

    def close(self, *, remove: bool) -> None:
        """Lets go of the file; a forked child leaves it to its parent (``remove=False``)."""
        file = self._files.pop("it", None)
        self._again = float("inf")
        if file is None:
            return
        if remove:
            file.remove()
        else:
            file.leave()

    def _begin(self, chunk: Chunk) -> None:
        """Writes all of a chunk that the file does not have: its first record, or after a failure."""
        if monotonic() < self._again:
            return
        try:
            file = self._file_now()
            self._write_rest(chunk, file)
            if self._behind:
                self._catch_up(file)
        except OSError as error:
            self._fail(chunk, error)
            return
        if self._trouble:
            self._trouble = False
            _logger.seldom("ended spans outlive a kill again: %s can be written", file.path)

    def _write_rest(self, chunk: Chunk, file: SegmentFile) -> None:
        # First: whoever gives it back meanwhile must know that there is something to be cleared.
        chunk.written = file
        first, end = chunk.saved, chunk.end
        _write(file, chunk.view[first:end], chunk.at + first)
        if first == _BODY:
            _write(file, chunk.view[:_BODY], chunk.at)
        chunk.saved = end
        chunk.file = file

    def _catch_up(self, file: SegmentFile) -> None:
        """Writes the other chunks that the file does not have, a bounded number."""
        missing = [each for each in self.used.copy().values() if each.file is not file and each.count]
        for each in missing[:_CAUGHT_UP]:
            self._write_rest(each, file)
        self._behind = len(missing) > _CAUGHT_UP

    def _file_now(self) -> SegmentFile:
        """The file that is written to now; a new one where somebody has taken the old one away."""
        file = self.file
        if file is not None:
            cause = file.lost()
            if cause:
                self._drop(file)
            elif self._was_cut(file):
                cause = "cut"
                self._forget_saved()
            if cause:
                _logger.seldom("%s was %s by somebody else: what waits is written again", file.path, cause)
        file = self.file
        if file is None:
            made = SegmentFile.make(self._folder, self._label)
            file = self._files.setdefault("it", made)
            if file is not made:
                made.remove()
        return file

    def _was_cut(self, file: SegmentFile) -> bool:
        """Whether what was written is not there any more."""
        chunks = [each for each in self.used.copy().values() if each.file is file][-_LOOKED_AT:]
        least = max((each.at + each.saved for each in chunks), default=0)
        if os.fstat(file.handle).st_size < least:
            return True
        return any(
            os.pread(file.handle, _BODY, each.at) != MAGIC and self.used.get(each.at) is each
            for each in chunks
        )

    def _drop(self, file: SegmentFile) -> None:
        """Has no more to do with a file."""
        file.remove()
        if self.file is file:
            self._files.pop("it", None)
        self._forget_saved()

    def _forget_saved(self) -> None:
        for each in self.used.copy().values():
            each.file = None
            each.saved = _BODY
        self._behind = True

    def _fail(self, chunk: Chunk, error: Exception) -> None:
        """The chunk goes on in memory alone."""
        file, chunk.file = chunk.written, None
        if file is not None and file.torn:
            # Part of a record stands there, which nobody may read.
            try:
                if chunk.saved > _BODY:
                    _write(file, _ZEROS[:1], chunk.at + chunk.saved)
                file.torn = False
            except OSError:
                self._drop(file)
        self._tell(error)

    def _tell(self, error: Exception) -> None:
        known, self._trouble = self._trouble, True
        self._again = monotonic() + PAUSE
        self._behind = True
        if not known:
            _logger.seldom(
                "ended spans will not outlive a kill: %s cannot be written (%s). They are delivered from "
                "memory, and the file is tried again",
                self._folder,
                getattr(error, "strerror", None) or error,
            )


def _write(file: SegmentFile, piece: memoryview, offset: int, written: int = 0) -> None:
    """Writes all of it, of which some may be written already.

    Raises:
        OSError: it could not be; ``file.torn`` tells whether some of it was.
    """
    while written < len(piece):
        if written:
            file.torn = True
        more = _pwrite(file.handle, piece[written:], offset + written)
        if not more:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written += more
    file.torn = False
