"""Spans, encoded when they end, waiting in a segment.

No queue of Python objects: nothing for the garbage collector to walk, nothing to encode when a
request is made. What has ended is in the segment's file too, so it outlives a kill; what that costs is
measured by `benchmarks/span_file.py`.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

from opentelemetry.sdk.trace import ReadableSpan

from spanwise.deliver.account import Account
from spanwise.deliver.inheritance import Inheritance
from spanwise.deliver.lanes import EMPTY, Lane, Lanes
from spanwise.deliver.large import MOST_BYTES, LargeRecords
from spanwise.deliver.orphans import find, sweep
from spanwise.deliver.segment import CHUNK, Chunk, Segment
from spanwise.deliver.source import Load, nobody
from spanwise.encode.request import RECORD, Piece, frame_pieces
from spanwise.encode.spans import encode_span, encode_span_fields, leaf_pieces
from spanwise.encode.varint import varint
from spanwise.forks import mark, noticed
from spanwise.log import Log

__all__ = ["SpanSegment"]

_logger = Log("spanwise.deliver")

# Tag and length of a span in its scope's message, for the lengths that spans have.
_PREFIXES = tuple(RECORD + varint(length) for length in range(1024))
# An ordinary span takes 330 bytes. With less room than this, the queue would be bounded by bytes
# before it is by the number of spans that the setting promises.
_BYTES_A_SPAN = 512
# Each scope fills chunks of its own: with fewer than an application has scopes, spans would be dropped
# although few wait. Memory that was never written to takes no room.
_LEAST = 512 * CHUNK
_KEPT = 64 * CHUNK  # of memory and file, once all was sent
_MOST_CHUNKS = MOST_BYTES // CHUNK


class SpanSegment:
    """Where ended spans wait for their request.

    Args:
        account: the traces' books.
        capacity: spans held at most. Beyond, new ones are dropped and counted.
        batch: spans in one request at most.
        folder: where the segment's file lies.
        label: what its name begins with; see :func:`spanwise.deliver.orphans.find`.
    """

    def __init__(self, account: Account, *, capacity: int, batch: int, folder: Path, label: str) -> None:
        self.account = account
        self.capacity = capacity
        self._batch = min(batch, capacity)
        self._folder = folder
        self._label = label
        self.wakes(nobody, at_once=False)
        self._segment: Segment | None = None
        self._inheritance = Inheritance()
        self.reset()

    def reset(self) -> None:
        """Starts empty. The parent's file is left to the parent."""
        self._lock = threading.Lock()
        self._aside: deque[tuple[Any, Any, bytes]] = deque()
        self._lanes = Lanes()
        self._ready: deque[tuple[Lane, Chunk]] = deque()
        self._large = LargeRecords()
        self._waiting = 0
        self._room = self.capacity  # less what is in requests under way
        # Made with the first span: a process that records none has no file.
        segment, self._segment = self._segment, None
        if segment is not None:
            segment.close(remove=False)
        # What was adopted before the fork stays the parent's, whose thread may have been reading it.
        self._inheritance = Inheritance()

    def adopt(self) -> None:
        self._inheritance = Inheritance(find(self._folder, self._label))
        sweep(self._folder, time.time())

    def wakes(self, wake: Callable[[], None], *, at_once: bool) -> None:
        self._wake, self._due = wake, 1 if at_once else self._batch

    def offer(self, item: ReadableSpan) -> None:
        """Takes an ended span. One that is recorded but not sampled is not exported (specification)."""
        try:
            # Ours hands its fields over; any other is read through its properties, at three times the cost.
            hand_over = getattr(item, "hand_over", None)
            handed = _read(item) if hand_over is None else hand_over(encode_span_fields)
            if handed is None:
                return
            resource, scope, body = handed
            size = len(body)
            opening = _PREFIXES[size] if size < 1024 else RECORD + varint(size)
            self._put(resource, scope, opening + body)
        except Exception as error:
            self._lose(error)
        if self._waiting >= self._due:
            self._wake()

    def offer_leaf(self, resource: Any, scope: Any, fields: tuple[Any, ...]) -> None:
        """The same of a span that never was an object.

        Args:
            resource, scope: whose it is.
            fields: those of :func:`spanwise.encode.spans.leaf_pieces`.
        """
        try:
            self._put(resource, scope, b"".join(leaf_pieces(*fields)))
        except Exception as error:
            self._lose(error)
        if self._waiting >= self._due:
            self._wake()

    def _put(self, resource: Any, scope: Any, record: bytes) -> None:
        """Writes a record to memory, and to the file.

        Never waits: the lock may be held by the delivery thread, or by the very call on top of which a signal
        handler or a finalizer ends this span. Whoever holds it writes what was set aside. The file is written
        without it: others would set theirs aside as long as the disk takes.
        """
        if not mark[0]:
            noticed()  # this is a forked child, and all that is here is its parent's
        lock = self._lock
        if lock.acquire(False):
            try:
                chunk = self._write(resource, scope, record)
            finally:
                lock.release()
            if chunk is not None:
                chunk.save(chunk)
        else:
            self._aside.append((resource, scope, record))
        if self._aside:
            self._settle()

    def _write(self, resource: Any, scope: Any, record: bytes) -> Chunk | None:
        """Writes a record to memory, with the lock held; returns its chunk, if it has one."""
        lane = self._lanes.latest.get(id(scope))
        if lane is None or lane.resource is not resource:
            lane = self._lanes.of(resource, scope)
        chunk = lane.chunk
        start = chunk.end
        end = start + len(record)
        if end > chunk.limit or chunk.count >= chunk.most or self._waiting >= self._room:
            found = self._room_for(lane, record)
            if found is None:
                return None
            chunk = found
            start = chunk.end
            end = start + len(record)
        chunk.data[start:end] = record
        chunk.end = end  # not before: what is before the end is final
        chunk.count += 1
        self._waiting += 1
        return chunk

    def _room_for(self, lane: Lane, record: bytes) -> Chunk | None:
        """A chunk for a record that does not fit the lane's; None where it is dropped, or waits elsewhere."""
        if self._waiting >= self._room:
            self.account.drop(1, "queue_full")
        elif self._another(lane, len(record)):
            return lane.chunk
        else:
            self._keep_large(lane, record)
        return None

    def _settle(self) -> None:
        """Writes what was set aside, unless somebody holds the lock: then that one does."""
        lock = self._lock  # a signal handler may fork, and the child has another one
        while self._aside and lock.acquire(False):
            try:
                chunk = None
                try:
                    # Not before the lock is held: whoever holds it takes from there.
                    if self._aside:
                        chunk = self._write(*self._aside.popleft())
                finally:
                    lock.release()
                if chunk is not None:
                    chunk.save(chunk)
            except Exception as error:
                self._lose(error)  # which logs, and a handler may wait for the delivery thread

    def _lose(self, error: Exception) -> None:
        self.account.drop(1, "encoding")
        _logger.warning("a span could not be kept for delivery and is dropped: %s", error)

    def _another(self, lane: Lane, size: int) -> bool:
        """Gives a lane a new chunk with room for ``size`` bytes, if there is one; its old one is ready."""
        if lane.chunk.count:
            self._ready.append((lane, lane.chunk))
            lane.chunk = EMPTY
        if self._segment is None:
            # No chunk is shared by two requests: small ones leave the rest of their last chunk empty.
            a_request = -(-self._batch * _BYTES_A_SPAN // CHUNK) * CHUNK
            wanted = -(-self.capacity // self._batch) * a_request
            self._segment = Segment(max(wanted, _LEAST), self._folder, self._label)
        if size + len(lane.opening) + 64 > CHUNK:
            return False
        chunk = self._segment.take(lane.opening)
        if chunk is None:
            return False
        # Chunks are sent whole: this one ends where the request that it will be in is full.
        chunk.most = self._batch - sum(each.count for _, each in self._ready) % self._batch
        lane.chunk = chunk
        return True

    def _keep_large(self, lane: Lane, record: bytes) -> None:
        """A span that fits no chunk waits as bytes; one for which no chunk is free is dropped."""
        if len(record) + len(lane.opening) + 64 <= CHUNK or not self._large.add(lane, record):
            self.account.drop(1, "queue_full")
            return
        self._waiting += 1

    @property
    def waiting(self) -> int:
        return self._waiting + len(self._aside)

    @property
    def full(self) -> bool:
        return self._waiting >= self._batch or self._inheritance.load is not None

    def load(self, *, partial: bool) -> Load | None:
        adopted = self._inheritance.take()
        if adopted is not None:
            return adopted
        self._settle()
        with self._lock:
            whole = self._waiting >= self._batch
            load = self._take() if whole or (partial and self._waiting) else None
            if load is not None and not load.count:
                # A signal handler forked while a span was written: what that counted here is the parent's.
                self._waiting, load = 0, None
        self._settle()
        return load

    def _take(self) -> Load:
        chunks = self._collect()
        large = self._large.collect()
        count = sum(chunk.count for _, chunk in chunks) + len(large)
        pieces: dict[int, tuple[Lane, list[Piece]]] = {}
        for lane, chunk in chunks:
            pieces.setdefault(id(lane), (lane, []))[1].append(chunk.view[chunk.start : chunk.end])
        for lane, record in large:
            pieces.setdefault(id(lane), (lane, []))[1].append(record)
        resources: dict[int, tuple[Any, list[tuple[Any, list[Piece]]]]] = {}
        for lane, records in pieces.values():
            _, scopes = resources.setdefault(id(lane.resource), (lane.resource, []))
            scopes.append((lane.scope, records))
        self._waiting -= count
        self._room -= count
        body = [piece for described in resources.values() for piece in frame_pieces(*described)]
        return Load(count, body, (self._segment, chunks))

    def _collect(self) -> list[tuple[Lane, Chunk]]:
        """Chunks for one request: filled ones first, then those being filled."""
        if sum(chunk.count for _, chunk in self._ready) < self._batch:
            for lane in self._lanes:
                if lane.chunk.count:
                    self._ready.append((lane, lane.chunk))
                    lane.chunk = EMPTY
        taken: list[tuple[Lane, Chunk]] = []
        total = 0
        while self._ready and (
            not taken or (total + self._ready[0][1].count <= self._batch and len(taken) < _MOST_CHUNKS)
        ):
            taken.append(self._ready.popleft())
            total += taken[-1][1].count
        return taken

    def release(self, load: Load, taken: int | None = None) -> None:
        if load.adopted:
            self._inheritance.settle(load, load.count if taken is None else taken)
            return
        held: Any = load.held
        with self._lock:
            from_segment, chunks = held
            segment = self._segment
            # What was discarded meanwhile is gone with its segment.
            if segment is not None and segment is from_segment:
                self._room += load.count
                for _, chunk in chunks:
                    segment.give_back(chunk)
                if chunks and segment.size > _KEPT and not segment.used:
                    # After a time without the destination: its memory and its disk space are free again.
                    segment.close(remove=True)
                    self._segment = None
        self._settle()

    def discard(self) -> int:
        with self._lock:
            count = self.waiting
            self._waiting = 0
            self._room = self.capacity
            self._aside.clear()
            self._lanes.clear()
            self._ready.clear()
            self._large = LargeRecords()
            if self._segment is not None:
                self._segment.close(remove=True)
                self._segment = None
            self._inheritance.close()
            return count


def _read(span: ReadableSpan) -> tuple[Any, Any, bytes] | None:
    """What a span hands over, read from its public properties."""
    context = span.context
    if context is None or not context.trace_flags.sampled:
        return None
    return span.resource, span.instrumentation_scope, encode_span(span)
