"""Runs short operations on threads of their own, and changes between them at every bytecode instruction.

A thread may lose its turn between any two instructions: under a trace function (debugger, coverage), where
gevent switches, on free-threaded builds. Where it really happens differs from one CPython to the next, so
chance finds next to nothing. Here a trace function counts the instructions of the code under test, and
each schedule says after how many of them who goes on. What C code does in one instruction is one step.

    def make() -> Case:         # fresh objects for each schedule, and what must hold once all have run
        span = tracer.start_span("work")
        return Case((lambda: span.set_attribute("late", 1), span.end), check)

    explore(make, of=["spanwise/spans/"])    # raises with the schedule that breaks it
"""

from __future__ import annotations

import sys
from _thread import LockType, allocate_lock, start_new_thread
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import FrameType
from typing import Any

__all__ = ["Case", "explore", "explore_on_top", "place", "run_traced", "tracing"]

# Seconds. An operation that makes no step for so long waits for one that has been stopped; that one goes on
# then. On a busy machine it may only have been slow: the two run at once, which must hold as well.
_PATIENCE = 0.05
_AT_MOST = 30.0  # seconds until a schedule counts as hung

_END = sys.maxsize


@dataclass(frozen=True)
class Case:
    """Fresh operations, and what must hold afterwards.

    Attributes:
        operations: each runs on a thread of its own.
        check: called when all are over; raises where something does not hold.
    """

    operations: Sequence[Callable[[], object]]
    check: Callable[[], object]


class _Runner:
    """One operation on its thread; goes on for as many instructions as it is told."""

    def __init__(self, operation: Callable[[], object], of: Sequence[str]) -> None:
        self._operation = operation
        self._trace = tracing(of, self._step)
        self._left = 0
        # Plain locks, as the events of `threading` would take longer than the code under test.
        self._go, self._stopped, self._ended = allocate_lock(), allocate_lock(), allocate_lock()
        for each in (self._go, self._stopped, self._ended):
            each.acquire()
        self.steps = 0
        self.over = False
        self.raised: BaseException | None = None
        self.place = ""
        start_new_thread(self._run, ())

    def go_on(self, steps: int) -> bool:
        """Lets it run for some instructions, and returns when they are done, or when it waits for another.

        Returns:
            Whether it has ended.
        """
        self._stopped.acquire(False)
        self._left = steps
        _set(self._go)
        seen = -1
        while not self._stopped.acquire(timeout=_PATIENCE):
            if self.steps == seen:
                break
            seen = self.steps
        return self.over

    def join(self) -> None:
        assert self._ended.acquire(timeout=_AT_MOST), f"it hangs at {self.place}"

    def _run(self) -> None:
        self._go.acquire()
        # To the end: from CPython 3.13 on, an instruction that one thread runs untraced is told of to none.
        sys.settrace(self._trace)
        try:
            self._operation()
        except BaseException as error:
            self.raised = error
        finally:
            sys.settrace(None)
            self.over = True
            _set(self._stopped)
            self._ended.release()

    def _step(self, frame: FrameType) -> None:
        if self._left <= 0:
            self.place = place(frame)
            _set(self._stopped)
            self._go.acquire()
        self._left -= 1
        self.steps += 1


def _set(lock: LockType) -> None:
    if lock.locked():
        lock.release()


def tracing(of: Sequence[str], step: Callable[[FrameType], object]) -> Callable[[FrameType, str, Any], Any]:
    """A trace function that calls another one before each instruction of the code under test.

    Args:
        of: parts of the paths of that code.
        step: gets the frame. What it raises, the instruction raises.
    """
    known: dict[str, bool] = {}  # by path

    def traced(frame: FrameType, _event: str, _argument: Any) -> Any:
        path = frame.f_code.co_filename
        if path not in known:
            known[path] = any(each in path for each in of)
        if not known[path]:
            return None
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        return each_event

    def each_event(frame: FrameType, event: str, _argument: Any) -> Any:
        if event == "opcode":
            step(frame)
        return each_event

    return traced


def place(frame: FrameType) -> str:
    """Where a frame is, for a message."""
    code = frame.f_code
    return f"{code.co_filename}:{frame.f_lineno} in {code.co_name}, instruction {frame.f_lasti}"


def explore(make: Callable[[], Case], of: Sequence[str]) -> int:
    """Runs a case once for each place at which an operation can be stopped.

    Each operation is stopped after 0, 1, 2, ... instructions, the others run to their end, then it goes on.

    Args:
        make: builds a case, for each schedule a new one.
        of: parts of the paths of the code under test; only its instructions count.

    Returns:
        How many schedules there were.

    Raises:
        AssertionError: something did not hold, a schedule hung, or no instruction of that code ran.
    """
    count = 0
    for first in range(_warm_up(make, of)):
        steps = 0
        ended = False
        while not ended:
            ended = _try(make(), of, first, steps)
            steps += 1
        count += steps
    return count


def _warm_up(make: Callable[[], Case], of: Sequence[str]) -> int:
    """How many operations there are. Runs them: their first run may fill what later ones find.

    CPython 3.12 and 3.13 tell of a function's instructions only once somebody has asked for them, too.
    """
    for _ in range(2):
        runners = [_Runner(operation, of) for operation in make().operations]
        for runner in runners:
            runner.go_on(_END)
            runner.join()
    assert any(runner.steps for runner in runners), f"no instruction of {of} ran"
    return len(runners)


def _try(case: Case, of: Sequence[str], first: int, steps: int) -> bool:
    """Runs one schedule; tells whether the operation that was to be stopped ended before."""
    runners = [_Runner(operation, of) for operation in case.operations]
    ended = runners[first].go_on(steps)
    others = [runner for runner in runners if runner is not runners[first]]
    for _ in runners:  # as often as one may have waited for another
        for runner in (*others, runners[first]):
            if not runner.over:
                runner.go_on(_END)
    for runner in runners:
        runner.join()
    try:
        for runner in runners:
            if runner.raised is not None:
                raise runner.raised
        case.check()
    except Exception as error:
        stopped = runners[first].place
        raise AssertionError(f"operation {first} stopped at {stopped or 'its end'}: {error!r}") from error
    return ended


def explore_on_top(make: Callable[[], Case], of: Sequence[str]) -> int:
    """Runs the second operation on top of the first, as a signal handler or a finalizer does, at each place.

    Args:
        make: builds a case of two operations, for each place a new one.
        of: parts of the paths of the code whose instructions count.

    Returns:
        How many places there were.

    Raises:
        AssertionError: something did not hold.
    """
    _warm_up(make, of)
    at = 0
    while True:
        case = make()
        where = _interrupt(case, of, at)
        try:
            case.check()
        except Exception as error:
            raise AssertionError(f"interrupted at {where}: {error!r}") from error
        if not where:
            return at
        at += 1


def _interrupt(case: Case, of: Sequence[str], at: int) -> str:
    """Where the first operation was interrupted; nothing where it ended before."""
    operation, then = case.operations
    left = at
    where = ""

    def step(frame: FrameType) -> None:
        nonlocal left, where
        if left == 0:
            where = place(frame)
            then()  # a trace function is not traced
        left -= 1

    run_traced(operation, tracing(of, step))
    if not where:
        then()
    return where


def run_traced(operation: Callable[[], object], trace: Callable[[FrameType, str, Any], Any]) -> None:
    """Calls it on this thread with a trace function, and puts back the one that was there (coverage's)."""
    before = sys.gettrace()
    sys.settrace(trace)
    try:
        operation()
    finally:
        sys.settrace(before)
