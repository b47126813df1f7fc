"""The outcome in words, and as plain values for ``--json``."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from datetime import datetime, timezone
from typing import Any, Final

from spanwise.replay.replay import Outcome
from spanwise.replay.sampling import Kept
from spanwise.replay.slices import Alert
from spanwise.replay.spans import Losses
from spanwise.rules.model import RATINGS, MetricRule, Objective, Rule
from spanwise.shown import printable

__all__ = ["as_plain", "as_text"]

# More lines of one table than anybody reads; --json has all.
_MOST_LINES: Final = 30


def as_plain(outcome: Outcome, losses: Losses) -> dict[str, Any]:
    """Plain values. Times are nanoseconds since the epoch, shares between 0 and 1."""
    kept = _sum(outcome.kept.values())
    return {
        "spans": outcome.spans,
        "unruled": outcome.unruled,
        "first": outcome.first,
        "last": outcome.last,
        "ratings": outcome.ratings,
        "alerts": [dataclasses.asdict(alert) for alert in outcome.alerts],
        "not_in_traces": [{"rule": rule, "reason": reason} for rule, reason in outcome.unanswered],
        "uncounted": outcome.uncounted,
        "sampling": {
            "total": outcome.traces._asdict(),
            "kept": kept._asdict(),
            "policies": {policy: each._asdict() for policy, each in outcome.kept.items()},
            "shares": {
                field: _share(getattr(kept, field), getattr(outcome.traces, field)) for field in Kept._fields
            },
            "longer_than_decision_wait": outcome.long,
        },
        "lost": {
            "spans": losses.spans,
            "bytes": losses.size,
            "problems": losses.problems,
            "more_problems": losses.more,
        },
    }


def as_text(outcome: Outcome, rules: Sequence[Rule]) -> str:
    """For people to read."""
    period = f"{_time(outcome.first)} to {_time(outcome.last)} UTC"
    lines = [
        f"{outcome.spans:,} spans of {outcome.traces.traces:,} traces, {period}",
        "",
        "Ratings",
        *_ratings(outcome),
        "",
        "Alerts",
        *_alerts(outcome, rules),
        "",
        "Tail sampling",
        *_sampling(outcome),
    ]
    return "\n".join(lines)


def _ratings(outcome: Outcome) -> list[str]:
    rows = [
        [rule, *(f"{counts[rating]:,}" for rating in RATINGS)]
        for rule, counts in outcome.ratings.items()
        if any(counts.values())
    ]
    silent = [rule for rule, counts in outcome.ratings.items() if not any(counts.values())]
    lines = _table(["rule", *RATINGS], rows) if rows else ["  no rule is about any of them"]
    if rows:
        lines.append(f"  {outcome.unruled:,} spans that no rule is about")
    if silent:
        lines.append(f"  without a span: {', '.join(silent)}")
    return lines


def _alerts(outcome: Outcome, rules: Sequence[Rule]) -> list[str]:
    metrics = {rule.name: rule for rule in rules if isinstance(rule, MetricRule)}
    objectives = {rule.name for rule in rules if isinstance(rule, Objective)}
    rows = [
        [
            printable(alert.rule) + (f", {_hours(alert.budget)} of its budget" if alert.budget else ""),
            alert.severity,
            printable(alert.service),
            _time(alert.fired),
            _time(alert.resolved) if alert.resolved is not None else "still firing",
            _worst(alert, None if alert.budget else metrics[alert.rule]),
        ]
        for alert in outcome.alerts
    ]
    lines = _table(["rule", "severity", "service", "fired", "resolved", "at worst"], rows) if rows else []
    if not rows:
        lines.append("  none would have fired")
    unanswered = {name for name, _ in outcome.unanswered}
    fired = {alert.rule for alert in outcome.alerts if not alert.budget}
    burnt = {alert.rule for alert in outcome.alerts if alert.budget}
    quiet = sorted(metrics.keys() - unanswered - fired)
    quiet += [f"{name}'s budget" for name in sorted(objectives - burnt)]
    if quiet:
        lines.append(f"  quiet: {', '.join(quiet)}")
    if unanswered:
        lines.append(f"  not in traces: {', '.join(sorted(unanswered))}")
    if outcome.uncounted:
        lines.append(f"  {outcome.uncounted:,} measurements found no room: alerts may be missing")
    return lines


def _hours(nanoseconds: int) -> str:
    return f"{nanoseconds / 3_600_000_000_000:g} h"


def _worst(alert: Alert, rule: MetricRule | None) -> str:
    if rule is None:
        return f"{alert.worst * 100:.3g} % missed"
    if rule.form == "increase":
        return f"{alert.worst:,.0f}"
    return f"{alert.worst * 100:.3g} %" + (" beyond the limit" if rule.quantile is not None else "")


def _sampling(outcome: Outcome) -> list[str]:
    total, kept = outcome.traces, _sum(outcome.kept.values())
    rows = [
        [_label(policy, outcome.baseline), *_shares(each, total)]
        for policy, each in (*outcome.kept.items(), ("kept", kept))
    ]
    rows.append(["of", f"{total.traces:,}", f"{total.spans:,}", f"{total.size:,}"])
    lines = _table(["by the first policy", "traces", "spans", "bytes"], rows)
    if outcome.long:
        lines.append(
            f"  {outcome.long:,} traces take longer than decision_wait: the Collector decides them by their "
            "first spans"
        )
    return lines


def _label(policy: str, baseline: float) -> str:
    return f"baseline, {baseline:g} % of the rest" if policy == "baseline" else policy


def _shares(part: Kept, whole: Kept) -> list[str]:
    return [f"{mine:,}  {_share(mine, all_) * 100:.1f} %" for mine, all_ in zip(part, whole, strict=True)]


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 0.0


def _sum(parts: Iterable[Kept]) -> Kept:
    return Kept(*(sum(column) for column in zip(*parts, strict=True)))


def _table(head: list[str], rows: list[list[str]]) -> list[str]:
    shown = [head, *rows[:_MOST_LINES]]
    widths = [max(len(row[column]) for row in shown) for column in range(len(head))]
    lines = [
        "  "
        + "  ".join(
            # Figures end where figures end.
            cell.rjust(width) if number and row[number][:1].isdigit() else cell.ljust(width)
            for number, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in shown
    ]
    if len(rows) > _MOST_LINES:
        lines.append(f"  and {len(rows) - _MOST_LINES:,} more: see --json")
    return lines


def _time(nanoseconds: int) -> str:
    try:
        return f"{datetime.fromtimestamp(nanoseconds // 1_000_000_000, timezone.utc):%Y-%m-%d %H:%M:%S}"
    except (OverflowError, OSError, ValueError):  # a clock that is centuries wrong
        return f"{nanoseconds} ns"
