"""The sampler: when it samples, whom it tells, and that nothing of it hurts."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from spanwise.context import SUPPRESSION_KEYS, get_context
from spanwise.log import own_threads
from spanwise.meters.history import History
from spanwise.meters.provider import MeterProvider
from spanwise.meters.sampler import Sampler
from spanwise.threads import Thread


def until(holds: Callable[[], Any]) -> None:
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.002)


class Stepped:
    """A sampler without a thread, whose clock is stepped."""

    def __init__(self, collect: Callable[[], Any] = lambda: None) -> None:
        self.now = 0.0
        self.history = History(100)
        self.sampler = Sampler(collect, 30.0, self.history, clock=lambda: self.now)
        self.due = 30.0

    def turn(self, now: float, *, ask: bool = False) -> threading.Event:
        self.now = now
        done = threading.Event()
        if ask:
            self.sampler._asked.append(done)
        self.sampler._wakeup.set()
        self.due = self.sampler._turn(self.due)
        return done


def test_a_sample_at_each_interval() -> None:
    told: list[float] = []
    stepped = Stepped()
    stepped.sampler.listen(told.append)
    stepped.turn(29.9)  # woken for nothing
    assert (stepped.history.samples, stepped.due) == (0, 30.0)
    stepped.turn(30.1)
    assert (stepped.history.samples, stepped.due) == (1, 60.1)
    stepped.turn(500.0)  # the machine slept: one sample, no catching up
    assert (stepped.history.samples, stepped.due) == (2, 530.0)
    assert told == [30.1, 500.0]


def test_who_asks_gets_a_sample_that_does_not_stay_and_tells_nobody() -> None:
    told: list[float] = []
    stepped = Stepped()
    stepped.sampler.listen(told.append)
    done = stepped.turn(3.0, ask=True)
    assert done.is_set()
    assert (stepped.history.newest, stepped.history.samples, stepped.due) == (3.0, 0, 30.0)
    assert told == []
    stepped.turn(30.0, ask=True)
    assert (stepped.history.newest, stepped.history.samples) == (30.0, 1)
    assert told == [30.0]


def test_what_fails_is_told_once_and_the_rest_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    def broken(*_: Any) -> None:
        raise RuntimeError("no such luck")

    told: list[float] = []
    stepped = Stepped(broken)
    stepped.sampler.listen(broken)
    stepped.sampler.listen(told.append)
    with caplog.at_level(logging.DEBUG, "spanwise"):
        assert stepped.turn(10.0, ask=True).is_set()
        stepped.turn(30.0)
        stepped.turn(60.0)
    assert told == [30.0, 60.0]
    assert [record.levelno for record in caplog.records if record.levelno >= logging.WARNING] == [
        logging.WARNING
    ]
    assert "no such luck" in caplog.records[0].message


@pytest.fixture
def running() -> Iterator[Callable[..., Sampler]]:
    """Makes samplers with their thread, and ends them."""
    made: list[Sampler] = []

    def begin(collect: Callable[[], Any] = lambda: None, interval: float = 3600.0, **more: Any) -> Sampler:
        made.append(Sampler(collect, interval, History(100), **more))
        made[-1].begin()
        return made[-1]

    yield begin
    for sampler in made:
        sampler.end()
        if sampler._thread is not None:
            sampler._thread.join(60)
            assert not sampler._thread.is_alive()


def test_the_thread_samples_by_itself(running: Callable[..., Sampler]) -> None:
    sampler = running(interval=0.005)
    until(lambda: sampler.history.samples > 3)


def test_it_is_asked_from_another_thread_and_observes_nothing_of_its_own(
    running: Callable[..., Sampler],
) -> None:
    seen: list[tuple[str | None, bool]] = []

    def collect() -> None:
        context = get_context()
        seen.append(
            (own_threads.get(threading.get_ident()), all(context.get(key) for key in SUPPRESSION_KEYS))
        )

    sampler = running(collect)
    assert sampler.refresh(60)
    assert seen == [("spanwise-history", True)]
    assert sampler.history.samples == 0


def test_asking_from_within_a_collection_does_not_wait(running: Callable[..., Sampler]) -> None:
    """An observable instrument of the application's own may ask for the statistics."""
    answers: list[bool] = []
    sampler = running(lambda: answers.append(sampler.refresh(60)))
    assert sampler.refresh(60)
    assert answers == [False]


def test_asking_while_a_collection_hangs_is_given_up(running: Callable[..., Sampler]) -> None:
    going_on = threading.Event()
    sampler = running(lambda: going_on.wait(60) and None)
    assert not sampler.refresh(0.01)
    going_on.set()
    assert sampler.refresh(60)


def test_after_the_end_nothing_is_taken(running: Callable[..., Sampler]) -> None:
    sampler = running()
    sampler.end()
    assert not sampler.refresh(60)
    assert sampler._thread is not None
    sampler._thread.join(60)
    assert not sampler._thread.is_alive()


def test_without_threads_there_is_no_history(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(_: Thread) -> None:
        raise RuntimeError("can't create new thread at interpreter shutdown")

    monkeypatch.setattr(Thread, "start", refused)
    sampler = Sampler(lambda: None, 1.0, History(1))
    sampler.begin()
    assert not sampler.refresh(60)


def test_the_meters_are_made_once_soon_after_the_start(running: Callable[..., Sampler]) -> None:
    made: list[str | None] = []
    sampler = running(prepare=lambda: made.append(own_threads.get(threading.get_ident())))
    assert sampler.refresh(60)  # who asks does not wait for it
    assert made == ["spanwise-history"]
    sampler.end()
    assert len(made) == 1


def test_a_process_that_ends_at_once_has_its_meters_too() -> None:
    made: list[int] = []
    sampler = Sampler(lambda: None, 3600.0, History(1), lambda: made.append(1))
    sampler.end()
    sampler.end()
    assert made == [1]


def test_a_forked_child_samples_for_itself(running: Callable[..., Sampler]) -> None:
    sampler = running(interval=0.005)
    until(lambda: sampler.history.samples)
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            sampler.after_fork()
            until(lambda: sampler.history.samples)
            os.write(writing, b"samples")
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as told:
        assert told.read() == "samples"
    os.waitpid(child, 0)


def test_a_fork_in_the_middle_of_a_collection_leaves_the_child_able_to_collect() -> None:
    """The SDK's locks are held by a thread that the child does not have."""
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader], shutdown_on_exit=False)
    within, go_on = threading.Event(), threading.Event()
    parent = os.getpid()

    def slow(_: Any) -> Any:
        if os.getpid() == parent:
            within.set()
            go_on.wait(60)
        return ()

    meter = provider.get_meter("app")
    meter.create_observable_gauge("slow", [slow])
    counter = meter.create_counter("c")
    counter.add(1)
    consumer: Any = provider._measurement_consumer
    collecting = threading.Thread(target=consumer.collect, args=(reader,), daemon=True)
    collecting.start()
    assert within.wait(60)
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            counter.add(1)  # what was measured before is the parent's to tell
            asking = threading.Thread(
                target=lambda: os.write(writing, b"%d" % bool(consumer.collect(reader))), daemon=True
            )
            asking.start()
            asking.join(60)
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as told:
        assert told.read() == "1"
    os.waitpid(child, 0)
    go_on.set()
    collecting.join(60)
