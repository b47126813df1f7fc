"""Runs one workload in all arms at once, a chunk each in turn, so that a slow minute meets all of them.

For what an arm adds to work that costs more than the addition: between two runs, one after the other, a
noisy machine changes the work itself by more than that.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import IO

from benchmarks import receiver
from benchmarks.arms import PLAIN, Arm
from benchmarks.collect import LONGEST, Measurement, command, environment, last_line, verified
from benchmarks.plan import Workload

__all__ = ["added", "measure_together"]


class Ended(Exception):
    """An arm's process has ended, or hangs; the text says why."""


class Member:
    """An arm's process. It answers each line of its input with the microseconds of a chunk of its work.

    Args:
        process: with pipes for its input and output.
        errors: what it writes to standard error.
        sink: what receives its telemetry, and nobody else's.
    """

    def __init__(self, process: subprocess.Popen[str], errors: IO[str], sink: receiver.Sink) -> None:
        self._process = process
        self._errors = errors
        self._sink = sink

    def chunk(self) -> float:
        """Has it do one chunk.

        Raises:
            Ended: it did not.
        """
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # the answer's absence tells
            self._process.stdin.write("\n")
            self._process.stdin.flush()
        line = self._answer()
        try:
            return float(line)
        except ValueError:
            raise Ended(f"it answered {line.strip()!r}") from None

    def end(self, result: Measurement) -> None:
        """Has it send and report what it made, and holds that against what arrived.

        Raises:
            Ended: it did not.
        """
        assert self._process.stdin is not None
        self._process.stdin.close()
        printed = json.loads(self._answer())
        self._process.wait(LONGEST)
        result.values = printed["values"]
        verified(result, printed, self._sink.received())

    def _answer(self) -> str:
        assert self._process.stdout is not None
        watch = threading.Timer(LONGEST, self._process.kill)
        watch.start()
        line = self._process.stdout.readline()
        watch.cancel()
        if line:
            return line
        status = self._process.wait(LONGEST)
        self._errors.seek(0)
        raise Ended(f"exit status {status}: {last_line(self._errors.read())}")


def measure_together(
    workload: Workload,
    arms: Sequence[Arm],
    turn: int,
    folders: Mapping[str, Path],
    arguments: Sequence[str],
    chunks: int,
) -> list[Measurement]:
    """One measurement of each arm. What fails is told in its ``error``, and the others go on.

    Args:
        workload: its script answers as :class:`Member` says.
        arms: plain among them, which the others are compared with.
        turn: number of the round.
        folders: the arms' environments.
        arguments: the script's, after the driver.
        chunks: how many to do; one more comes first and does not count.
    """
    found = {arm.name: Measurement(workload.name, arm.name, turn) for arm in arms}
    times: dict[str, list[float]] = {arm.name: [] for arm in arms}
    with contextlib.ExitStack() as stack:
        members = {
            arm.name: stack.enter_context(_started(workload, arm, folders[arm.name], arguments))
            for arm in arms
        }
        for cycle in range(chunks + 1):
            # There and back, so that none always follows the same one.
            for name in sorted(members, key=list(found).index, reverse=bool(cycle % 2)):
                with _told(found[name]):
                    took = members[name].chunk()
                    # In the first one some still start.
                    times[name] += [took] if cycle else []
            members = {name: member for name, member in members.items() if not found[name].error}
        for name, member in members.items():
            with _told(found[name]):
                member.end(found[name])
    for name, one in found.items():
        once = one.values.pop("once", 0.0)
        if not one.error and not found[PLAIN].error:
            one.values[workload.figures[0].key] = (
                median(times[PLAIN]) + added(times[name], times[PLAIN]) + once
            )
    return list(found.values())


def added(own: Sequence[float], plain: Sequence[float]) -> float:
    """The median of what an arm's chunk took more than plain's of the same cycle."""
    return median(one - base for one, base in zip(own, plain, strict=True))


@contextlib.contextmanager
def _told(result: Measurement) -> Iterator[None]:
    try:
        yield
    except Ended as ended:
        result.error = str(ended)


@contextlib.contextmanager
def _started(workload: Workload, arm: Arm, folder: Path, arguments: Sequence[str]) -> Iterator[Member]:
    with (
        receiver.sink() as sink,
        tempfile.TemporaryDirectory() as here,
        tempfile.TemporaryFile("w+") as errors,
        subprocess.Popen(
            command(workload, arm, folder, arguments),
            cwd=here,
            env=environment(arm, folder, sink.port, here),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        ) as process,
    ):
        try:
            yield Member(process, errors, sink)
        finally:
            process.kill()
