"""The delivery threads: flush, metrics, an end within its time."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence

import pytest

from spanwise import threads
from spanwise.deliver.account import Account
from spanwise.deliver.answer import Answer, Fate
from spanwise.deliver.channel import Channel
from spanwise.deliver.otlp_http import Client, Destination
from spanwise.deliver.source import Queue
from spanwise.deliver.worker import Worker
from spanwise.deliver.workers import Workers
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
    return Channel(source, sender, address="there", delay=3600.0)


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
    worker = Workers((traces, metrics), lambda: metrics.offer(f"after {len(order)}"), 3600.0)
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
    worker = Workers((traces, metrics), lambda: metrics.offer("collected"), 3600.0)
    worker.start()
    traces.offer("span")
    worker.shutdown(30)
    worker.shutdown(30)
    assert order == ["traces:span", "metrics:collected"]
    assert own_threads == before


def test_without_a_thread_shutdown_delivers_itself(order: list[str]) -> None:
    traces = channel("traces", Recorder("traces", order))
    worker = Workers((traces,), None, 3600.0)
    traces.offer("span")
    worker.shutdown(30)
    assert order == ["traces:span"]


def test_a_server_that_never_answers_cannot_hold_the_end_up(
    silent: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The client alone would wait an hour: that shutdown comes back at all is its time-out's doing."""
    traces = channel("traces", Client(Destination(url=silent, timeout=3600.0)))
    worker = Workers((traces,), None, 3600.0)
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
    worker = Workers((traces,), None, 3600.0)
    worker.start()
    traces.offer("span")
    assert worker.flush(0.2) is False
    assert traces.waiting == 1
    worker.shutdown(0.2)


def test_a_flush_from_a_metric_callback_does_not_wait_for_itself(order: list[str]) -> None:
    metrics = channel("metrics", Recorder("metrics", order))
    answers: list[bool] = []
    worker = Workers((metrics,), lambda: answers.append(worker.flush(3600)), 3600.0)
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

    worker = Workers((traces,), collect, 0.01)
    worker.start()
    assert failed.wait(60)
    traces.offer("span")
    end = time.monotonic() + 60
    while not worker.flush(5) and time.monotonic() < end:
        pass
    assert order == ["traces:span"]
    assert caplog.text.count("the thread spanwise-traces failed unexpectedly, and goes on") == 1
    worker.shutdown(30)


OWN_KIND = type("OfTheApplication", (BaseException,), {})


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt, MemoryError, OWN_KIND])
def test_whatever_collecting_raises_the_signals_and_later_collections_go_on(
    error: type[BaseException], order: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threads, "_FIRST_PAUSE", 0.01)
    traces, metrics = (
        channel("traces", Recorder("traces", order)),
        channel("metrics", Recorder("metrics", order)),
    )
    calls: list[int] = []

    def collect() -> None:
        calls.append(1)
        if len(calls) < 3:
            raise error("planted")
        metrics.offer(f"after {len(calls)}")

    workers = Workers((traces, metrics), collect, 0.01)
    workers.start()
    traces.offer("span")
    assert workers.flush(60, traces)
    until(lambda: len(calls) > 3)
    workers.flush(60, metrics)  # the next collection may be waiting already
    assert order[0] == "traces:span"
    assert order[1].startswith("metrics:after 3")
    workers.shutdown(60)


class Stuck(Recorder):
    """Answers when it is released; no time-out holds for it, as for looking a name up."""

    def __init__(self, name: str, order: list[str]) -> None:
        super().__init__(name, order)
        self.stuck, self.released = threading.Event(), threading.Event()

    def send(self, body: Sequence[Piece], timeout: float | None = None) -> Answer:
        self.stuck.set()
        self.released.wait(60)
        return super().send(body, timeout)


@pytest.mark.parametrize("sick", ["traces", "logs", "metrics"])
def test_a_destination_that_hangs_holds_its_own_signal_alone(
    sick: str, order: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    hangs = Stuck(sick, order)
    signals = {
        signal: channel(signal, hangs if signal == sick else Recorder(signal, order))
        for signal in ("traces", "logs", "metrics")
    }
    workers = Workers(tuple(signals.values()), lambda: signals["metrics"].offer("collected"), 3600.0)
    workers.start()
    for signal, each in signals.items():
        each.offer(signal)
    assert workers.flush(0.5) is False
    assert hangs.stuck.wait(60)
    for signal, each in signals.items():
        if signal != sick:
            assert workers.flush(60, each), f"{signal} waits for {sick}"
            assert each.account.delivered >= 1
    ended = threading.Event()
    threading.Thread(target=lambda: (workers.shutdown(6.0), ended.set()), daemon=True).start()
    assert ended.wait(60), "its end waits for nobody longer than it was told"
    waited = {signal: each.account.drops().get("exit", 0) for signal, each in signals.items()}
    assert waited.pop(sick) >= 1
    assert set(waited.values()) == {0}
    hangs.released.set()
    until(lambda: not any(each.alive for each in workers._all))
    assert signals[sick].account.delivered == 0, "what was counted as lost is not counted twice"
    assert "unexpectedly" not in caplog.text


def test_a_flush_and_the_end_do_not_have_the_metrics_wait_for_a_destination_that_hangs(
    order: list[str],
) -> None:
    hangs = Stuck("traces", order)
    traces, metrics = channel("traces", hangs), channel("metrics", Recorder("metrics", order))
    workers = Workers((traces, metrics), lambda: metrics.offer("collected"), 3600.0)
    workers.start()
    traces.offer("span")
    assert workers.flush(6.0) is False
    assert order == ["metrics:collected"]
    workers.shutdown(6.0)
    assert order == ["metrics:collected"] * 2
    hangs.released.set()


def test_the_log_records_thread_starts_with_the_first(order: list[str]) -> None:
    logs = channel("logs", Recorder("logs", order))
    workers = Workers((logs,), None, 3600.0)
    workers.start()
    assert not workers._all[0].alive
    assert workers.flush(60), "there is nothing to send"
    logs.offer("record")
    assert workers._all[0].alive
    assert workers.flush(60)
    assert order == ["logs:record"]
    workers.shutdown(60)
    assert not workers._all[0].alive


def test_no_item_starts_a_thread_before_its_time(order: list[str]) -> None:
    """A server that will fork in C has none until it serves."""
    traces, logs = channel("traces", Recorder("traces", order)), channel("logs", Recorder("logs", order))
    workers = Workers((traces, logs), None, 3600.0)
    traces.offer("span")
    logs.offer("record")
    assert not any(each.alive for each in workers._all)
    workers.start()
    assert all(each.alive for each in workers._all), "what waits already is an item too"
    assert workers.flush(60)
    workers.shutdown(60)


def refuse(*_: object) -> None:
    """As where the limit of threads is reached."""
    raise RuntimeError("can't start new thread")


def test_a_thread_that_cannot_start_is_tried_again_with_later_items(
    order: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threads, "_waiting", [])
    traces = channel("traces", Recorder("traces", order))
    workers = Workers((traces,), None, 3600.0)
    with monkeypatch.context() as context:
        context.setattr(threads, "start_new_thread", refuse)
        workers.start()
        for number in range(5):
            traces.offer(str(number))
        assert not workers._all[0].alive
        assert workers.flush(60) is False
    monkeypatch.setattr(threads, "_next_try", 0.0)
    traces.offer("5")
    assert workers.flush(60)
    assert order == ["traces:012345"]
    workers.shutdown(60)


def test_where_no_thread_ever_starts_the_end_delivers(
    order: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threads, "_waiting", [])
    monkeypatch.setattr(threads, "start_new_thread", refuse)
    traces, metrics = (
        channel("traces", Recorder("traces", order)),
        channel("metrics", Recorder("metrics", order)),
    )
    workers = Workers((traces, metrics), lambda: metrics.offer(f"after {len(order)}"), 3600.0)
    workers.start()
    traces.offer("span")
    workers.shutdown(60)
    assert order == ["traces:span", "metrics:after 1"]


def until(condition: Callable[[], object]) -> None:
    """Waits, a minute at most, until it holds."""
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_many_flushes_at_once_all_come_back(order: list[str]) -> None:
    traces = channel("traces", Recorder("traces", order))
    worker = Workers((traces,), None, 3600.0)
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
    worker = Workers((traces,), None, 3600.0)
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
    worker = Workers((traces, logs, metrics), lambda: metrics.offer("collected"), 3600.0)
    worker.start()
    traces.offer("span")
    logs.offer("record")
    assert worker.flush(30, traces)
    assert order == ["traces:span"]
    assert worker.flush(30, metrics)
    assert order == ["traces:span", "metrics:collected"]
    worker.shutdown(30)
    assert order == ["traces:span", "metrics:collected", "logs:record", "metrics:collected"]


def test_an_end_before_the_thread_had_a_turn_sends_what_was_left_behind(order: list[str]) -> None:
    traces = channel("traces", Recorder("traces", order))
    # As with a killed process's file, which is looked for once.
    traces.adopt = lambda: traces.offer("left")  # type: ignore[method-assign]
    worker = Worker(traces)
    worker.join(time.monotonic() + 60)
    assert order == ["traces:left"]
