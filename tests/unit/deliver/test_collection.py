"""Callbacks of the application's in a collection: one that hangs or raises holds nothing else."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from opentelemetry.metrics import CallbackOptions, Observation

from spanwise.deliver import signals
from spanwise.deliver.account import Account
from spanwise.deliver.answer import Answer, Fate
from spanwise.deliver.channel import Channel
from spanwise.deliver.signals import MetricDelivery, seconds
from spanwise.deliver.source import Queue
from spanwise.deliver.workers import Workers
from spanwise.log import Log
from spanwise.meters.provider import MeterProvider


class Taken:
    """Takes every request."""

    def send(self, body: Any, timeout: float | None = None) -> Answer:
        return Answer(Fate.DELIVERED)

    def close(self) -> None:
        """Nothing is open."""


class Delivery:
    """Logs and metrics, as the pipeline puts them together."""

    def __init__(self) -> None:
        self.logs, self.metrics = self._channel("logs"), self._channel("metrics")
        self.reader = MetricDelivery(self.metrics, self._flush, lambda: True)
        self.provider = MeterProvider([self.reader], shutdown_on_exit=False)
        self.meter = self.provider.get_meter("m")
        self.worker = Workers((self.logs, self.metrics), self.reader.gather, 3600)
        self.worker.start()

    def _channel(self, signal: str) -> Channel:
        source = Queue(Account(signal), lambda items, _: b"x", capacity=9, batch=9)
        return Channel(source, Taken(), address="", delay=3600)

    def _flush(self, timeout: float) -> bool:
        return self.worker.flush(timeout, self.metrics)


@pytest.fixture
def delivery(monkeypatch: pytest.MonkeyPatch) -> Iterator[Delivery]:
    monkeypatch.setattr(signals, "_logger", Log("spanwise.deliver"))
    made = Delivery()
    yield made
    made.worker.shutdown(10)


def until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_a_callback_that_hangs_holds_neither_logs_nor_a_flush(
    delivery: Delivery, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(signals, "_PATIENCE", 0.05)
    entered, on = threading.Event(), threading.Event()

    def hang(_: CallbackOptions) -> list[Observation]:
        entered.set()
        on.wait(120)
        return [Observation(1)]

    delivery.meter.create_observable_gauge("g", [hang])
    delivery.worker.flush(60)
    assert entered.wait(60)
    delivery.logs.offer("record")
    assert delivery.worker.flush(60)
    assert delivery.logs.account.delivered == 1
    assert "A callback of an observable instrument may hang" in caplog.text
    assert delivery.metrics.account.delivered == 0
    on.set()
    until(lambda: delivery.metrics.waiting == 1)
    assert delivery.reader.force_flush()
    assert delivery.metrics.account.delivered == 2


def test_a_flush_from_a_callback_does_not_wait_for_itself(delivery: Delivery) -> None:
    told: list[bool] = []

    def flush(_: CallbackOptions) -> list[Observation]:
        told.append(delivery.provider.force_flush())
        return [Observation(1)]

    delivery.meter.create_observable_gauge("g", [flush])
    assert delivery.provider.force_flush(60_000)
    assert told
    assert delivery.metrics.account.delivered == 1


class Ends(BaseException):
    pass


@pytest.mark.parametrize("error", [ValueError("wrong"), SystemExit(3), Ends()])
def test_what_a_callback_raises_ends_no_delivery(error: BaseException, delivery: Delivery) -> None:
    raised: list[int] = []

    def fail(_: CallbackOptions) -> list[Observation]:
        raised.append(1)
        raise error

    delivery.meter.create_observable_gauge("g", [fail])
    delivery.meter.create_counter("c").add(1)
    for number in range(1, 3):
        delivery.logs.offer("record")
        assert delivery.worker.flush(60)
        assert (len(raised), delivery.logs.account.delivered) == (number, number)
        assert delivery.metrics.account.delivered == number, "all other metrics are delivered"


def test_an_observable_instrument_can_be_made_while_a_callback_hangs(delivery: Delivery) -> None:
    """In the application, or by an instrumentor on its thread, or at the exit: it would wait for ever."""
    entered, on, made = threading.Event(), threading.Event(), threading.Event()

    def hang(_: CallbackOptions) -> list[Observation]:
        entered.set()
        on.wait(120)
        return [Observation(1)]

    asked: list[int] = []

    def ask(_: CallbackOptions) -> list[Observation]:
        asked.append(1)
        return [Observation(1)]

    delivery.meter.create_observable_gauge("g", [hang])
    delivery.worker.flush(0.1)
    assert entered.wait(60)

    def make() -> None:
        delivery.meter.create_observable_gauge("another", [ask])
        made.set()

    threading.Thread(target=make, daemon=True).start()
    assert made.wait(60)
    on.set()
    until(lambda: bool(delivery.worker.flush(60) and asked))


@pytest.mark.parametrize("timeout", [math.inf, -math.inf, math.nan, "x", None, 10**400, -5, [], True])
def test_any_time_out_is_one(timeout: Any, delivery: Delivery) -> None:
    assert 0 <= seconds(timeout) <= 86_400
    delivery.reader.force_flush(timeout)
    delivery.reader.shutdown(timeout)
