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
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from types import FrameType
from typing import Any

__all__ = ["Case", "explore", "explore_on_top"]

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

    def __init__(self, operation: Callable[[], object], of: tuple[str, ...]) -> None:
        self._operation = operation
        self._of = of
        self._left = 0
        self._go = threading.Semaphore(0)
        self._stopped = threading.Event()
        self.steps = 0
        self.over = False
        self.raised: BaseException | None = None
        self.place = ""
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def go_on(self, steps: int) -> None:
        """Lets it run for some instructions, and returns when they are done, or when it waits for another."""
        self._stopped.clear()
        self._left = steps
        self._go.release()
        seen = -1
        while not self._stopped.wait(_PATIENCE):
            if self.steps == seen:
                return
            seen = self.steps

    def join(self) -> None:
        self._thread.join(_AT_MOST)
        assert not self._thread.is_alive(), f"it hangs at {self.place}"

    def _run(self) -> None:
        self._go.acquire()
        sys.settrace(self._traced)
        try:
            self._operation()
        except BaseException as error:
            self.raised = error
        finally:
            sys.settrace(None)
            self.over = True
            self._stopped.set()

    def _traced(self, frame: FrameType, event: str, argument: Any) -> Any:
        if any(each in frame.f_code.co_filename for each in self._of):
            frame.f_trace_opcodes = True
            frame.f_trace_lines = False
            return self._step
        return None

    def _step(self, frame: FrameType, event: str, argument: Any) -> Any:
        if event == "opcode":
            if self._left <= 0:
                code = frame.f_code
                self.place = (
                    f"{code.co_filename}:{frame.f_lineno} in {code.co_name}, instruction {frame.f_lasti}"
                )
                self._stopped.set()
                self._go.acquire()
            self._left -= 1
            self.steps += 1
        return self._step


def _run(case: Case, schedule: Sequence[tuple[int, int]], of: tuple[str, ...]) -> list[_Runner]:
    runners = [_Runner(operation, of) for operation in case.operations]
    for index, steps in schedule:
        if not runners[index].over:
            runners[index].go_on(steps)
    for _ in runners:  # as often as one may have waited for another
        for runner in runners:
            if not runner.over:
                runner.go_on(_END)
    for runner in runners:
        runner.join()
    return runners


def explore(
    make: Callable[[], Case], of: Sequence[str], *, switches: int = 1, every: int = 1, raises: bool = False
) -> int:
    """Runs a case once for each place at which operations can be stopped.

    With one switch: each operation is stopped after 0, 1, 2, … instructions, the others run to their end,
    then it goes on. With two: the next one is stopped as well, after each number of its own instructions.

    Args:
        make: builds a case, for each schedule a new one.
        of: parts of the paths of the code under test; only its instructions count.
        switches: 1 or 2.
        every: with two switches, only each so-manieth place of the first operation.
        raises: whether operations may raise.

    Returns:
        How many schedules there were.

    Raises:
        AssertionError: something did not hold, a schedule hung, or no instruction of that code ran.
    """
    paths = tuple(of)
    _warm_up(make, paths)
    count = 0
    for schedule in _schedules(make, paths, switches, every):
        case = make()
        runners = _run(case, schedule, paths)
        count += 1
        try:
            for runner in runners:
                if runner.raised is not None and not raises:
                    raise runner.raised
            case.check()
        except Exception as error:
            places = "; ".join(runner.place for runner in runners if runner.place)
            raise AssertionError(f"schedule {schedule}, stopped at {places}: {error!r}") from error
    return count


def _warm_up(make: Callable[[], Case], of: tuple[str, ...]) -> None:
    # CPython 3.12 and 3.13 tell of a function's instructions only once somebody has asked for them.
    for _ in range(2):
        _run(make(), (), of)


def _schedules(
    make: Callable[[], Case], of: tuple[str, ...], switches: int, every: int
) -> Iterator[list[tuple[int, int]]]:
    lengths = [runner.steps for runner in _run(make(), (), of)]
    assert any(lengths), f"no instruction of {of} ran: {lengths}"
    for first, length in enumerate(lengths):
        others = [each for each in range(len(lengths)) if each != first]
        # What another does meanwhile may make it longer: a few places more.
        for steps in range(0, length + length // 4 + 2, 1 if switches == 1 else every):
            if switches == 1:
                yield [(first, steps), *((each, _END) for each in others)]
                continue
            for second in others:
                for then in range(1, lengths[second] + lengths[second] // 4 + 2):
                    yield [(first, steps), (second, then), (first, _END)]


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
    paths = tuple(of)
    _warm_up(make, paths)
    at = 0
    while True:
        case = make()
        place = _interrupt(case, paths, at)
        try:
            case.check()
        except Exception as error:
            raise AssertionError(f"interrupted at {place}: {error!r}") from error
        if not place:
            return at
        at += 1


def _interrupt(case: Case, of: tuple[str, ...], at: int) -> str:
    """Where the first operation was interrupted; nothing where it ended before."""
    operation, then = case.operations
    left = at
    place = ""

    def traced(frame: FrameType, _event: str, _argument: Any) -> Any:
        if any(each in frame.f_code.co_filename for each in of):
            frame.f_trace_opcodes = True
            return step
        return None

    def step(frame: FrameType, event: str, _argument: Any) -> Any:
        nonlocal left, place
        if event == "opcode":
            if left == 0:
                code = frame.f_code
                place = f"{code.co_filename}:{frame.f_lineno} in {code.co_name}"
                then()  # a trace function is not traced
            left -= 1
        return step

    before = sys.gettrace()
    sys.settrace(traced)
    try:
        operation()
    finally:
        sys.settrace(before)
    if not place:
        then()
    return place
