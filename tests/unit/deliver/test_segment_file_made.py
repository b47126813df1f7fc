"""A segment's file, made while another thread or process looks for orphans."""

from __future__ import annotations

import fcntl
from pathlib import Path

import pytest

from spanwise.deliver.inheritance import Inheritance
from spanwise.deliver.orphans import find
from spanwise.deliver.segment_file import SegmentFile


@pytest.mark.parametrize("finished", [True, False])
def test_one_that_is_taken_for_an_orphan_before_it_is_locked(
    finished: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether the other is done with it or still at it: the file that we go on with has a name."""
    lock, found = fcntl.flock, []

    def after_another_looked(handle: int, operation: int) -> None:
        monkeypatch.setattr(fcntl, "flock", lock)
        found.extend(find(tmp_path, "traces"))
        if finished:
            Inheritance(found)
        lock(handle, operation)

    monkeypatch.setattr(fcntl, "flock", after_another_looked)
    made = SegmentFile.make(tmp_path, "traces")
    assert len(found) == 1
    if not finished:
        Inheritance(found)
    assert made.lost() == ""
    assert list(tmp_path.iterdir()) == [made.path]
    assert find(tmp_path, "traces") == [], "it is locked"
    made.remove()
