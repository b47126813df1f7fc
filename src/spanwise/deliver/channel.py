"""One signal's way out: what waits, what is on its way, when to try again."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Sequence
from typing import Any

from spanwise.deliver.answer import Answer, Fate, Sender
from spanwise.deliver.partial import rejected
from spanwise.deliver.reports import Outages, Reports
from spanwise.deliver.request import Request
from spanwise.deliver.retry import Backoff
from spanwise.deliver.source import WHAT, Source, nobody
from spanwise.threads import must_pass

__all__ = ["Channel"]

# Requests in hand: the one that is sent, and those that failed and wait for another attempt. Each may hold a
# whole batch of the queue.
MOST_HELD = 4
# Attempts at a request that may be bad itself, where others are taken meanwhile, and where none are: then it
# is more likely the destination, which gets a minute (1, 2, 4, 8, 16 seconds, halved at most by jitter).
TRIES_OVERTAKEN = 3
TRIES = 6
# After so many failures of one request another is tried in turn: perhaps only the first is refused.
PROBE_AFTER = 3


class Channel:
    """What waits in a source, on its way to one destination.

    The application's threads call :meth:`offer`; everything else happens on the signal's thread.

    No request keeps others waiting for long. One that fails is kept while the destination is away
    (:attr:`Fate.RETRY`), and the rest waits behind it, in order; but after some failures another is tried
    in turn, and if that is taken, the first is set aside and tried again at growing intervals. One that
    may be bad itself (:attr:`Fate.RETRY_FEW`) is set aside at once, and dropped after a few attempts. What
    is refused for what is in it (:attr:`Fate.MALFORMED`) is halved, unless all of the one before was
    refused too; what is too large is halved in any case.

    Args:
        source: where items wait; it says what is dropped there.
        sender: the destination.
        address: the destination as a warning names it.
        delay: longest wait of an item for its request, in seconds.
        outages: shared by the channels to one server, which tell once that it is away.
        clock: seconds, never set.
    """

    def __init__(
        self,
        source: Source,
        sender: Sender,
        *,
        address: str,
        delay: float,
        outages: Outages | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.account = source.account
        self._source = source
        # The source's own: a step in between would cost each span as much as its attributes.
        #: Takes an item from any thread; never blocks.
        self.offer: Callable[[Any], None] = source.offer
        #: The same of a span that never was an object, with resource, scope and fields; None: only objects.
        self.offer_leaf: Callable[..., None] | None = getattr(source, "offer_leaf", None)
        self._sender = sender
        self._reports = Reports(WHAT[source.account.signal], address, outages, source.account.protocol)
        self._delay = delay
        self._clock = clock
        self._wake = nobody
        self._random = random.Random()
        self.attended(False)
        self._begin()

    def reset(self) -> None:
        """Empties the channel: what waited at a fork is the parent's to deliver, not the child's."""
        self._source.reset()
        self.account.reset()
        self._sender.close()
        self._reports.reset()
        self.attended(False)
        self._begin()

    def _begin(self) -> None:
        self._held: list[Request] = []  # in the order in which they were loaded
        self._backoff = Backoff(self._random)
        self._not_before = 0.0  # monotonic: no attempt until then
        self._failures = 0  # in a row, of all requests
        self._away = False  # the last attempt said so, of the destination and not of one request
        self._reached = True  # at the last attempt a connection was made
        self._probing = False
        # Whether anything was taken since all of a request was refused as malformed; None before the first.
        self._takes_others: bool | None = None
        self._woken = False
        self._next = self._clock() + self._delay

    def wake_by(self, wake: Callable[[], None]) -> None:
        """Has a function called when a whole request waits."""
        self._wake = wake
        self.attended(False)

    def attended(self, on: bool) -> None:
        """Says whether a thread looks at the channel. Without one, each item calls ``wake``: to start it."""
        self._woken = False
        self._source.wakes(self._nudge if on else self._wake, at_once=not on or self._delay <= 0)

    def adopt(self) -> None:
        """Finds what a killed process left to be sent."""
        self._source.adopt()

    def _nudge(self) -> None:
        if not self._woken:
            self._woken = True
            self._wake()

    @property
    def waiting(self) -> int:
        """Items taken whose fate is not yet known."""
        return self._source.waiting + sum(each.waiting for each in self._held if not each.load.adopted)

    def due(self, now: float) -> float:
        """Seconds until the channel has something to do (0 or less: now)."""
        times = [each.not_before for each in self._held]
        if self._has_room():
            if self._source.full:
                times.append(now)
            elif self._source.waiting:
                times.append(self._next)
        if not times:
            # Nothing is due. Look again after a delay; without one, an offer wakes the thread. An
            # answer of 0 here would have the thread spin and take the application's time.
            return max(self._next - now, self._delay) if self._delay > 0 else math.inf
        return max(min(times), self._not_before) - now

    def step(self, now: float) -> None:
        """Sends what is due: full batches, and a partial one when its delay is over."""
        self._woken = False
        whole = now >= self._next
        if whole:
            self._next = now + self._delay
        while now >= self._not_before:
            full = self._source.full
            request = self._choose(now, partial=whole)
            if request is None:
                return
            if not full and not request.attempts:
                # After a partial request the source is as good as empty: going on would send a stream
                # of tiny requests to an application that keeps recording.
                whole = False
            self._attempt(request)
            now = self._clock()

    def drain(self, deadline: float) -> bool:
        """Sends everything that waits, whatever its delay; stops at ``deadline`` (monotonic).

        Returns:
            Whether nothing is left.
        """
        tried: list[Request] = []
        while True:
            request = self._choose(math.inf, partial=True, but=tried)
            if request is None:
                return not self._held
            now = self._clock()
            if now >= deadline:
                return False
            if not self._attempt(request, deadline - now):
                # One more attempt at exit is worth making even during a back-off; a second is not.
                tried.append(request)
                if self._away and (request.tries < PROBE_AFTER or len(tried) > 1):
                    return False

    def close(self) -> None:
        """Drops the connection; nothing is sent any more."""
        self._sender.close()

    def abandon(self, reason: str) -> int:
        """Counts everything that still waits as dropped, and returns how many items that is."""
        held, self._held = self._held, []
        # What was adopted is still in its file: the next process tries it again.
        lost = self._source.discard()
        if lost:
            self.account.drop(lost, reason)
        return lost + sum(each.drop_all(reason) for each in held if not each.load.adopted)

    def forget(self) -> None:
        """Drops what waits, and all counts with it: another process turned out to be the one that reports."""
        self._held = []
        self._source.discard()
        self.account.reset()

    def _has_room(self) -> bool:
        """Whether another request can be taken in hand."""
        return len(self._held) < MOST_HELD or any(each.overtaken for each in self._held)

    def _choose(self, now: float, *, partial: bool, but: Sequence[Request] = ()) -> Request | None:
        """What to send next; None where nothing is due."""
        due = [each for each in self._held if each.not_before <= now and each not in but]
        first = due[0] if due else None
        if first is None:
            return self._load(partial=partial)
        if first.tries < PROBE_AFTER or first.overtaken or self._probing or not self._reached:
            self._probing = False
            return first
        other = due[1] if len(due) > 1 else self._load(partial=partial)
        self._probing = other is not None
        return other or first

    def _load(self, *, partial: bool) -> Request | None:
        """Takes another request in hand; None where there is none, or no room."""
        if not self._has_room():
            return None
        load = self._source.load(partial=partial)
        if load is None:
            return None
        if len(self._held) >= MOST_HELD:
            self._give_up_one()
        request = Request(load, self.account, Backoff(self._random))
        self._held.append(request)
        return request

    def _make_room(self) -> None:
        """What was set aside may hold half of the queue."""
        while 2 * sum(each.waiting for each in self._held if each.overtaken) > self._source.capacity:
            self._give_up_one()

    def _give_up_one(self) -> None:
        """Of those that were overtaken, the one that failed most often."""
        worst = max((each for each in self._held if each.overtaken), key=lambda each: each.tries)
        self._quarantine(worst, worst.drop_all)

    def _attempt(self, request: Request, timeout: float | None = None) -> bool:
        """Sends what is next of a request. False: it failed, and waits."""
        answer = self._send(request, timeout)
        if request not in self._held:
            return True  # given up meanwhile, at the exit, and counted
        if answer.fate in (Fate.RETRY, Fate.RETRY_FEW):
            return self._failed(request, answer)
        self._failures, self._away = 0, False
        self._backoff.succeeded()
        self._not_before = 0.0
        if answer.delivered:
            self._took(request, answer)
        else:
            self._refused(request, answer)
        self._settle(request)
        return True

    def _send(self, request: Request, timeout: float | None) -> Answer:
        request.attempts += 1
        started = time.perf_counter()
        try:
            return self._sender.send(request.part.body, timeout)
        except BaseException as error:
            if must_pass(error):
                raise
            self._reports.failed()
            return Answer(Fate.RETRY, reason=type(error).__name__)
        finally:
            self.account.seconds += time.perf_counter() - started

    def _failed(self, request: Request, answer: Answer) -> bool:
        """Decides when a request is tried again. True: it is not."""
        self.account.retried += 1
        self._failures += 1
        self._reached = answer.reached
        request.tries += 1
        request.reason = answer.reason
        few = answer.fate is Fate.RETRY_FEW
        self._away = not few and not request.overtaken
        if few and request.tries >= (TRIES_OVERTAKEN if request.overtaken else TRIES):
            self._quarantine(request, request.drop)
            return True
        now = self._clock()
        if few or request.overtaken:
            request.failed(now, answer.retry_after)
        # The first that may be bad itself says nothing of the others, the next one does.
        if not request.overtaken and (not few or self._failures > 1):
            self._not_before = now + self._backoff.failed(answer.retry_after)
            self._reports.away(answer.reason)
        return False

    def _quarantine(self, request: Request, drop: Callable[[str], int]) -> None:
        """Gives up what failed too often."""
        tries, lost = request.tries, drop(request.reason)
        self._reports.gave_up(lost, tries, request.reason)
        self._settle(request)

    def _refused(self, request: Request, answer: Answer) -> None:
        """Halves what was refused, or gives it up."""
        request.refusals += 1
        malformed = answer.fate is Fate.MALFORMED
        if answer.fate is Fate.TOO_LARGE or (malformed and self._takes_others is not False):
            # Both halves as well, of the first of all: it is not what is in it.
            hopeless = malformed and self._takes_others is None and request.refusals > 2
            if not hopeless and request.halve(answer.fate):
                return
            lost = request.drop_all(answer.reason) if hopeless else request.drop(answer.reason)
        else:
            lost = request.drop(answer.reason)
        if malformed and request.done and not request.taken:
            self._takes_others = False
        self._reports.refused(lost, answer.reason)

    def _took(self, request: Request, answer: Answer) -> None:
        refused, words = rejected(answer.body)
        size = request.part.count
        self._reports.rejected(request.take(refused), size, words)
        self._reports.delivered()
        self._takes_others = True
        for each in self._held:
            each.overtaken = each.overtaken or (each is not request and each.tries > 0)
        self._make_room()

    def _settle(self, request: Request) -> None:
        """Lets go of a request of which nothing is left."""
        if request.done:
            self._held.remove(request)
            self._source.release(request.load, request.taken)
