"""One handler's notifications: a bounded queue and a thread of its own, so that none waits for another."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Final

from spanwise.alerts.notification import Notification
from spanwise.context import suppressed
from spanwise.log import DEBUG, WARNING, Log
from spanwise.rules.alerting import SEVERITIES
from spanwise.threads import Event, Thread, started

__all__ = ["Outbox", "TryAgain"]

# Not the logger of the log handler, whose lines are alerts.
_logger = Log("spanwise.alerts.outbox")

# An hour of a wholly unreachable receiver, with every alert of the shipped thresholds changing, is not more.
_MOST: Final = 100
# 1, 2, 4 … 60 seconds: some four minutes in all. Who has not answered by then gets the next notification.
_ATTEMPTS: Final = 9
_FIRST_WAIT, _LONGEST_WAIT = 1.0, 60.0


class TryAgain(Exception):
    """The handler could not tell it now; later it may."""


class Outbox:
    """What waits for one handler.

    Args:
        name: the handler's; of low cardinality, it is on a metric.
        tell: the handler. TryAgain has it called again after a while; any other exception does not.
        severities: those it is told of.
        most: notifications that wait at most; then the oldest makes room.
        wait: waits so many seconds.

    Attributes:
        sent, failed, dropped: notifications by what became of them.
    """

    def __init__(
        self,
        name: str,
        tell: Callable[[Notification], Any],
        severities: tuple[str, ...] = SEVERITIES,
        most: int = _MOST,
        wait: Callable[[float], Any] | None = None,
    ) -> None:
        self.name = name
        self.sent = self.failed = self.dropped = 0
        self._tell = tell
        self._severities = severities
        self._most = most
        self._waiting: deque[Notification] = deque()
        self._wakeup = Event()
        self._wait = wait or Event().wait
        self._thread: Thread | None = None
        self._complained = self._overran = False
        self._ended = False

    def put(self, notification: Notification) -> None:
        """Takes a notification, if the handler is told of its severity. Never waits. Of one thread only."""
        if notification.severity not in self._severities:
            return
        if len(self._waiting) >= self._most:
            self._drop_oldest()
        self._waiting.append(notification)
        if self._thread is None:
            self._thread = started(self._run, f"spanwise-alerts-{self.name}")
            if self._thread is None:
                return
        self._wakeup.set()

    def end(self) -> None:
        """Ends the thread, after what it is telling just now. What waits is not told."""
        self._ended = True
        self._waiting.clear()
        self._wakeup.set()

    def _drop_oldest(self) -> None:
        try:
            self._waiting.popleft()
        except IndexError:  # the thread took it meanwhile
            return
        self.dropped += 1
        if not self._overran:
            self._overran = True
            _logger.warning(
                "alert handler %s does not keep up: the oldest of %d notifications was dropped. "
                "spanwise.alerts.notifications counts more",
                self.name,
                self._most,
            )

    def _run(self) -> None:
        with suppressed():
            while not self._ended:
                self._wakeup.wait()
                self._wakeup.clear()
                while self._waiting:
                    try:
                        notification = self._waiting.popleft()
                    except IndexError:  # dropped, or cleared, meanwhile
                        break
                    self.deliver(notification)

    def deliver(self, notification: Notification) -> None:
        """Tells the handler, again and again if need be. Never raises."""
        pause = _FIRST_WAIT
        for attempt in range(_ATTEMPTS):
            if attempt:
                self._wait(pause)
                pause = min(_LONGEST_WAIT, pause * 2)
            try:
                self._tell(notification)
            except TryAgain as error:
                problem: BaseException = error
                self._complain(notification, problem, "It is tried again")
            except BaseException as error:  # a handler of the application may raise SystemExit
                problem = error
                break
            else:
                self.sent += 1
                self._complained = False
                return
        self.failed += 1
        self._complain(notification, problem, "It is given up")

    def _complain(self, notification: Notification, problem: BaseException, then: str) -> None:
        level = DEBUG if self._complained else WARNING
        self._complained = True
        _logger.log(
            level,
            "alert handler %s could not tell that %s is %s: %s: %s. %s; later failures are logged at DEBUG",
            self.name,
            notification.name,
            notification.status,
            type(problem).__name__,
            problem,
            then,
        )
