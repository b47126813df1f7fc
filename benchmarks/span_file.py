"""What it costs an ended span to outlive a kill: ways of having its bytes in a file.

Usage: span_file.py [FOLDER]

Prints microseconds a record, of the bytes that a span of a web request has, for each way: the least of many
rounds, since a busy machine only adds. ``next`` is what some ordinary Python takes more after it than after
nothing: a system call leaves the processor's predictors cold. What each way does when the disk is full or
the file is cut is in ARCHITECTURE.md.
"""

from __future__ import annotations

import mmap
import os
import sys
import tempfile
import time
from collections.abc import Callable

CHUNK = 64 * 1024
RECORD = b"\x12" + bytes(range(1, 256)) + b"x" * 74  # 330 bytes
RECORDS = CHUNK // len(RECORD)
ROUNDS = 400
BATCH = 10  # spans of one request

_memory = bytearray(CHUNK)
_view = memoryview(_memory)
_attributes = {f"key {number}": number for number in range(8)}

Write = Callable[[int, int], None]


def ordinary() -> int:
    """Something like what a request does between two spans."""
    return sum(len(key) + value for key, value in sorted(_attributes.items()))


def nothing(start: int, end: int) -> None:
    """The memory that requests are made from, and no file."""
    _memory[start:end] = RECORD


def mapped(handle: int) -> Write:
    """A mapped file whose space was allocated, chunk by chunk."""
    os.posix_fallocate(handle, 0, CHUNK)
    data = mmap.mmap(handle, CHUNK)

    def write(start: int, end: int) -> None:
        data[start:end] = RECORD

    return write


def written(handle: int) -> Write:
    """A write for each record."""

    def write(start: int, end: int) -> None:
        _memory[start:end] = RECORD
        os.pwrite(handle, _view[start:end], start)

    return write


def batched(handle: int) -> Write:
    """A write for ten records: those of a request that has not ended do not outlive a kill."""
    first = 0

    def write(start: int, end: int) -> None:
        nonlocal first
        _memory[start:end] = RECORD
        if start == 0:
            first = 0
        if end - first >= BATCH * len(RECORD):
            os.pwrite(handle, _view[first:end], first)
            first = end

    return write


def least(write: Write) -> tuple[float, float]:
    """Microseconds a record, and those of the ordinary work after it."""
    alone = after = float("inf")
    clock = time.perf_counter
    places = [(at * len(RECORD), (at + 1) * len(RECORD)) for at in range(RECORDS)]
    for _ in range(ROUNDS):
        began = clock()
        for start, end in places:
            write(start, end)
        alone = min(alone, clock() - began)
        began = clock()
        for start, end in places:
            write(start, end)
            ordinary()
        after = min(after, clock() - began)
    return alone / RECORDS * 1e6, (after - alone) / RECORDS * 1e6


def main() -> None:
    """Measures each way in a file of its own."""
    folder = sys.argv[1] if len(sys.argv) > 1 else None
    _, plain = least(nothing)
    for name, make in (
        ("memory only", lambda _: nothing),
        ("mapped, allocated", mapped),
        ("pwrite a record", written),
        (f"pwrite of {BATCH} records", batched),
    ):
        with tempfile.NamedTemporaryFile(dir=folder) as file:
            alone, after = least(make(file.fileno()))
        print(f"{name:22} {alone:6.2f} µs   next {after - plain:+.2f} µs")


if __name__ == "__main__":
    main()
