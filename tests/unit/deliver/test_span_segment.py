"""Ended spans in a segment: nothing lost, nothing twice, and a kill -9 survived."""

from __future__ import annotations

import fcntl
import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.resources import Resource

from spanwise.deliver import segment as segments
from spanwise.deliver.account import Account
from spanwise.deliver.lanes import Lanes
from spanwise.deliver.orphans import FORGOTTEN_SECONDS, find, sweep
from spanwise.deliver.segment import CHUNK
from spanwise.deliver.source import Load
from spanwise.deliver.span_segment import SpanSegment
from spanwise.fixed import Fixed
from spanwise.log import Log
from spanwise.spans.provider import TracerProvider

PROVIDER = TracerProvider(shutdown_on_exit=False)


def segment(folder: Path, capacity: int = 10_000, batch: int = 100, label: str = "here") -> SpanSegment:
    return SpanSegment(Account("traces"), capacity=capacity, batch=batch, folder=folder, label=label)


def ended(name: str, scope: str = "scope", size: int = 0) -> Any:
    span = PROVIDER.get_tracer(scope).start_span(name)
    if size:
        span.set_attribute("text", "x" * size)
    span.end()
    return span


def spans_of(load: Load) -> list[tuple[str, str]]:
    """Scope and name of each span in a request."""
    request = ExportTraceServiceRequest.FromString(b"".join(load.body))
    found = [
        (scope.scope.name, span.name)
        for resource in request.resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]
    assert len(found) == load.count
    return found


def drained(source: SpanSegment) -> list[tuple[str, str]]:
    found = []
    while (load := source.load(partial=True)) is not None:
        found += spans_of(load)
        source.release(load)
    return found


@settings(max_examples=40)
@given(spans=st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 3000)), max_size=120))
def test_what_goes_in_comes_out_by_scope_and_in_order(
    spans: list[tuple[str, int]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    source = segment(tmp_path_factory.mktemp("s"), batch=16)
    offered = [(scope, str(number)) for number, (scope, _) in enumerate(spans)]
    for (scope, name), (_, size) in zip(offered, spans, strict=True):
        source.offer(ended(name, scope, size))
    assert source.waiting == len(offered)
    found = drained(source)
    for scope in "abc":
        assert [pair for pair in found if pair[0] == scope] == [pair for pair in offered if pair[0] == scope]
    assert len(found) == len(offered)
    assert (source.waiting, source.account.drops()) == (0, {})
    source.discard()


def test_requests_hold_no_more_than_a_batch(tmp_path: Path) -> None:
    source = segment(tmp_path, batch=10)
    for number in range(35):
        source.offer(ended(str(number), "ab"[number % 2]))
    assert source.full
    counts = []
    while (load := source.load(partial=False)) is not None:
        counts.append(load.count)
        source.release(load)
    assert max(counts) <= 10
    assert 35 - sum(counts) < 10, "what is left is less than a request"
    source.discard()


def test_beyond_the_capacity_spans_are_dropped_and_counted_exactly(tmp_path: Path) -> None:
    source = segment(tmp_path, capacity=500, batch=50)
    threads = [
        threading.Thread(target=lambda: [source.offer(ended("x")) for _ in range(300)]) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert source.account.drops() == {"queue_full": 700}
    assert len(drained(source)) == 500
    source.offer(ended("again"))
    assert drained(source) == [("scope", "again")]
    source.discard()


@pytest.mark.parametrize("batch", [1, 50, 129, 1000])
def test_as_many_spans_wait_as_the_setting_promises(tmp_path: Path, batch: int) -> None:
    source = segment(tmp_path, capacity=1000, batch=batch)
    for _ in range(1000):
        source.offer(ended("x", size=300))
    assert (source.waiting, source.account.drops()) == (1000, {})
    source.discard()


def test_chunks_are_used_again(tmp_path: Path) -> None:
    """More spans go through than the segment holds at once."""
    source = segment(tmp_path, capacity=100, batch=100)
    for _ in range(60):
        for _ in range(100):
            source.offer(ended("x", size=1000))
        assert len(drained(source)) == 100
    assert source.account.drops() == {}
    source.discard()


def test_a_span_larger_than_a_chunk_arrives(tmp_path: Path) -> None:
    source = segment(tmp_path)
    source.offer(ended("before"))
    source.offer(ended("large", size=2 * CHUNK))
    source.offer(ended("after"))
    assert sorted(drained(source)) == [("scope", "after"), ("scope", "before"), ("scope", "large")]
    source.discard()


def test_a_large_span_is_sent_beside_small_ones(tmp_path: Path) -> None:
    source = segment(tmp_path)
    source.offer(ended("large", size=2 * CHUNK))
    source.offer(ended("small"))
    load = source.load(partial=True)
    assert load is not None
    assert {name for _, name in spans_of(load)} == {"large", "small"}
    source.release(load)
    source.discard()


def test_large_spans_are_bounded_by_their_bytes(tmp_path: Path) -> None:
    source = segment(tmp_path)
    for number in range(40):
        source.offer(ended(str(number), size=1024 * 1024))
    dropped = source.account.drops()["queue_full"]
    assert 40 - 32 <= dropped <= 40 - 30, "32 MiB wait at most"
    load = source.load(partial=True)
    assert load is not None
    assert sum(map(len, load.body)) < 4 * 1024 * 1024 + 1024, "a receiver's limit"
    source.release(load)
    assert len(drained(source)) + load.count + dropped == 40
    source.discard()


def test_each_of_many_scopes_has_room_also_in_a_small_queue(tmp_path: Path) -> None:
    source = segment(tmp_path, capacity=2048, batch=512)
    for number in range(100):
        source.offer(ended("span", scope=f"scope {number}"))
    assert source.account.drops() == {}
    assert len(drained(source)) == 100
    source.discard()


def test_what_is_discarded_during_a_request_is_gone_when_that_ends(tmp_path: Path) -> None:
    source = segment(tmp_path, capacity=10)
    for number in range(8):
        source.offer(ended(str(number)))
    load = source.load(partial=True)
    assert load is not None
    source.discard()
    source.offer(ended("a", scope="first"))
    source.release(load)
    for number in range(9):
        source.offer(ended(f"b{number}", scope="second"))
    assert source.account.drops() == {}, "the discarded ones take no room"
    assert sorted(drained(source)) == [("first", "a"), *(("second", f"b{number}") for number in range(9))]
    source.discard()


def test_a_span_that_ends_on_top_of_the_writing_of_another_is_kept(tmp_path: Path) -> None:
    """As from a signal handler or a finalizer: the lock is held by this very thread."""
    source = segment(tmp_path)
    source.offer(ended("first"))
    (chunk,) = source._segment.used.values()  # type: ignore[union-attr]
    memory = chunk.data

    class Interrupted:
        def __setitem__(self, place: slice, record: bytes) -> None:
            chunk.data = memory
            source.offer(ended("inner"))
            memory[place] = record

    chunk.data = Interrupted()  # type: ignore[assignment]
    source.offer(ended("outer"))
    assert sorted(drained(source)) == [("scope", "first"), ("scope", "inner"), ("scope", "outer")]
    source.discard()


def test_an_offer_waits_for_nobody(tmp_path: Path) -> None:
    """While another holds the lock, an ended span is set aside; whoever comes next writes it."""
    source = segment(tmp_path)
    source.offer(ended("before"))
    with source._lock:
        source.offer(ended("meanwhile"))
        assert source.waiting == 2
    source.offer(ended("after"))
    assert not source._aside
    assert sorted(name for _, name in drained(source)) == ["after", "before", "meanwhile"]
    with source._lock:
        source.offer(ended("alone"))
    assert drained(source) == [("scope", "alone")]
    with source._lock:
        source.offer(ended("too late"))
    assert source.discard() == 1


def test_threads_and_delivery_at_once_lose_nothing_and_send_nothing_twice(tmp_path: Path) -> None:
    source = segment(tmp_path, batch=50)
    threads, each = 4, 1500
    spans = [[ended(f"{thread}-{number}") for number in range(each)] for thread in range(threads)]

    def offer(mine: list[Any]) -> None:
        for span in mine:
            source.offer(span)

    running = [threading.Thread(target=offer, args=(mine,)) for mine in spans]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)  # so that they meet inside of an offer
    try:
        for thread in running:
            thread.start()
        found = []
        while any(thread.is_alive() for thread in running):
            found += drained(source)
        found += drained(source)
    finally:
        sys.setswitchinterval(interval)
    assert len(found) == len(set(found)) == threads * each
    assert (source.waiting, source.account.drops()) == (0, {})
    for thread in range(threads):
        mine = [int(name.split("-")[1]) for _, name in found if name.startswith(f"{thread}-")]
        assert sorted(mine) == list(range(each))
    source.discard()


PARENT = tuple(ended("parent").get_span_context())
LEAF = (PARENT, 2, "leaf", 2, 5, 9, Fixed({"k": "v"}))


def named(name: str, size: int = 0) -> tuple[Any, ...]:
    """What is handed on of a leaf."""
    return (PARENT, 2, name, 2, 5, 9, Fixed({"text": "x" * size} if size else {}))


def test_leaves_stand_among_the_spans_of_their_scope(tmp_path: Path) -> None:
    source = segment(tmp_path, batch=3)
    span = ended("span")
    source.offer(span)
    woken: list[int] = []
    source.wakes(lambda: woken.append(source.waiting), at_once=False)
    for _ in range(2):
        source.offer_leaf(span.resource, span.instrumentation_scope, LEAF)
    assert woken == [3]
    assert drained(source) == [("scope", "span"), ("scope", "leaf"), ("scope", "leaf")]
    source.discard()


@settings(max_examples=40)
@given(told=st.lists(st.tuples(st.sampled_from("abc"), st.booleans(), st.integers(0, 3000)), max_size=120))
def test_leaves_and_spans_come_out_by_scope_and_in_order(
    told: list[tuple[str, bool, int]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    source = segment(tmp_path_factory.mktemp("s"), batch=16)
    for number, (scope, leaf, size) in enumerate(told):
        span = ended(str(number), scope, size)
        if leaf:
            source.offer_leaf(span.resource, span.instrumentation_scope, named(str(number), size))
        else:
            source.offer(span)
    assert source.waiting == len(told)
    found = drained(source)
    offered = [(scope, str(number)) for number, (scope, *_) in enumerate(told)]
    for scope in "abc":
        assert [pair for pair in found if pair[0] == scope] == [pair for pair in offered if pair[0] == scope]
    assert (len(found), source.waiting, source.account.drops()) == (len(told), 0, {})
    source.discard()


def test_resources_with_a_scope_in_common_have_their_own_spans(tmp_path: Path) -> None:
    source, scope = segment(tmp_path), ended("span").instrumentation_scope
    one, other = Resource({"is": "one"}), Resource({"is": "other"})
    for number, resource in enumerate((one, one, other, one, other, other)):
        source.offer_leaf(resource, scope, named(str(number)))
    load = source.load(partial=True)
    assert load is not None
    request = ExportTraceServiceRequest.FromString(b"".join(load.body))
    assert sorted(
        (
            each.resource.attributes[0].value.string_value,
            [span.name for scope in each.scope_spans for span in scope.spans],
        )
        for each in request.resource_spans
    ) == [("one", ["0", "1", "3"]), ("other", ["2", "4", "5"])]
    source.discard()


def test_after_all_was_discarded_a_known_scope_s_spans_arrive(tmp_path: Path) -> None:
    source, span = segment(tmp_path), ended("after")
    for _ in range(2):
        source.offer(span)
        source.offer_leaf(span.resource, span.instrumentation_scope, LEAF)
        assert source.discard() == 2
    source.offer(span)
    source.offer_leaf(span.resource, span.instrumentation_scope, LEAF)
    assert drained(source) == [("scope", "after"), ("scope", "leaf")]
    assert source.account.drops() == {}
    source.discard()


def test_a_leaf_larger_than_a_chunk_arrives(tmp_path: Path) -> None:
    source = segment(tmp_path)
    span = ended("span")
    source.offer(span)
    for leaf in (named("large", 2 * CHUNK), named("small")):
        source.offer_leaf(span.resource, span.instrumentation_scope, leaf)
    assert sorted(drained(source)) == [("scope", "large"), ("scope", "small"), ("scope", "span")]
    source.discard()


def test_a_leaf_waits_for_nobody(tmp_path: Path) -> None:
    source = segment(tmp_path)
    span = ended("span")
    with source._lock:
        source.offer_leaf(span.resource, span.instrumentation_scope, named("meanwhile"))
        assert source.waiting == 1
    source.offer_leaf(span.resource, span.instrumentation_scope, named("after"))
    assert not source._aside
    assert sorted(drained(source)) == [("scope", "after"), ("scope", "meanwhile")]
    source.discard()


def test_a_leaf_that_cannot_be_encoded_is_counted(tmp_path: Path) -> None:
    source = segment(tmp_path)
    source.offer_leaf(PROVIDER.resource, None, (PARENT, 2, "leaf", 2, -5, 9, Fixed({})))
    assert source.account.drops() == {"encoding": 1}
    assert source.load(partial=True) is None


def test_what_is_in_a_request_under_way_takes_room_until_that_is_over(tmp_path: Path) -> None:
    source = segment(tmp_path, capacity=10, batch=10)
    for number in range(8):
        source.offer(ended(str(number)))
    load = source.load(partial=True)
    assert load is not None
    for number in range(3):
        source.offer(ended(f"during {number}"))
    assert source.account.drops() == {"queue_full": 1}
    source.release(load)
    for number in range(9):
        source.offer(ended(f"after {number}"))
    assert source.account.drops() == {"queue_full": 2}
    assert len(drained(source)) == 10
    for number in range(11):
        source.offer(ended(str(number)))
    assert source.account.drops() == {"queue_full": 3}
    source.discard()


def test_what_was_set_aside_and_cannot_be_written_is_counted(tmp_path: Path) -> None:
    source = segment(tmp_path)
    source.offer(ended("first"))
    with source._lock:
        source._aside.append((object(), object(), b"of a scope that is none"))
        source.offer(ended("second"))
    assert drained(source) == [("scope", "first"), ("scope", "second")]
    assert source.account.drops() == {"encoding": 1}
    assert not source._lock.locked()
    source.discard()


def test_what_cannot_be_written_is_told_without_the_lock(tmp_path: Path) -> None:
    """A log handler may wait for the delivery thread, which would wait for the lock."""
    source, locked = segment(tmp_path), []

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            locked.append(source._lock.locked())

    handler, logger = Handler(), logging.getLogger("spanwise.deliver")
    source._aside.append((object(), object(), b"of a scope that is none"))
    logger.addHandler(handler)
    try:
        source.offer(ended("one"))
    finally:
        logger.removeHandler(handler)
    assert locked == [False]
    assert drained(source) == [("scope", "one")]
    source.discard()


def test_a_child_that_is_forked_while_one_is_written_goes_on(tmp_path: Path) -> None:
    """By a signal handler: the lock that is held is not the child's."""
    source = segment(tmp_path)
    source.offer(ended("first"))
    (chunk,) = source._segment.used.values()  # type: ignore[union-attr]
    memory = chunk.data
    locks = [source._lock]

    class Interrupted:
        def __setitem__(self, place: slice, record: bytes) -> None:
            memory[place] = record
            source.reset()
            locks.append(source._lock)
            raise OSError("the file is the parent's")

    with source._lock:
        source.offer(ended("aside"))
    chunk.data = Interrupted()  # type: ignore[assignment]
    assert source.load(partial=True) is None
    assert [lock.locked() for lock in locks] == [False, False]
    assert source.account.drops() == {"encoding": 1}
    source.offer(ended("child's"))
    assert drained(source) == [("scope", "child's")]
    source.discard()


def test_a_child_that_is_forked_while_a_scope_s_first_is_written_sends_no_empty_requests(
    tmp_path: Path,
) -> None:
    class Interrupted(Lanes):
        def of(self, *which: Any) -> Any:
            source.reset()
            return super().of(*which)

    source = segment(tmp_path)
    source._lanes = Interrupted()
    source.offer(ended("parent's"))
    assert source.load(partial=True) is None
    assert (source.waiting, source.account.drops()) == (0, {})
    source.offer(ended("child's"))
    assert drained(source) == [("scope", "child's")]
    source.discard()


def test_what_a_signal_handler_ends_within_an_offer_is_written_after_it(tmp_path: Path) -> None:
    source = segment(tmp_path)
    source.offer(ended("first"))
    source._lock.acquire()
    for name in ("second", "third"):
        source.offer(ended(name))
    assert source.waiting == 3
    source._lock.release()
    source.offer(ended("fourth"))
    assert sorted(drained(source)) == [("scope", name) for name in ("first", "fourth", "second", "third")]
    source.discard()


def test_what_is_set_aside_in_the_last_moment_is_written(tmp_path: Path) -> None:
    class Lock:
        """Another thread comes right before a release; and again before the next."""

        def __init__(self) -> None:
            self._lock = threading.Lock()
            self.acquire, self.locked = self._lock.acquire, self._lock.locked
            self.last: list[Any] = [ended("third"), ended("second")]

        def release(self) -> None:
            if self.last:
                source.offer(self.last.pop())
            self._lock.release()

    source = segment(tmp_path)
    source._lock = Lock()  # type: ignore[assignment]
    source.offer(ended("first"))
    assert (source._waiting, len(source._aside)) == (3, 0)
    source._lock = threading.Lock()
    assert drained(source) == [("scope", name) for name in ("first", "second", "third")]
    source.discard()


def test_what_was_set_aside_goes_out_without_another_offer(tmp_path: Path) -> None:
    source = segment(tmp_path)
    source._lock.acquire()
    source.offer(ended("aside"))
    source._lock.release()
    assert drained(source) == [("scope", "aside")]
    assert source.load(partial=True) is None


def test_what_cannot_be_encoded_is_counted(tmp_path: Path) -> None:
    source = segment(tmp_path)
    source.offer(object())  # type: ignore[arg-type]
    assert source.account.drops() == {"encoding": 1}
    assert source.load(partial=True) is None


def test_a_folder_that_cannot_be_written_costs_one_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(segments, "_logger", Log("spanwise.deliver"))  # which has told nothing yet
    source = segment(tmp_path / "missing" / "too")
    for _ in range(3):
        source.offer(ended("x"))
    assert len(drained(source)) == 3
    assert [record.message[:38] for record in caplog.records] == ["ended spans will not outlive a kill: /"]


# -- a kill, and who comes after ----------------------------------------------------------------

KILLED = """
import os, signal, sys
from pathlib import Path
from spanwise.deliver.account import Account
from spanwise.deliver.span_segment import SpanSegment
from spanwise.fixed import Fixed
from spanwise.spans.provider import TracerProvider
source = SpanSegment(Account("traces"), capacity=5000, batch=100, folder=Path(sys.argv[1]), label="here")
provider = TracerProvider(shutdown_on_exit=False)
for number in range(1000):
    span = provider.get_tracer("ab"[number % 2]).start_span(str(number))
    span.end()
    if number % 3:
        source.offer(span)
    else:
        leaf = tuple(span.get_span_context()), 2, str(number), 2, 5, 9, Fixed({"k": "v"})
        source.offer_leaf(span.resource, span.instrumentation_scope, leaf)
    if number == 299:  # some were sent before
        load = source.load(partial=False)
        source.release(load)
        print(load.count, flush=True)
if len(sys.argv) > 2:
    while (load := source.load(partial=True)) is not None:
        source.release(load)
os.kill(os.getpid(), signal.SIGKILL)
"""


def killed(folder: Path, *options: str) -> int:
    """A process that recorded 1,000 spans, and was killed; how many it had sent."""
    command = [sys.executable, "-c", KILLED, str(folder), *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == -signal.SIGKILL, done.stderr
    return int(done.stdout)


def files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.segment"))


def test_the_next_process_sends_what_a_killed_one_had_not(tmp_path: Path) -> None:
    sent = killed(tmp_path)
    assert 0 < sent < 1000
    source = segment(tmp_path)
    source.adopt()
    assert source.full, "adopted spans wait for nothing"
    found = _adopted(source)
    assert len(found) == len(set(found)) == 1000 - sent
    assert {scope for scope, _ in found} == {"a", "b"}
    assert max(int(name) for _, name in found) == 999
    assert files(tmp_path) == [], "the file goes when the last of it was sent"


def _adopted(source: SpanSegment) -> list[tuple[str, str]]:
    found = []
    while (load := source.load(partial=True)) is not None:
        assert load.adopted
        found += spans_of(load)
        source.release(load)
    return found


def test_what_was_adopted_and_not_sent_is_left_to_the_next(tmp_path: Path) -> None:
    sent = killed(tmp_path)
    first = segment(tmp_path)
    first.adopt()
    assert first.load(partial=True) is not None
    assert first.discard() == 0, "it is in the file, not lost"
    second = segment(tmp_path)
    second.adopt()
    assert len(_adopted(second)) == 1000 - sent


def test_what_was_sent_before_the_kill_is_not_sent_again(tmp_path: Path) -> None:
    killed(tmp_path, "all sent")
    source = segment(tmp_path)
    source.adopt()
    assert _adopted(source) == []
    assert files(tmp_path) == []


def test_one_of_two_adopts(tmp_path: Path) -> None:
    sent = killed(tmp_path)
    sources = [segment(tmp_path), segment(tmp_path)]
    for source in sources:
        source.adopt()
    assert sorted(len(_adopted(source)) for source in sources) == [0, 1000 - sent]


def test_what_another_sent_while_its_file_was_being_opened_is_not_sent_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lock is granted then: the other one has let go of it, and removed the file."""
    sent = killed(tmp_path)
    first, second, lock = segment(tmp_path), segment(tmp_path), fcntl.flock
    others: list[tuple[str, str]] = []

    def flock(handle: int, operation: int) -> None:
        monkeypatch.undo()
        first.adopt()
        others.extend(_adopted(first))
        lock(handle, operation)

    monkeypatch.setattr(fcntl, "flock", flock)
    second.adopt()
    assert len(others) == 1000 - sent
    assert _adopted(second) == []


def test_a_live_process_and_another_destination_are_left_alone(tmp_path: Path) -> None:
    live = segment(tmp_path)
    live.offer(ended("mine"))
    killed(tmp_path)
    other = segment(tmp_path, label="elsewhere")
    other.adopt()
    assert _adopted(other) == []
    assert len(files(tmp_path)) == 2
    heir = segment(tmp_path)
    heir.adopt()
    assert ("scope", "mine") not in _adopted(heir)
    assert drained(live) == [("scope", "mine")]
    live.discard()
    assert files(tmp_path) == []


def test_a_forked_child_leaves_its_parent_s_file_alone(tmp_path: Path) -> None:
    source = segment(tmp_path)
    source.offer(ended("parent's"))
    child = os.fork()
    if child == 0:
        source.reset()
        source.account.reset()
        source.offer(ended("child's"))
        os._exit(0 if drained(source) == [("scope", "child's")] else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert drained(source) == [("scope", "parent's")]
    source.discard()


def test_what_nobody_comes_for_is_removed_after_a_week(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    sent = killed(tmp_path)
    live = segment(tmp_path, label="live")
    live.offer(ended("mine"))
    for file in files(tmp_path):
        os.utime(file, (0, FORGOTTEN_SECONDS * 2))
    sweep(tmp_path, FORGOTTEN_SECONDS * 3 - 1)
    assert len(files(tmp_path)) == 2
    segment(tmp_path, label="elsewhere").adopt()
    assert len(files(tmp_path)) == 1, "the live process's stays"
    assert f"{1000 - sent} spans are lost" in caplog.text
    assert drained(live) == [("scope", "mine")]
    live.discard()


def test_what_is_not_ours_is_left_alone(tmp_path: Path) -> None:
    """In a folder of the user's choice other files may have such a name."""
    foreign = tmp_path / "traces-00000000-1.segment"
    foreign.write_bytes(b"somebody's data" * 10_000)
    os.utime(foreign, (0, 0))
    sweep(tmp_path, FORGOTTEN_SECONDS * 3)
    assert foreign.exists()


def test_all_that_was_adopted_is_let_go_of(tmp_path: Path) -> None:
    for _ in range(3):
        killed(tmp_path)
    heir = segment(tmp_path)
    heir.adopt()
    heir.discard()
    assert len(find(tmp_path, "here")) == 3


@pytest.mark.parametrize("damage", [b"\xff", b"\x00"])
def test_damage_costs_the_rest_of_its_chunk_and_is_counted(tmp_path: Path, damage: bytes) -> None:
    sent = killed(tmp_path)
    (path,) = files(tmp_path)
    data = bytearray(path.read_bytes())
    chunk = next(at for at in range(len(data) // CHUNK * CHUNK, -1, -CHUNK) if data[at : at + 4] == b"SPW1")
    first = data.index(b"\x12", chunk + 8 + int.from_bytes(data[chunk + 4 : chunk + 8], "little"))
    length = data[first + 1]  # below 128 for these small spans
    data[first + 2 + length : first + 3 + length] = damage
    path.write_bytes(data)
    (orphan,) = find(tmp_path, "here")
    counts = [_count(body) for _, body in orphan.requests()]
    assert 0 < sum(counts) < 1000 - sent
    # A zero is how a chunk ends: that much is lost without a trace, anything else is noticed.
    assert orphan.damaged == (1 if damage == b"\xff" else 0)
    orphan.close(remove=True)


def _count(body: bytes) -> int:
    return sum(1 for _ in _all_spans(ExportTraceServiceRequest.FromString(body)))


def _all_spans(request: Any) -> Iterable[Any]:
    for resource in request.resource_spans:
        for scope in resource.scope_spans:
            yield from scope.spans


@pytest.mark.parametrize(("at_once", "expected"), [(False, [3, 4]), (True, [1, 2, 3, 4])])
def test_whoever_sends_is_woken_when_a_request_waits_or_at_once(
    tmp_path: Path, at_once: bool, expected: list[int]
) -> None:
    source = segment(tmp_path, batch=3)
    woken: list[int] = []
    source.wakes(lambda: woken.append(source.waiting), at_once=at_once)
    for number in range(4):
        source.offer(ended(str(number)))
    assert woken == expected
    source.reset()  # as in a forked child: the channel is the same
    source.offer(ended("x"))
    assert woken == expected + ([1] if at_once else [])
    source.discard()
