"""The verdict on one rule, from its figures over a window. Nothing is good that is not known to be."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from spanwise.gate.questions import Question
from spanwise.gate.server import Line

__all__ = ["BREACHED", "GOOD", "UNKNOWN", "UNMEASURED", "Finding", "Span", "judge"]

GOOD: Final = "good"
BREACHED: Final = "breached"
UNKNOWN: Final = "unknown"
UNMEASURED: Final = "unmeasured"
"""The service does not measure it at all, and nobody said that it must: it decides nothing."""

_NANOSECONDS: Final = 1e9


@dataclass(frozen=True)
class Span:
    """The moments at which a figure is looked at, in seconds.

    Attributes:
        start, end: the first and the last possible one.
        step: from one to the next.
    """

    start: float
    end: float
    step: float

    @classmethod
    def of(cls, end: float, window: float, holds: Iterable[float]) -> Span:
        """A window's, close enough to see each of the holding times from within."""
        step = min([window / 120, *(hold / 4 for hold in holds if hold)])
        # Prometheus answers 11,000 points of a series at most; below a second nobody scrapes.
        return cls(end - window, end, max(1.0, window / 10_000, step))


@dataclass(frozen=True)
class Finding:
    """What was found out about one rule.

    Attributes:
        question: what was asked.
        verdict: GOOD, BREACHED, UNKNOWN or UNMEASURED.
        figure: the worst within the window, in a breach's time where there is one; None without any.
        seconds: for how long without a break the limit was passed, at most.
        labels: of the series with that figure.
        reason: why it cannot be told, and what to do; empty otherwise.
    """

    question: Question
    verdict: str
    figure: float | None = None
    seconds: float = 0.0
    labels: dict[str, str] = field(default_factory=dict)
    reason: str = ""


@dataclass(frozen=True)
class _Run:
    """Moments one after the other at which the limit was passed.

    Attributes:
        start, end: the first and the last of them.
        worst: the highest figure.
    """

    start: float
    end: float
    worst: float


def judge(question: Question, figures: list[Line], counts: list[Line], span: Span) -> Finding:
    """The verdict on one rule.

    As in Prometheus, a limit is passed for so long as each look in a row finds it passed: a look that finds
    no figure, none that is a number, or too few measurements begins anew.

    Args:
        question: what was asked.
        figures: the figure over the window.
        counts: the measurements over the window, where the question asks for them.
        span: when it was looked.
    """
    hold = question.rule.hold / _NANOSECONDS
    enough = _Enough(question, counts)
    best: tuple[bool, float, float] | None = None
    worst: Finding | None = None
    pending: float | None = None
    judged: list[float] = []
    for line in figures:
        known = [
            (at, value) for at, value in line.points if not math.isnan(value) and enough(line.labels, at)
        ]
        if not known:
            continue
        judged.extend(at for at, _ in known)
        runs = _runs(known, question.rule.limit, span.step)
        run = max(runs, key=lambda each: (each.end - each.start, each.worst), default=None)
        seconds = run.end - run.start if run else 0.0
        breached = run is not None and seconds >= hold
        figure = run.worst if run and breached else max(value for _, value in known)
        if best is None or (breached, seconds, figure) > best:
            best = (breached, seconds, figure)
            worst = Finding(
                question,
                BREACHED if breached else GOOD,
                figure,
                seconds,
                {key: each for key, each in line.labels.items() if key != "__name__"},
            )
        if runs and not breached and runs[-1].end >= known[-1][0] > span.end - 2 * span.step:
            pending = max(pending or 0.0, runs[-1].end - runs[-1].start)
    if worst is not None and worst.verdict == BREACHED:
        return worst
    reason = _doubt(question, figures, judged, pending, span)
    if worst is None:
        verdict = UNKNOWN if figures else UNMEASURED
        return Finding(question, verdict, reason=reason)
    if reason:
        return Finding(question, UNKNOWN, worst.figure, worst.seconds, worst.labels, reason)
    return worst


class _Enough:
    """Whether there were enough measurements at a moment."""

    def __init__(self, question: Question, counts: list[Line]) -> None:
        self._least = question.rule.minimum if question.counted else 0
        self._counts = {tuple(sorted(line.labels.items())): dict(line.points) for line in counts}

    def __call__(self, labels: dict[str, str], at: float) -> bool:
        if not self._least:
            return True
        return self._counts.get(tuple(sorted(labels.items())), {}).get(at, 0.0) >= self._least


def _runs(points: list[tuple[float, float]], limit: float, step: float) -> list[_Run]:
    found: list[_Run] = []
    last = -math.inf
    for at, value in points:
        if value > limit:
            if found and found[-1].end == last and at - last < 1.5 * step:
                found[-1] = _Run(found[-1].start, at, max(found[-1].worst, value))
            else:
                found.append(_Run(at, at, value))
        last = at
    return found


def _doubt(
    question: Question, figures: list[Line], judged: list[float], pending: float | None, span: Span
) -> str:
    """Why it cannot be told; empty where it can. Judged: the moments at which a figure could be judged."""
    hold = question.rule.hold / _NANOSECONDS
    sampled = max((at for line in figures for at, _ in line.points), default=None)
    if sampled is None:
        return "nothing measured it"
    if hold > span.end - span.start:
        return f"its limit must be passed for {_seconds(hold)}: give --window {_seconds(hold)} or more"
    recent = span.end - 2 * span.step
    if not judged:
        if question.counted:
            return f"fewer than the {question.rule.minimum} measurements it needs: send more traffic, or wait"
        return "nothing happened that it could be made of: send some traffic, wait, or give a longer --window"
    if sampled < recent:
        return f"no sample in the last {_seconds(span.end - sampled)}: does it still run?"
    # What was good then may be broken since.
    if max(judged) < recent:
        since = _seconds(span.end - max(judged))
        if question.counted:
            return (
                f"fewer than the {question.rule.minimum} measurements it needs in the last {since}: "
                "send more traffic, or wait"
            )
        return f"nothing happened in the last {since} that it could be made of: send some traffic"
    if pending is not None:
        return f"above its limit for {pending:.0f} s so far, of {_seconds(hold)}: wait"
    seen = max(judged) - min(judged)
    if seen + span.step < hold:
        return f"measured for {_seconds(seen)} so far, of the {_seconds(hold)} it needs: wait"
    return ""


def _seconds(value: float) -> str:
    """Seconds as a person writes them, and as --window takes them."""
    whole = max(1, math.ceil(value))
    for unit, size in (("h", 3600), ("m", 60)):
        if whole % size == 0:
            return f"{whole // size}{unit}"
    return f"{whole}s"
