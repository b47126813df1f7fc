"""The delivery thread: flush, metrics, an end within its time."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator, Sequence

import pytest

from spanwise.deliver.account import Account
from spanwise.deliver.answer import Answer, Fate
from spanwise.deliver.channel import Channel
from spanwise.deliver.otlp_http import Client, Destination
from spanwise.deliver.source import Queue
from spanwise.deliver.worker import Worker
from spanwise.encode.request import Piece
from spanwise.log import own_threads


class Recorder:
    """Takes everything; tells in which order."""

    def __init__(self, name: str, order: list[str]) -> None:
        self.name, self.order = name, order

    def send(self, body: Sequence[Piece], timeout: float | None = None) -> Answer:
        self.order.append(f"{self.name}:{b''.join(body).decode()}")
        return Answer(Fate.DELIVERED)

    def close(self) -> None:
        """Nothing is open."""


def channel(signal: str, sender: Recorder | Client) -> Channel:
    """A channel that sends nothing by itself for an hour."""
    source = Queue(Account(signal), lambda items, _: "".join(items).encode(), capacity=100, batch=50)
    return Channel(source, sender, address="there", delay=3600.0, wake=lambda: None)


@pytest.fixture
def order() -> list[str]:
    """What was sent."""
    return []


@pytest.fixture
def silent() -> Iterator[str]:
    """The address of a server that accepts and never answers."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/"


def test_flush_sends_all_and_collects_metrics_last(order: list[str]) -> None:
    traces, metrics = (
        channel("traces", Recorder("traces", order)),
        channel("metrics", Recorder("metrics", order)),
    )
    worker = Worker((traces, metrics), lambda: metrics.offer(f"after {len(order)}"), 3600.0)
    worker.start()
    traces.offer("span")
    assert worker.flush(30)
    assert order == ["traces:span", "metrics:after 1"]
    worker.shutdown(30)


def test_shutdown_delivers_what_waits_and_collects_once(order: list[str]) -> None:
    traces, metrics = (
        channel("traces", Recorder("traces", order)),
        channel("metrics", Recorder("metrics", order)),
    )
    before = dict(own_threads)
    worker = Worker((traces, metrics), lambda: metrics.offer("collected"), 3600.0)
    worker.start()
    traces.offer("span")
    worker.shutdown(30)
    worker.shutdown(30)
    assert order == ["traces:span", "metrics:collected"]
    assert own_threads == before


def test_without_a_thread_shutdown_delivers_itself(order: list[str]) -> None:
    traces = channel("traces", Recorder("traces", order))
    worker = Worker((traces,), None, 3600.0)
    traces.offer("span")
    worker.shutdown(30)
    assert order == ["traces:span"]


def test_a_server_that_never_answers_cannot_hold_the_end_up(
    silent: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The client alone would wait an hour: that shutdown comes back at all is its time-out's doing."""
    traces = channel("traces", Client(Destination(url=silent, timeout=3600.0)))
    worker = Worker((traces,), None, 3600.0)
    worker.start()
    traces.offer("span")
    ended = threading.Event()

    def end() -> None:
        worker.shutdown(0.3)
        ended.set()

    threading.Thread(target=end, daemon=True).start()
    assert ended.wait(60)
    assert traces.account.drops() == {"exit": 1}
    assert "not delivered at exit: 1 spans" in caplog.text


def test_a_flush_against_it_gives_up_and_says_so(silent: str) -> None:
    traces = channel("traces", Client(Destination(url=silent, timeout=3600.0)))
    worker = Worker((traces,), None, 3600.0)
    worker.start()
    traces.offer("span")
    assert worker.flush(0.2) is False
    assert traces.waiting == 1
    worker.shutdown(0.2)


def test_a_flush_from_a_metric_callback_does_not_wait_for_itself(order: list[str]) -> None:
    metrics = channel("metrics", Recorder("metrics", order))
    answers: list[bool] = []
    worker = Worker((metrics,), lambda: answers.append(worker.flush(3600)), 3600.0)
    worker.start()
    assert worker.flush(30)
    assert answers == [False]
    worker.shutdown(30)


def test_a_fault_in_collecting_does_not_end_delivery(
    order: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    traces = channel("traces", Recorder("traces", order))
    failed = threading.Event()

    def collect() -> None:
        if not failed.is_set():
            failed.set()
            raise RuntimeError("planted")

    worker = Worker((traces,), collect, 0.01)
    worker.start()
    assert failed.wait(60)
    traces.offer("span")
    end = time.monotonic() + 60
    while not worker.flush(5) and time.monotonic() < end:
        pass
    assert order == ["traces:span"]
    assert "delivery failed unexpectedly" in caplog.text
    worker.shutdown(30)


def test_many_flushes_at_once_all_come_back(order: list[str]) -> None:
    traces = channel("traces", Recorder("traces", order))
    worker = Worker((traces,), None, 3600.0)
    worker.start()
    answers: list[bool] = []

    def flush() -> None:
        for _ in range(50):
            traces.offer("x")
            answers.append(worker.flush(30))

    threads = [threading.Thread(target=flush) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(answers) == 200
    assert traces.account.delivered == 200
    worker.shutdown(30)


def test_a_destination_that_knows_no_time_out_cannot_either(order: list[str]) -> None:
    """Looking a name up can take minutes, and no time-out of a socket holds for it."""
    released, stuck = threading.Event(), threading.Event()

    class Stuck(Recorder):
        def send(self, body: Sequence[Piece], timeout: float | None = None) -> Answer:
            stuck.set()
            released.wait()
            return super().send(body, timeout)

    traces = channel("traces", Stuck("traces", order))
    worker = Worker((traces,), None, 3600.0)
    worker.start()
    traces.offer("span")
    flushing = threading.Thread(target=worker.flush, args=(0.0,))
    flushing.start()
    assert stuck.wait(60)
    ended = threading.Event()
    threading.Thread(target=lambda: (worker.shutdown(0.1), ended.set()), daemon=True).start()
    assert ended.wait(60)
    assert traces.account.drops() == {"exit": 1}
    released.set()
    flushing.join(60)


def test_a_flush_of_one_signal_leaves_the_others_alone(order: list[str]) -> None:
    traces, logs, metrics = (
        channel(signal, Recorder(signal, order)) for signal in ("traces", "logs", "metrics")
    )
    worker = Worker((traces, logs, metrics), lambda: metrics.offer("collected"), 3600.0)
    worker.start()
    traces.offer("span")
    logs.offer("record")
    assert worker.flush(30, traces)
    assert order == ["traces:span"]
    assert worker.flush(30, metrics)
    assert order == ["traces:span", "metrics:collected"]
    worker.shutdown(30)
    assert order == ["traces:span", "metrics:collected", "logs:record", "metrics:collected"]
