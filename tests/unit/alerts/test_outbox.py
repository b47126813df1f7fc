"""A handler's queue: in order, bounded, retried, and nothing of it reaches anybody else."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any

import pytest

from spanwise.alerts.notification import Notification
from spanwise.alerts.outbox import Outbox, TryAgain
from spanwise.context import SUPPRESSION_KEYS, get_context
from spanwise.log import own_threads

Make = Callable[..., Notification]
Until = Callable[[Callable[[], Any]], None]


def test_notifications_come_in_order_on_a_thread_of_ours(notification: Make, until: Until) -> None:
    told: list[tuple[str, bool, str | None]] = []

    def tell(each: Notification) -> None:
        seen = all(get_context().get(key) for key in SUPPRESSION_KEYS)
        told.append((each.name, seen, own_threads.get(threading.get_ident())))

    box = Outbox("mine", tell)
    for number in range(20):
        box.put(notification(name=str(number)))
    until(lambda: len(told) == 20)
    assert told == [(str(number), True, "spanwise-alerts-mine") for number in range(20)]
    until(lambda: (box.sent, box.failed, box.dropped) == (20, 0, 0))


def test_only_its_severities(notification: Make, until: Until) -> None:
    told: list[str] = []
    box = Outbox("mine", lambda each: told.append(each.severity), ("critical",))
    for severity in ("info", "warning", "critical"):
        box.put(notification(severity=severity))
    until(lambda: box.sent)
    assert told == ["critical"]


def test_nothing_is_started_before_there_is_something_to_tell() -> None:
    before = len(own_threads)
    box = Outbox("mine", print)
    assert (box._thread, len(own_threads)) == (None, before)


def test_it_is_tried_again_with_longer_and_longer_pauses(
    notification: Make, caplog: pytest.LogCaptureFixture
) -> None:
    waited: list[float] = []
    attempts: list[int] = []

    def tell(_: Notification) -> None:
        attempts.append(1)
        if len(attempts) < 9:
            raise TryAgain("the answer was 503")

    box = Outbox("mine", tell, wait=waited.append)
    with caplog.at_level(logging.DEBUG, "spanwise.alerts"):
        box.deliver(notification())
    assert waited == [1, 2, 4, 8, 16, 32, 60, 60]
    assert (box.sent, box.failed) == (1, 0)
    assert [record.levelname for record in caplog.records] == ["WARNING", *["DEBUG"] * 7]
    assert "alert handler mine could not tell that memory is firing" in caplog.text
    assert "the answer was 503. It is tried again" in caplog.text


def test_it_is_given_up_after_that(notification: Make, caplog: pytest.LogCaptureFixture) -> None:
    def tell(_: Notification) -> None:
        raise TryAgain("no answer")

    box = Outbox("mine", tell, wait=lambda _: None)
    with caplog.at_level(logging.DEBUG, "spanwise.alerts"):
        box.deliver(notification())
    assert (box.sent, box.failed) == (0, 1)
    assert caplog.records[-1].getMessage().endswith("It is given up; later failures are logged at DEBUG")


@pytest.mark.parametrize("error", [ValueError("no"), SystemExit(3), KeyboardInterrupt()])
def test_a_handler_that_raises_is_not_called_again(
    notification: Make, until: Until, caplog: pytest.LogCaptureFixture, error: BaseException
) -> None:
    calls: list[str] = []

    def tell(each: Notification) -> None:
        calls.append(each.name)
        raise error

    box = Outbox("mine", tell)
    box.put(notification(name="a"))
    box.put(notification(name="b"))
    until(lambda: box.failed == 2)
    assert calls == ["a", "b"]
    assert [record.levelname for record in caplog.records] == ["WARNING"]


def test_it_warns_again_once_it_had_worked_meanwhile(
    notification: Make, caplog: pytest.LogCaptureFixture
) -> None:
    works = [False, False, True, False]

    def tell(_: Notification) -> None:
        if not works.pop(0):
            raise ValueError

    box = Outbox("mine", tell)
    for _ in range(4):
        box.deliver(notification())
    assert [record.levelname for record in caplog.records] == ["WARNING", "WARNING"]


def test_a_handler_that_hangs_drops_the_oldest_and_delays_nobody(
    notification: Make, until: Until, caplog: pytest.LogCaptureFixture
) -> None:
    hangs, told = threading.Event(), []
    slow = Outbox("slow", lambda each: (hangs.wait(), told.append(each.name)), most=3)
    quick: list[str] = []
    other = Outbox("quick", lambda each: quick.append(each.name))
    slow.put(notification(name="first"))
    until(lambda: not slow._waiting)  # it hangs in the first
    for number in range(5):
        for box in (slow, other):
            box.put(notification(name=str(number)))
    until(lambda: len(quick) == 5)
    assert slow.dropped == 2
    assert len(slow._waiting) == 3
    warned = [record for record in caplog.records if "does not keep up" in record.getMessage()]
    assert len(warned) == 1
    hangs.set()
    until(lambda: slow.sent == 4)
    assert told == ["first", "2", "3", "4"]
