"""A segment's file at the moments at which a process can be killed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from spanwise.deliver.orphans import LENGTHS, Orphan
from spanwise.deliver.segment import CHUNK, Segment
from spanwise.encode.request import RECORD

OPENING = LENGTHS.pack(0, 0, 0, 0)
OLD = RECORD + b"\x03old"


class Killed(BaseException):
    """Stands for the end of the process."""


class Memory:
    """The segment's memory; after some writes its process is no more."""

    def __init__(self, memory: Any, writes: int) -> None:
        self.memory, self.writes = memory, writes

    def __setitem__(self, place: slice, content: bytes) -> None:
        if not self.writes:
            raise Killed
        self.writes -= 1
        self.memory[place] = content


def read(path: Path) -> list[tuple[int, bytes]]:
    """What the next process would send."""
    orphan = Orphan(path, os.open(path, os.O_RDWR))
    try:
        return list(orphan.requests())
    finally:
        orphan.close(remove=False)


@pytest.mark.parametrize("writes", [0, 1, 2, 3])
def test_what_an_earlier_use_left_is_never_read_again(tmp_path: Path, writes: int) -> None:
    """A chunk that was sent and is taken again holds the old records behind its new beginning."""
    segment: Any = Segment(CHUNK, tmp_path, "here")
    chunk = segment.take(OPENING)
    segment.data[chunk.start : chunk.start + len(OLD) + 1] = OLD + b"\0"
    assert [count for count, _ in read(segment.path)] == [1]
    segment.give_back(chunk)
    assert read(segment.path) == []
    memory, segment.data = segment.data, Memory(segment.data, writes)
    try:
        segment.take(OPENING)
    except Killed:
        pass
    finally:
        segment.data = memory
    assert all(count == 0 for count, _ in read(segment.path))
    segment.close(remove=True)
