"""Slow operations: the spans that were rated poor or critical, in a bounded list and in the log.

The thread that ends a span only appends it to a bounded queue. A thread of ours reads what is kept of it, and
writes the log.
"""

from __future__ import annotations

import heapq
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from itertools import count
from typing import TYPE_CHECKING, Any, Final

from spanwise import names
from spanwise.context import suppressed
from spanwise.log import Log
from spanwise.threads import Event, Thread, started

if TYPE_CHECKING:
    from spanwise.alerts.operation import SlowOperation

__all__ = ["LINES", "WINDOW", "SlowOperations"]

_logger = Log("spanwise.slow")

_SLOW: Final = frozenset(("poor", "critical"))

WINDOW: Final = 60.0
"""Seconds in which a rule is logged :data:`LINES` times at most."""
LINES: Final = 5
"""Where everything is slow, each span is: without a limit the log would hide what else is in it."""

# Rested between two looks at what ended: however many spans are slow, the thread wakes four times a second.
_REST: Final = 0.25
# Seconds that the end of the process waits for the last lines.
_LONGEST_END: Final = 0.5
# That many slow spans can end within it; what is beyond is counted, and the log tells of it.
_MOST_WAITING: Final = 1_000
_MOST_LINES: Final = 100

# Attributes that say which operation it was, and hold nothing of what it was about. Any other may: a path, an
# application's own attribute.
_SHOWN: Final = (
    names.HTTP_REQUEST_METHOD,
    names.HTTP_ROUTE,
    names.HTTP_RESPONSE_STATUS_CODE,
    names.DB_SYSTEM_NAME,
    names.DB_NAMESPACE,
    names.DB_OPERATION_NAME,
    names.DB_COLLECTION_NAME,
    names.OPERATION_NAME,
    names.OPERATION_KIND,
    names.OPERATION_COMPONENT,
    names.OPERATION_PLUGIN,
    names.CACHE_NAME,
    names.CACHE_OPERATION_NAME,
    names.ERROR_TYPE,
)


class SlowOperations:
    """Keeps the newest and the slowest, and logs some.

    Args:
        logged_by_others: whether the instrumentor (by its scope) logs a span that took so many seconds.
        most: how many of the newest, and how many of the slowest are kept.
        clock: seconds, never set; for the log's throttle.

    Attributes:
        rated: a counter of all that were rated worse than good; None until there are metrics.
    """

    def __init__(
        self,
        logged_by_others: Callable[[str, float], bool] = lambda scope, seconds: False,
        most: int = 100,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._logged_by_others = logged_by_others
        self._most = most
        self._clock = clock
        self._throttles: dict[str, _Throttle] = {}
        self.rated: Any = None
        self._reset()

    def _reset(self) -> None:
        self._waiting: deque[tuple[int, Any, Any]] = deque(maxlen=_MOST_WAITING)
        self._numbers = count(1)  # of those taken
        self._newest_taken = 0
        self._read_so_far = 0
        self._missed = 0
        self._lines: deque[SlowOperation] = deque(maxlen=_MOST_LINES)
        self._newest: deque[SlowOperation] = deque(maxlen=self._most)
        # By duration. Of equals, which cannot be compared, the earlier stays: the later is among the newest.
        self._slowest: list[tuple[float, int, SlowOperation]] = []
        self._count = 0
        self._lock = threading.Lock()
        self._wakeup = Event()
        self._ended = False
        self._over = Event()
        self._thread: Thread | None = None

    def take(self, span: Any, verdict: Any) -> None:
        """Takes a span that has just ended, on its thread.

        Args:
            span: with its final name, times and attributes.
            verdict: what it was rated.
        """
        if self.rated is not None:
            self.rated.add(1, {names.RATING_RULE: verdict.rule, names.RATING: verdict.rating})
        if verdict.rating in _SLOW:
            self._waiting.append((next(self._numbers), span, verdict))
            if not self._wakeup.is_set():
                self._wakeup.set()

    def begin(self) -> None:
        """Starts the thread."""
        self._thread = started(self._run, "spanwise-slow", self._over, self.begin)

    def after_fork(self) -> None:
        """In a forked child: nothing was slow yet, and it has a thread of its own."""
        self._reset()
        self._throttles.clear()
        self.begin()

    def end(self) -> None:
        """Ends the thread, once it has logged what waits. Waits for it, but not for a handler that hangs."""
        self._ended = True
        self._over.set()
        self._wakeup.set()
        if self._thread is not None and not self._thread.is_current():
            self._thread.join(_LONGEST_END)

    def operations(self) -> list[SlowOperation]:
        """The newest and the slowest that were kept, the slowest first."""
        self._read()
        with self._lock:
            found = {id(each): each for each in (*self._newest, *(kept for _, _, kept in self._slowest))}
        return sorted(found.values(), key=lambda each: (-each.duration, -each.time))

    def _run(self) -> None:
        # A handler of the application may send its lines somewhere: that is no operation of the application.
        with suppressed():
            wakeup, over = self._wakeup, self._over
            while wakeup is self._wakeup and not self._ended:
                wakeup.wait()
                self._turn()
                over.wait(_REST)
            self._turn()

    def _turn(self) -> None:
        self._wakeup.clear()
        self._read()
        missed = max(0, self._newest_taken - self._read_so_far)
        if missed > self._missed:
            _logger.warning(
                "%d slow operations are not listed: more than %d ended within %g s",
                missed - self._missed,
                _MOST_WAITING,
                _REST,
            )
            self._missed = missed
        while self._lines:
            line = self._lines.popleft()
            try:
                self._log(line)
            except Exception as error:  # a logging filter or handler of the application
                _logger.debug("could not log a slow operation: %r", error)

    def _read(self) -> None:
        """Reads what ended since. Any thread may; none but ours logs."""
        with self._lock:
            for _ in range(len(self._waiting)):
                number, span, verdict = self._waiting.popleft()
                self._newest_taken = max(self._newest_taken, number)
                self._read_so_far += 1
                try:
                    operation = _operation(span, verdict)
                    logged = self._logged_by_others(span.instrumentation_scope.name, operation.duration)
                except Exception as error:  # a span that a processor of the application's has changed
                    _logger.debug("a slow operation cannot be read: %r", error)
                    continue
                self._keep(operation)
                if not logged:
                    self._lines.append(operation)

    def _keep(self, operation: SlowOperation) -> None:
        self._count += 1
        self._newest.append(operation)
        ranked = (operation.duration, -self._count, operation)
        if len(self._slowest) < self._most:
            heapq.heappush(self._slowest, ranked)
        else:
            heapq.heappushpop(self._slowest, ranked)

    def _log(self, operation: SlowOperation) -> None:
        left_out = self._throttles.setdefault(operation.rule, _Throttle()).passes(self._clock())
        if left_out is None:
            return
        about = ", ".join(f"{key}={value}" for key, value in operation.attributes.items())
        _logger.warning(
            "slow operation: %s took %.3f s, %s by %s (limit %g s), trace %s, span %s%s%s",
            operation.name,
            operation.duration,
            operation.rating,
            operation.rule,
            operation.limit,
            operation.trace_id,
            operation.span_id,
            f": {about}" if about else "",
            f" [{left_out} by {operation.rule} before were not logged]" if left_out else "",
        )


class _Throttle:
    """Lets some through in each window. There is one a rule, and rules are bounded by the file."""

    def __init__(self) -> None:
        self._until = 0.0
        self._passed = 0
        self._left_out = 0

    def passes(self, now: float) -> int | None:
        """None, or how many did not pass since the last that did."""
        if now >= self._until:
            self._until, self._passed = now + WINDOW, 0
        if self._passed >= LINES:
            self._left_out += 1
            return None
        self._passed += 1
        left_out, self._left_out = self._left_out, 0
        return left_out


def _operation(span: Any, verdict: Any) -> SlowOperation:
    # Here, not above: a start need not make the class.
    from spanwise.alerts.operation import SlowOperation

    context = span.get_span_context()
    return SlowOperation(
        name=str(span.name),
        kind=span.kind.name.lower(),
        duration=(span.end_time - span.start_time) / 1e9,
        rating=verdict.rating,
        rule=verdict.rule,
        limit=verdict.limit,
        trace_id=f"{context.trace_id:032x}",
        span_id=f"{context.span_id:016x}",
        time=span.end_time / 1e9,
        attributes=_shown(span.attributes or {}),
    )


def _shown(attributes: Mapping[str, Any]) -> dict[str, str | int | float | bool]:
    shown = {
        key: attributes[key] for key in _SHOWN if isinstance(attributes.get(key), (str, int, float, bool))
    }
    statement = attributes.get(names.DB_QUERY_TEXT)
    # Redis's text is commands and question marks; of SQL, others' instrumentations leave the literals.
    if isinstance(statement, str):
        system = str(attributes.get(names.DB_SYSTEM_NAME, ""))
        shown[names.DB_QUERY_TEXT] = statement if system == "redis" else _redacted(statement, system)
    return shown


def _redacted(statement: str, system: str) -> str:
    from spanwise.privacy.sql import describe

    return describe(statement, system).text
