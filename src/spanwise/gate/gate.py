"""The gate: asks every question, and comes to one verdict."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Final

from spanwise import names
from spanwise.artefacts import prometheus_names
from spanwise.gate.judge import BREACHED, GOOD, UNKNOWN, UNMEASURED, Finding, Span, judge
from spanwise.gate.questions import Question, Scope
from spanwise.gate.server import Server

__all__ = ["EXIT", "Verdict", "ask"]

EXIT: Final = {GOOD: 0, BREACHED: 1, UNKNOWN: 2}
"""The command's exit status by verdict. Whatever else goes wrong is 2 as well: only a breach is 1."""


@dataclass(frozen=True)
class Verdict:
    """What a gate found.

    Attributes:
        verdict: BREACHED if any rule is; else UNKNOWN if any is, nothing was judged, or Prometheus warned
            of its answers (such as one that lacks a store's part); else GOOD.
        at: when it was looked, in seconds since 1970, by Prometheus's clock.
        findings: by rule, the worst first.
        reason: why nothing at all can be told; empty otherwise.
        warnings: what Prometheus said about its own answers.
    """

    verdict: str
    at: float
    findings: tuple[Finding, ...] = ()
    reason: str = ""
    warnings: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """The same for JSON."""
        return {
            "verdict": self.verdict,
            "exit": EXIT[self.verdict],
            "at": self.at,
            "reason": self.reason,
            "rules": [_row(each) for each in self.findings],
            "warnings": list(self.warnings),
        }


def ask(asked: list[Question], scope: Scope, server: Server, window: float) -> Verdict:
    """Asks a Prometheus about the window that ends now.

    Args:
        asked: the questions.
        scope: whose metrics they are about.
        server: who answers.
        window: seconds.

    Raises:
        SpanwiseError: it does not answer.
    """
    now = server.now()
    if not any(line.points[0][1] > 0 for line in server.at(scope.anything(), now)):
        return Verdict(UNKNOWN, now, reason=_nobody(scope, server, now), warnings=tuple(server.warnings))
    span = Span.of(now, window, (each.rule.hold / 1e9 for each in asked))
    found = [_find(each, server, span) for each in asked]
    order = (BREACHED, UNKNOWN, GOOD, UNMEASURED)
    found.sort(key=lambda each: order.index(each.verdict))  # stable: by name within each
    verdicts = {each.verdict for each in found}
    verdict = next((each for each in order[:3] if each in verdicts), UNKNOWN)
    reason = "" if verdicts - {UNMEASURED} else "nothing that has a limit is measured"
    if verdict == GOOD and server.warnings:
        # Of an answer in part nobody knows what the rest would have said.
        verdict, reason = UNKNOWN, f"Prometheus warns of its answers: {'; '.join(server.warnings)}"[:500]
    return Verdict(verdict, now, tuple(found), reason, tuple(server.warnings))


def _find(question: Question, server: Server, span: Span) -> Finding:
    figures = server.over(question.figure, span.start, span.end, span.step)
    counts = server.over(question.counted, span.start, span.end, span.step) if question.counted else []
    finding = judge(question, figures, counts, span)
    if finding.verdict != UNMEASURED:
        return finding
    if question.trigger:
        name = question.rule.name
        return dataclasses.replace(
            finding,
            verdict=UNKNOWN,
            reason=f"nothing measures it. If nothing is meant to: gate: {{{name}: off}} in the thresholds",
        )
    if question.known and server.at(question.known, span.start):
        return dataclasses.replace(
            finding, verdict=UNKNOWN, reason="measured before, and not any more: is something broken?"
        )
    return finding


def _nobody(scope: Scope, server: Server, now: float) -> str:
    found: Collection[str] = ()
    versions = scope.versions()
    if versions:
        label = prometheus_names.label(names.SERVICE_VERSION)
        found = sorted(line.labels.get(label, "") for line in server.at(versions, now))
    if not found:
        return f"Prometheus has nothing of {scope}. Is the name right, does it run, is it scraped?"
    told = ", ".join(each for each in found if each)[:200] or "none named (OTEL_RESOURCE_ATTRIBUTES)"
    return f"Prometheus has nothing of {scope}; of the service's versions it has: {told}"


def _row(finding: Finding) -> dict[str, Any]:
    rule = finding.question.rule
    return {
        "name": rule.name,
        "verdict": finding.verdict,
        "severity": rule.severity,
        "trigger": finding.question.trigger,
        "figure": _plain(finding.figure),
        "limit": rule.limit,
        "unit": rule.unit,
        "form": rule.form,
        "above_seconds": finding.seconds,
        "for_seconds": rule.hold / 1e9,
        "labels": finding.labels,
        "reason": finding.reason,
    }


def _plain(value: float | None) -> float | str | None:
    # JSON has no infinity.
    return value if value is None or math.isfinite(value) else str(value)
