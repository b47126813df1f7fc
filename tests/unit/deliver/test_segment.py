"""A segment and its file: what is found in it after a kill, whatever the disk does."""

from __future__ import annotations

import errno
import os
import resource
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from spanwise.deliver import segment as module
from spanwise.deliver.orphans import LENGTHS, Orphan
from spanwise.deliver.segment import CHUNK, Chunk, Segment
from spanwise.deliver.segment_file import SegmentFile
from spanwise.encode.request import RECORD
from spanwise.encode.varint import varint
from spanwise.log import Log

OPENING = LENGTHS.pack(0, 0, 0, 0)


def record(name: str, size: int = 0) -> bytes:
    body = Span(name=name, trace_state="x" * size).SerializeToString()
    return RECORD + varint(len(body)) + body


def add(segment: Segment, chunk: Chunk, name: str, size: int = 0) -> bool:
    """What the segment's owner does with an ended span; tells whether there was room."""
    data = record(name, size)
    if chunk.end + len(data) > chunk.limit:
        return False
    chunk.data[chunk.end : chunk.end + len(data)] = data
    chunk.end += len(data)
    chunk.count += 1
    segment.save(chunk)
    return True


def taken(segment: Segment) -> Chunk:
    chunk = segment.take(OPENING)
    assert chunk is not None
    return chunk


def found(folder: Path) -> list[str]:
    """The spans that another process finds, were this one killed now."""
    names = []
    for path in sorted(folder.glob("*.segment")):
        orphan = Orphan(path, os.open(path, os.O_RDWR))
        assert orphan.ours
        for count, body in orphan.requests():
            request = ExportTraceServiceRequest.FromString(body)
            spans = [
                span for each in request.resource_spans for scope in each.scope_spans for span in scope.spans
            ]
            assert len(spans) == count
            assert all(set(span.trace_state) <= {"x"} for span in spans), "nothing else got into it"
            names += [span.name for span in spans]
        assert orphan.damaged == 0
        orphan.close(remove=False)
    return sorted(names)


@pytest.fixture(autouse=True)
def _nothing_told_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    """A warning that comes seldom may have come in another test."""
    monkeypatch.setattr(module, "_logger", Log("spanwise.deliver"))


class Killed(BaseException):
    """Stands for the end of the process."""


@contextmanager
def killed_after(writes: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The process ends when it writes to its file once more than that."""
    left = [writes]

    def pwrite(*arguments: Any) -> int:
        if not left[0]:
            raise Killed
        left[0] -= 1
        return os.pwrite(*arguments)

    with monkeypatch.context() as patched:
        patched.setattr(module, "_pwrite", pwrite)
        with suppress(Killed):
            yield


@pytest.mark.parametrize("writes", [0, 1, 2, 3])
def test_what_an_earlier_use_left_is_never_read_again(
    tmp_path: Path, writes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A chunk that was sent and is taken again."""
    segment = Segment(CHUNK, tmp_path, "here")
    chunk = taken(segment)
    for name in ("old 1", "old 2", "old 3"):
        add(segment, chunk, name)
    assert found(tmp_path) == ["old 1", "old 2", "old 3"]
    segment.give_back(chunk)
    assert found(tmp_path) == []
    with killed_after(writes, monkeypatch):
        add(segment, taken(segment), "new")
    assert found(tmp_path) == (["new"] if writes >= 2 else [])
    segment.close(remove=True)


def test_a_kill_while_a_chunk_is_given_back_leaves_all_of_it_or_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    segment = Segment(CHUNK, tmp_path, "here")
    chunk = taken(segment)
    for number in range(5):
        add(segment, chunk, str(number), 2000)
    with killed_after(0, monkeypatch):
        segment.give_back(chunk)
    assert found(tmp_path) == ["0", "1", "2", "3", "4"]
    # The kernel writes page by page, from the beginning: a kill in the middle leaves the first ones zero.
    handle = segment.file.handle  # type: ignore[union-attr]
    os.pwrite(handle, bytes(4096), 0)
    assert found(tmp_path) == []
    segment.close(remove=True)


class _Disk:
    """What a file meets. ``room``: bytes that it may grow to; ``broken``: nothing can be written."""

    def __init__(self) -> None:
        self.room: int | None = None
        self.broken = False

    @contextmanager
    def __call__(self) -> Iterator[None]:
        if self.room is None:
            yield
            return
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (self.room, hard))  # Python ignores SIGXFSZ
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    def pwrite(self, *arguments: Any) -> int:
        if self.broken:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return os.pwrite(*arguments)


STEPS = st.one_of(
    st.tuples(st.just("add"), st.integers(0, 2), st.sampled_from([0, 50, 3000, 20_000])),
    st.tuples(st.just("sent"), st.integers(0, 2), st.just(0)),
    st.tuples(st.just("room"), st.sampled_from([None, 0, 1, 5000, 70_000, 140_000]), st.just(0)),
    st.tuples(st.just("broken"), st.booleans(), st.just(0)),
    st.tuples(st.just("cut"), st.just(0), st.just(0)),
    st.tuples(st.just("removed"), st.booleans(), st.just(0)),
    st.tuples(st.just("later"), st.just(0), st.just(0)),
)


@settings(max_examples=300)
@given(steps=st.lists(STEPS, max_size=60))
def test_whatever_the_disk_does_each_span_is_found_once_and_what_was_saved_is_found(
    steps: list[tuple[str, Any, int]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder, disk, time = tmp_path_factory.mktemp("s"), _Disk(), [0.0]
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(module, "_pwrite", disk.pwrite)
        patched.setattr(module, "monotonic", lambda: time[0])
        _play(steps, folder, disk, time)
    shutil.rmtree(folder, ignore_errors=True)


def _play(steps: list[tuple[str, Any, int]], folder: Path, disk: _Disk, time: list[float]) -> None:
    segment = Segment(4 * CHUNK, folder, "here")
    lanes: list[Chunk | None] = [None, None, None]
    waiting: dict[int, list[str]] = {}  # by the chunk's place: what is in memory
    saved: set[str] = set()  # what a kill must leave
    harmed = False  # somebody else did something to the file, which is noticed with the next chunk
    for number, (what, which, size) in enumerate(steps):
        chunk = lanes[which] if what in {"add", "sent"} else None
        if what == "add":
            begins = chunk is None
            with disk():
                if chunk is None:
                    chunk = lanes[which] = taken(segment)
                    waiting[chunk.at] = []
                if add(segment, chunk, str(number), size):
                    waiting[chunk.at].append(str(number))
            if begins and chunk.file is not None and harmed:
                harmed = False
                for each in segment.used.values():
                    saved.update(waiting[each.at] if each.file is not None else ())
            if chunk.file is not None and not harmed:
                saved.update(waiting[chunk.at])
        elif what == "sent" and chunk is not None:
            lanes[which] = None
            with disk():
                segment.give_back(chunk)
            saved.difference_update(waiting.pop(chunk.at))
        elif what == "room":
            disk.room = which
        elif what == "broken":
            disk.broken = which
        elif what == "later":
            time[0] += module.PAUSE + 1
        elif what in {"cut", "removed"} and segment.file is not None and segment.file.path.exists():
            harmed = True
            if what == "cut":
                os.truncate(segment.file.path, 0)
            elif which:
                shutil.rmtree(folder)
            else:
                segment.file.path.unlink()
        if segment.file is None or harmed:
            saved.clear()  # it could not be cleared, so it is gone
        names = found(folder)
        assert len(names) == len(set(names))
        assert set(names) <= {name for names in waiting.values() for name in names}
        assert saved <= set(names)
    segment.close(remove=True)
    assert found(folder) == []


def test_a_full_disk_costs_one_warning_and_the_file_is_used_again_when_there_is_room(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk, time = _Disk(), [100.0]
    monkeypatch.setattr(module, "monotonic", lambda: time[0])
    segment = Segment(4 * CHUNK, tmp_path, "here")
    first, second = taken(segment), taken(segment)
    add(segment, first, "before")
    disk.room = 5000
    with disk():
        for number in range(10):
            add(segment, first, f"first {number}", 1000)
            add(segment, second, f"second {number}", 1000)
            time[0] += module.PAUSE
    assert "before" in found(tmp_path)
    assert len(found(tmp_path)) < 6
    assert len(caplog.messages) == 1
    assert str(tmp_path) in caplog.messages[0]
    assert "File too large" in caplog.messages[0], "the cause"
    time[0] += module.PAUSE
    add(segment, first, "after")
    assert len(found(tmp_path)) == 22, "also what waits in other chunks"
    assert "again" in caplog.messages[1]
    assert len(caplog.messages) == 2
    segment.close(remove=True)


def test_a_file_that_cannot_be_written_is_not_tried_for_each_span(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries, time = [], [100.0]

    def pwrite(*arguments: Any) -> int:
        tries.append(arguments)
        raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))

    monkeypatch.setattr(module, "_pwrite", pwrite)
    monkeypatch.setattr(module, "monotonic", lambda: time[0])
    segment = Segment(4 * CHUNK, tmp_path, "here")
    chunk = taken(segment)
    for _ in range(100):
        add(segment, chunk, "x")
    assert len(tries) == 1
    time[0] += module.PAUSE
    add(segment, chunk, "x")
    assert len(tries) == 2
    segment.close(remove=True)


@pytest.mark.parametrize("gone", ["folder", "file"])
def test_a_file_that_somebody_removed_is_made_again(
    tmp_path: Path, gone: str, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "spool"
    segment = Segment(4 * CHUNK, folder, "here")
    first = taken(segment)
    add(segment, first, "one")
    if gone == "folder":
        shutil.rmtree(folder)
    else:
        segment.file.path.unlink()  # type: ignore[union-attr]
    add(segment, taken(segment), "two")
    assert found(folder) == ["one", "two"]
    assert "removed by somebody else" in caplog.text
    add(segment, first, "three")
    assert found(folder) == ["one", "three", "two"]
    segment.close(remove=True)
    assert list(folder.iterdir()) == []


def test_a_folder_whose_parent_is_gone_is_not_made_again(tmp_path: Path) -> None:
    """It was within a temporary folder, say, whose owner is removing it just now."""
    folder = tmp_path / "temporary" / "spool"
    folder.mkdir(parents=True)
    segment = Segment(4 * CHUNK, folder, "here")
    add(segment, taken(segment), "one")
    shutil.rmtree(folder.parent)
    add(segment, taken(segment), "two")
    assert not folder.parent.exists()
    segment.close(remove=True)


@pytest.mark.parametrize(("size", "goes_on"), [(0, True), (0, False), (50, False)])
def test_what_somebody_cut_is_written_again(
    tmp_path: Path, size: int, goes_on: bool, caplog: pytest.LogCaptureFixture
) -> None:
    segment = Segment(4 * CHUNK, tmp_path, "here")
    first = taken(segment)
    add(segment, first, "one", 1000)
    if not goes_on:
        add(segment, first, "two", 1000)
    os.truncate(segment.file.path, size)  # type: ignore[union-attr]
    if goes_on:  # so that the file is as long as before
        add(segment, first, "two", 1000)
    add(segment, taken(segment), "three")
    assert found(tmp_path) == ["one", "three", "two"]
    assert "cut by somebody else" in caplog.text
    segment.close(remove=True)


def test_a_descriptor_that_the_application_closed_is_neither_written_nor_closed_again(tmp_path: Path) -> None:
    """As a daemon does that closes all descriptors; the number may be a file of its own then."""
    segment = Segment(4 * CHUNK, tmp_path / "spool", "here")
    (tmp_path / "spool").mkdir()
    first = taken(segment)
    add(segment, first, "one")
    number = segment.file.handle  # type: ignore[union-attr]
    assert number >= 200, "out of the way of what the application opens"
    own = tmp_path / "own"
    handle = os.open(own, os.O_RDWR | os.O_CREAT)
    os.dup2(handle, number)
    add(segment, taken(segment), "two")
    add(segment, first, "three")
    assert own.read_bytes() == b""
    os.fstat(number)
    segment.close(remove=True)
    os.fstat(number)
    for each in (handle, number):
        os.close(each)


def test_a_file_is_not_closed_while_a_write_to_it_is_under_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the write would land in whatever gets the number next."""
    segment = Segment(4 * CHUNK, tmp_path, "here")
    chunk = taken(segment)
    add(segment, chunk, "one")
    number = segment.file.handle  # type: ignore[union-attr]
    in_write, go_on = threading.Event(), threading.Event()

    def pwrite(handle: int, *arguments: Any) -> int:
        in_write.set()
        assert go_on.wait(30)
        return os.pwrite(handle, *arguments)

    monkeypatch.setattr(module, "_pwrite", pwrite)
    thread = threading.Thread(target=add, args=(segment, chunk, "two"))
    thread.start()
    assert in_write.wait(30)
    segment.close(remove=True)
    segment.used.clear()
    chunk.file = chunk.written = None
    os.fstat(number)  # still open
    go_on.set()
    thread.join()
    with pytest.raises(OSError, match="descriptor"):
        os.fstat(number)


def test_a_write_that_comes_late_harms_no_later_use_of_its_chunk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thread that the machine left waiting in the middle; its span was sent meanwhile, from memory."""
    segment = Segment(CHUNK, tmp_path, "here")
    chunk = taken(segment)
    in_write, go_on = threading.Event(), threading.Event()
    late = threading.Thread(target=add, args=(segment, chunk, "late", 5000))

    def pwrite(*arguments: Any) -> int:
        if threading.current_thread() is late:
            in_write.set()
            assert go_on.wait(30)
        return os.pwrite(*arguments)

    monkeypatch.setattr(module, "_pwrite", pwrite)
    late.start()
    assert in_write.wait(30)
    segment.give_back(chunk)
    again = taken(segment)
    assert again.at == chunk.at
    add(segment, again, "new")
    go_on.set()
    late.join()
    assert found(tmp_path) == ["new"]
    add(segment, again, "newer")
    assert found(tmp_path) == ["new", "newer"]
    segment.close(remove=True)


def test_a_forked_child_s_copy_is_closed_and_the_parent_s_is_not(tmp_path: Path) -> None:
    segment = Segment(CHUNK, tmp_path, "here")
    add(segment, taken(segment), "one")
    file: SegmentFile = segment.file  # type: ignore[assignment]
    child = os.fork()
    if child == 0:
        number = file.handle
        segment.close(remove=False)
        try:
            os.fstat(number)
        except OSError:
            os._exit(0 if file.handle == -1 else 1)
        os._exit(2)
    assert os.waitpid(child, 0)[1] == 0
    assert file.lost() == ""
    segment.close(remove=True)
