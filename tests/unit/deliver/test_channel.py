"""A channel's books: whatever happens, offered = delivered + dropped + waiting."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from spanwise.deliver.account import Account
from spanwise.deliver.answer import Answer, Fate
from spanwise.deliver.channel import Channel
from spanwise.deliver.source import Queue
from spanwise.encode.request import Piece

TAKEN = Answer(Fate.DELIVERED)


class Sender:
    """Answers with what it is told, in order, then takes everything."""

    def __init__(self, *answers: Answer) -> None:
        self.answers = list(answers)
        self.bodies: list[bytes] = []

    def send(self, body: Sequence[Piece], timeout: float | None = None) -> Answer:
        self.bodies.append(b"".join(body))
        return self.answers.pop(0) if self.answers else TAKEN

    def close(self) -> None:
        """Nothing is open."""


def encode(items: Sequence[Any], _: object = None) -> bytes:
    """The items, told apart."""
    if "bad" in items:
        raise ValueError("bad")
    return ",".join(map(str, items)).encode()


def channel(sender: Sender, capacity: int = 100, batch: int = 10, delay: float = 60.0) -> Channel:
    """A channel in front of ``sender``."""
    source = Queue(Account("traces"), encode, capacity=capacity, batch=batch)
    return Channel(source, sender, address="http://there", delay=delay)


def soon() -> float:
    """A deadline far enough."""
    return time.monotonic() + 60


def test_full_batches_go_at_once_and_the_rest_after_its_delay() -> None:
    sender = Sender()
    made = channel(sender)
    for number in range(25):
        made.offer(number)
    now = time.monotonic()
    assert made.due(now) <= 0
    made.step(now)
    assert [len(body.split(b",")) for body in sender.bodies] == [10, 10]
    assert made.waiting == 5
    assert made.due(now) > 50
    made.step(now + 61)
    assert [len(body.split(b",")) for body in sender.bodies] == [10, 10, 5]
    assert (made.account.delivered, made.waiting) == (25, 0)
    assert b",".join(sender.bodies) == encode(range(25))


def test_an_application_that_goes_on_recording_causes_no_stream_of_tiny_requests() -> None:
    """When a delay is over what waits goes in one request; what comes meanwhile has a delay of its own."""

    class Meanwhile(Sender):
        def send(self, body: Sequence[Piece], timeout: float | None = None) -> Answer:
            if len(self.bodies) < 5:
                made.offer("later")
            return super().send(body, timeout)

    sender = Meanwhile()
    made = channel(sender)
    made.offer("first")
    made.step(time.monotonic() + 61)
    assert sender.bodies == [b"first"]
    assert made.waiting == 1


def test_a_server_that_asks_for_a_day_is_asked_again_after_five_minutes() -> None:
    sender = Sender(Answer(Fate.RETRY, reason="503", retry_after=86_400.0))
    made = channel(sender, batch=1)
    made.offer("item")
    before = time.monotonic()
    made.step(before)
    after = time.monotonic()
    assert made.due(before) >= 300
    assert made.due(after) <= 300
    made.step(before + 299)
    assert len(sender.bodies) == 1
    made.step(after + 301)
    assert sender.bodies == [b"item"] * 2


def test_drops_are_counted_exactly_under_many_threads() -> None:
    sender = Sender()
    made = channel(sender, capacity=500, batch=50)
    offered, threads = 2_000, 8
    together = threading.Barrier(threads + 1)

    def offer() -> None:
        together.wait()
        for number in range(offered):
            made.offer(number)

    running = [threading.Thread(target=offer) for _ in range(threads)]
    for thread in running:
        thread.start()
    together.wait()
    while any(thread.is_alive() for thread in running):
        made.step(time.monotonic() + 120)
    made.drain(soon())
    assert made.waiting == 0
    assert made.account.dropped["queue_full"] > 0
    assert made.account.delivered + made.account.dropped["queue_full"] == offered * threads
    assert made.account.finished == offered * threads
    assert sum(len(body.split(b",")) for body in sender.bodies) == made.account.delivered


def test_a_full_queue_drops_what_comes_and_keeps_what_was() -> None:
    sender = Sender()
    made = channel(sender, capacity=3)
    for number in range(5):
        made.offer(number)
    made.drain(soon())
    assert sender.bodies == [b"0,1,2"]
    assert made.account.drops() == {"queue_full": 2}


def test_what_cannot_be_encoded_is_counted_and_the_rest_goes(caplog: pytest.LogCaptureFixture) -> None:
    sender = Sender()
    made = channel(sender, batch=2)
    for item in ("a", "bad", "c"):
        made.offer(item)
    assert made.drain(soon())
    assert sender.bodies == [b"c"]
    assert made.account.drops() == {"encoding": 2}
    assert made.account.delivered == 1
    assert "2 spans could not be encoded" in caplog.text


def test_partial_success_counts_the_refused(caplog: pytest.LogCaptureFixture) -> None:
    answer = ExportTraceServiceResponse()
    answer.partial_success.rejected_spans = 3
    answer.partial_success.error_message = "too old"
    sender = Sender(Answer(Fate.DELIVERED, body=answer.SerializeToString()))
    made = channel(sender)
    for number in range(10):
        made.offer(number)
    assert made.drain(soon())
    assert (made.account.delivered, made.account.drops()) == (7, {"rejected": 3})
    assert "rejected 3 of 10 spans: too old" in caplog.text


def test_a_server_cannot_refuse_more_than_it_got() -> None:
    answer = ExportTraceServiceResponse()
    answer.partial_success.rejected_spans = 1_000
    made = channel(Sender(Answer(Fate.DELIVERED, body=answer.SerializeToString())))
    made.offer(1)
    made.drain(soon())
    assert (made.account.delivered, made.account.drops()) == (0, {"rejected": 1})


def test_refused_bytes_are_dropped_with_their_reason_and_told_once(caplog: pytest.LogCaptureFixture) -> None:
    refused = Answer(Fate.REFUSED, reason="400")
    sender = Sender(refused, refused)
    made = channel(sender, batch=2)
    for number in range(6):
        made.offer(number)
    assert made.drain(soon())
    assert (made.account.delivered, made.account.drops()) == (2, {"400": 4})
    assert len([record for record in caplog.records if "refused 2 spans (400)" in record.getMessage()]) == 1


def test_the_same_bytes_wait_and_are_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    down = Answer(Fate.RETRY, reason="503", retry_after=40.0)
    sender = Sender(down)
    made = channel(sender, batch=2)
    for number in range(3):
        made.offer(number)
    before = time.monotonic()
    made.step(before)
    made.offer(3)
    assert sender.bodies == [b"0,1"]
    assert made.waiting == 4
    assert made.due(before) >= 40
    made.step(before + 39)
    assert sender.bodies == [b"0,1"]
    made.step(before + 100)
    assert sender.bodies == [b"0,1", b"0,1", b"2,3"]
    assert (made.account.delivered, made.account.retried, made.account.drops()) == (4, 1, {})
    assert "cannot be delivered to http://there (503)" in caplog.text
    assert "delivered to http://there again" in caplog.text


def test_abandoned_items_are_counted_waiting_and_on_their_way() -> None:
    made = channel(Sender(Answer(Fate.RETRY, reason="503")), batch=2)
    for number in range(5):
        made.offer(number)
    assert not made.drain(soon())
    assert made.abandon("exit") == 5
    assert (made.waiting, made.account.drops()) == (0, {"exit": 5})


def test_a_reset_channel_has_nothing_and_has_counted_nothing() -> None:
    made = channel(Sender(Answer(Fate.RETRY, reason="503")), capacity=2, batch=1)
    for number in range(5):
        made.offer(number)
    made.step(time.monotonic())
    made.reset()
    assert (made.waiting, made.account.finished, made.account.retried) == (0, 0, 0)
    assert made.drain(soon())


def test_drops_may_be_counted_on_top_of_counting() -> None:
    """SIGTERM's handler runs between two instructions of a thread that may hold the lock."""
    made = channel(Sender())
    made.offer(1)
    done = threading.Event()

    def interrupted() -> None:
        with made.account._lock:
            made.abandon("exit")
        done.set()

    threading.Thread(target=interrupted, daemon=True).start()
    assert done.wait(60)


def test_what_is_forgotten_is_neither_sent_nor_counted() -> None:
    sender = Sender(Answer(Fate.RETRY))
    made = channel(sender)
    for number in range(15):
        made.offer(number)
    made.step(time.monotonic())
    assert made.waiting == 15, "a request waits for its next attempt"
    made.forget()
    assert (made.waiting, made.account.finished, made.account.drops()) == (0, 0, {})
    made.offer("later")
    made.drain(soon())
    assert sender.bodies[1:] == [b"later"]
