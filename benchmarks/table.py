"""The results as Markdown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchmarks.arms import OURS
from benchmarks.figures import DROPS, TARGETS, Results, Spread, digits
from benchmarks.plan import WORKLOADS, Workload

__all__ = ["markdown"]


def markdown(results: Results, about: Mapping[str, Any]) -> str:
    """The whole report.

    Args:
        results: the measurements.
        about: date, machine, Python, commit, rounds, and ``versions`` by arm.
    """
    versions = ", ".join(f"{arm} {version}" for arm, version in about["versions"].items())
    lines = [
        f"# Side by side, {about['date']}",
        "",
        _conditions(about),
        "",
        f"Versions: {versions}.",
        "",
        "Figures are medians, with the least and the greatest in brackets. Less is better everywhere.",
        "",
        "## Targets",
        "",
        *_targets(results),
    ]
    for workload in WORKLOADS.values():
        if results.arms(workload.name):
            lines += ["", f"## {workload.title}", "", *_workload(results, workload)]
    return "\n".join(lines) + "\n"


def _conditions(about: Mapping[str, Any]) -> str:
    rounds = (
        f"{about['rounds']} round{'' if about['rounds'] == 1 else 's'}{', quick' if about['quick'] else ''}"
    )
    return (
        f"{about['cores']} cores, {about['cpu']}, {about['system']}, Python {about['python']}; commit "
        f"{about['commit']}; {rounds}, the arms in turn, each measurement in a process of its own; of the "
        f"Flask request all arms at once, a chunk each in turn. Load of the machine at the start: "
        f"{about['load']}."
    )


def _targets(results: Results) -> list[str]:
    rows = ["| work | against | at most | measured | |", "|---|---|---|---|---|"]
    for target in TARGETS:
        ratio = results.reached(target)
        if ratio is None:
            shown, verdict = "–", "not measured"
        else:
            shown, verdict = f"{ratio:.3f}", "met" if ratio <= target.at_most else "**not met**"
        rows.append(
            f"| {target.title} | {target.against or '–'} | {target.at_most:g} | {shown} | {verdict} |"
        )
    lost = results.lost(DROPS[0], OURS, DROPS[1])
    if lost is None:
        shown, verdict = "–", "not measured"
    else:
        shown, verdict = f"{lost:.2%}", "met" if lost == 0 else "**not met**"
    rows.append(f"| spans dropped at 10,000/s on one core | any | 0 | {shown} | {verdict} |")
    return rows


def _workload(results: Results, workload: Workload) -> list[str]:
    names = _names(workload)
    heads = [f"{figure.title}" for figure in workload.figures]
    drops = [f"lost {each}" for each in names.values()] if workload.name == DROPS[0] else ["arrived"]
    if workload.name in ("start_up", "first_request", "encode_cost"):
        drops = []
    rows = [f"In {workload.unit}.", "", f"| arm | {' | '.join([*heads, *drops])} |"]
    rows.append("|" + "---|" * (1 + len(heads) + len(drops)))
    for arm in results.arms(workload.name):
        cells = [_cell(results.spread(workload.name, figure.key, arm)) for figure in workload.figures]
        if workload.name == DROPS[0]:
            cells += [_lost(results, arm, name, next(iter(names))) for name in names]
        elif drops:
            cells.append(_arrived(results, workload, arm))
        rows.append(f"| {f'**{arm}**' if arm == OURS else arm} | {' | '.join(cells)} |")
    for arm in results.arms(workload.name):
        rows += [f"\n{arm} failed: {error}" for error in results.errors(workload.name, arm)]
    return rows


def _names(workload: Workload) -> dict[str, str]:
    """Span name -> heading, of the job's rates."""
    return {figure.key.replace("slow_", "work-"): figure.title for figure in workload.figures}


def _arrived(results: Results, workload: Workload, arm: str) -> str:
    lost = results.lost(workload.name, arm)
    if lost is None:
        return "–"
    told = "all" if lost == 0 else f"{lost:.2%} FEWER"
    each = results.a_request(workload.name, arm)
    if each is not None:
        told += f", {each:.1f} spans each"
    fewest = results.fewest_attributes(workload.name, arm, "work-8")
    if fewest is not None and fewest < 8:
        told += f", {fewest:.1f} of 8 attributes"
    return told


def _lost(results: Results, arm: str, name: str, slowest: str) -> str:
    lost = results.lost(DROPS[0], arm, name)
    if lost is None:
        return "–"
    # A tenth: less than that is the end of the last slice.
    behind = results.behind(DROPS[0], arm, name, slowest) or 0.0
    return f"{lost:.2%}" + (f", {behind:.0%} never made" if behind > 0.1 else "")


def _cell(spread: Spread | None) -> str:
    if spread is None:
        return "–"
    return f"{digits(spread.median)} ({digits(spread.low)}–{digits(spread.high)})"
