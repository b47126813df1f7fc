"""The command: makes the environments, measures, writes the results."""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks import environments, receiver
from benchmarks.arms import ARMS, PLAIN, Arm
from benchmarks.chart import svg
from benchmarks.collect import Measurement, measure
from benchmarks.figures import Results
from benchmarks.plan import WORKLOADS, Workload
from benchmarks.table import markdown
from benchmarks.together import measure_together
from rich.console import Console
from rich.markdown import Markdown
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

RESULTS = Path(__file__).parent / "results"
console = Console(stderr=True)


def main() -> int:
    """Runs what the command line asks for. Status 1 when an arm failed."""
    options = _options()
    arms = [ARMS[name] for name in options.arms]
    workloads = [WORKLOADS[name] for name in options.workloads]
    about = _about(options)
    with _progress() as progress, receiver.sink() as sink, receiver.redis() as redis_port:
        folders = _install(arms, options.cache, progress)
        about["versions"] = {
            name: environments.versions(folder).get(ARMS[name].package, "?")
            for name, folder in folders.items()
            if name != PLAIN and not ARMS[name].shares
        }
        turns = [
            (workload, team, turn)
            for turn in range(options.rounds)
            for workload in workloads
            for _ in range(workload.repeats)
            for team in _teams(workload, [arm for arm in arms if arm.name in folders])
        ]
        task = progress.add_task("measuring", total=len(turns))
        measured: list[Measurement] = []
        for workload, team, turn in turns:
            progress.update(task, description=f"{workload.name}: {', '.join(arm.name for arm in team)}")
            if not any(workload.chunks):
                ones = [
                    measure(workload, arm, turn, folders[arm.name], sink, quick=options.quick) for arm in team
                ]
            elif redis_port is None:
                ones = [
                    Measurement(workload.name, arm.name, turn, error="no redis-server is installed")
                    for arm in team
                ]
            else:
                chunks = workload.chunks[0 if options.quick else 1]
                ones = measure_together(workload, team, turn, folders, [str(redis_port)], chunks)
            for one in ones:
                if one.error:
                    progress.console.print(f"{workload.name}, {one.arm}: {one.error}", style="red")
            measured += ones
            progress.advance(task)
    _write(measured, about, options.output)
    return int(any(one.error for one in measured) or len(folders) < len(arms))


def _teams(workload: Workload, arms: Sequence[Arm]) -> list[list[Arm]]:
    """Who is measured at the same time: one arm after the other, or all, a chunk each in turn."""
    takes = [arm for arm in arms if workload.takes(arm)]
    return [takes] if any(workload.chunks) else [[arm] for arm in takes]


def _names(text: str) -> list[str]:
    return text.split(",")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benchmarks/run", description=__doc__)
    parser.add_argument("--arms", default=list(ARMS), help=f"of {','.join(ARMS)}", type=_names)
    parser.add_argument("--workloads", default=list(WORKLOADS), help=f"of {','.join(WORKLOADS)}", type=_names)
    parser.add_argument("--rounds", type=int, help="default 3, or 1 with --quick")
    parser.add_argument("--quick", action="store_true", help="a small part of the work, to see that it runs")
    parser.add_argument("--output", type=Path, default=RESULTS, help="folder of the results")
    parser.add_argument("--cache", type=Path, required=True, help=argparse.SUPPRESS)
    options = parser.parse_args()
    for given, known in ((options.arms, ARMS), (options.workloads, WORKLOADS)):
        for name in given:
            if name not in known:
                parser.error(f"unknown: {name!r}; there are {', '.join(known)}")
    if options.rounds is None:
        options.rounds = 1 if options.quick else 3
    # Differences to plain need plain.
    if PLAIN not in options.arms and any(WORKLOADS[name].over_plain for name in options.workloads):
        options.arms.insert(0, PLAIN)
    return options


def _install(arms: Sequence[Arm], cache: Path, progress: Progress) -> dict[str, Path]:
    """The environments of the arms that install. One that does not is told and left out."""
    folders = {}
    task = progress.add_task("installing", total=len(arms))
    for arm in arms:
        progress.update(task, description=f"installing {arm.name}")
        try:
            home = ARMS[arm.shares] if arm.shares else arm
            folders[arm.name] = folders.get(home.name) or environments.ensure(home, cache)
        except subprocess.CalledProcessError as error:
            progress.console.print(f"{arm.name} cannot be installed: {error.stderr.strip()}", style="red")
        progress.advance(task)
    return folders


def _progress() -> Progress:
    return Progress(
        TextColumn("{task.description:32}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
    )


def _about(options: argparse.Namespace) -> dict[str, Any]:
    return {
        "date": datetime.date.today().isoformat(),
        "rounds": options.rounds,
        "quick": options.quick,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "cores": os.cpu_count(),
        "cpu": _cpu(),
        "load": f"{os.getloadavg()[0]:.1f}",
        "commit": _commit(),
    }


def _cpu() -> str:
    for line in Path("/proc/cpuinfo").read_text("utf-8").splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor() or "unknown CPU"


def _commit() -> str:
    """What of ours was measured: the commit, with + where files differ from it."""
    git = ["git", "-C", str(environments.ROOT)]
    try:
        head, changed = (
            subprocess.run([*git, *command], capture_output=True, text=True, check=True).stdout.strip()
            for command in (["rev-parse", "--short", "HEAD"], ["status", "--porcelain", "src"])
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return head + ("+" if changed else "")


def _write(measured: Sequence[Measurement], about: dict[str, Any], folder: Path) -> None:
    results = Results(measured)
    folder.mkdir(parents=True, exist_ok=True)
    stem = folder / (about["date"] + ("-quick" if about["quick"] else ""))
    text = markdown(results, about)
    record = {"about": about, "measurements": [asdict(one) for one in measured]}
    stem.with_suffix(".json").write_text(json.dumps(record, indent=1) + "\n", "utf-8")
    stem.with_suffix(".md").write_text(text, "utf-8")
    stem.with_suffix(".svg").write_text(svg(results, about), "utf-8")
    Console().print(Markdown(text))
    console.print(f"written: {stem}.json, .md, .svg")


if __name__ == "__main__":
    sys.exit(main())
