"""What ``spanwise gate`` prints."""

from __future__ import annotations

import sys
from typing import Any, Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from spanwise.gate.gate import Verdict
from spanwise.gate.judge import Finding
from spanwise.gate.questions import Scope
from spanwise.shown import printable
from spanwise.thresholds.describe import amount

__all__ = ["show"]

_SAID: Final = {
    "good": ("good: no limit was passed", "green"),
    "breached": ("breached: roll back", "red"),
    "unknown": ("cannot tell", "yellow"),
}


def show(verdict: Verdict, scope: Scope) -> None:
    """Prints a verdict as a table: what was passed first, then what cannot be told."""
    # At least so wide that figures stand on one line in the log of a deployment, which is no terminal.
    console = Console(width=None if sys.stdout.isatty() else 120)
    told = [each for each in verdict.findings if each.verdict != "unmeasured"]
    if told:
        table = Table(header_style="bold")
        for title in ("rule", "verdict"):
            table.add_column(title, no_wrap=True)
        for title in ("figure", "limit", "above it for"):
            table.add_column(title, justify="right", no_wrap=True)
        table.add_column("where, why", overflow="fold")
        for each in told:
            table.add_row(*_row(each))
        console.print(table)
    rest = [each.question.rule.name for each in verdict.findings if each.verdict == "unmeasured"]
    lines = (
        [Text(f"not measured, so not judged: {', '.join(sorted(set(rest)))}", style="dim")] if rest else []
    )
    lines += [Text(f"Prometheus warns: {each}", style="yellow") for each in verdict.warnings]
    said, style = _SAID[verdict.verdict]
    why = f": {verdict.reason}" if verdict.reason else ""
    lines.append(Text(f"{said} ({scope}){why}", style=style))
    for line in lines:
        console.print(line, soft_wrap=True)


def _row(finding: Finding) -> list[Any]:
    rule = finding.question.rule
    _, style = _SAID[finding.verdict]
    labels = ", ".join(f"{key}={printable(value)}" for key, value in sorted(finding.labels.items()))
    hold = f" of {rule.hold / 1e9:g} s" if rule.hold else ""
    return [
        Text(f"{rule.name} ({'trigger' if finding.question.trigger else rule.severity})"),
        Text(finding.verdict, style=style),
        Text("–" if finding.figure is None else amount(rule, finding.figure)),
        Text(amount(rule, rule.limit)),
        Text(f"{finding.seconds:g} s{hold}" if finding.seconds or rule.hold else "–"),
        # What a label says is data, not markup.
        Text(finding.reason or labels),
    ]
