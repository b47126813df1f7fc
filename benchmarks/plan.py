"""The workloads: which script, how much of it, and what its figures mean."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from benchmarks.arms import OURS, PLAIN, STOCK, Arm

__all__ = ["WORKLOADS", "Figure", "Workload"]


@dataclass(frozen=True)
class Figure:
    """One figure of a workload: its key in the script's output, and how people read it."""

    key: str
    title: str


@dataclass(frozen=True)
class Workload:
    """One workload.

    Attributes:
        name: of the script in ``workloads/``, and on the command line.
        title: heading in the table.
        unit: of every figure.
        figures: in the table's order.
        quick, full: the script's amount argument in a short and in a complete run.
        launched: whether the arm's launcher starts it.
        over_plain: whether figures are compared after taking the plain arm's away.
        repeats: measurements in one round.
        script: in ``workloads/``, where it is not called as the workload.
        outside: the whole process is timed by the harness, exit included, with logs on.
        chunks: in turn with the other arms, in a short and in a complete run; (0, 0): each arm in one go.
    """

    name: str
    title: str
    unit: str
    figures: tuple[Figure, ...]
    quick: str = ""
    full: str = ""
    launched: bool = True
    over_plain: bool = False
    repeats: int = 1
    chunks: tuple[int, int] = (0, 0)
    script: str = ""
    outside: bool = False

    def takes(self, arm: Arm) -> bool:
        """Whether the arm has what this measures."""
        if arm.workloads and self.name not in arm.workloads:
            return False
        if self.name == "encode_cost":
            return arm.name in (STOCK, OURS)  # the only two whose encoder has a public function
        if self.name == "metric_cost":
            return arm.metrics
        return arm.name != PLAIN or self.over_plain


WORKLOADS: Mapping[str, Workload] = {
    workload.name: workload
    for workload in (
        Workload(
            "span_cost",
            "A span, created to exported (traces of ten spans)",
            "µs of CPU",
            (
                Figure("process_8", "8 attributes, process"),
                Figure("thread_8", "8 attributes, calling thread"),
                Figure("process_0", "0 attributes, process"),
                Figure("thread_0", "0 attributes, calling thread"),
            ),
            "4000",
            "20000",
        ),
        Workload(
            "encode_cost",
            "Encoding a span with 8 attributes to OTLP bytes",
            "µs of CPU",
            (Figure("process", "the arm's own span"), Figure("foreign", "a span of the stock SDK")),
            "5120",
            "20480",
            launched=False,
        ),
        Workload(
            "metric_cost",
            "A counter's add and a histogram's record, collection and export included",
            "µs of CPU",
            (
                Figure("record_process", "record, process"),
                Figure("record_thread", "record, calling thread"),
                Figure("add_process", "add, process"),
                Figure("add_thread", "add, calling thread"),
            ),
            "20000",
            "100000",
        ),
        Workload(
            "start_up",
            "A process that makes a Flask application and ends, all signals on: added to plain Flask",
            "ms, MiB",
            (Figure("wall", "time, ms"), Figure("cpu", "CPU, ms"), Figure("rss", "peak memory, MiB")),
            over_plain=True,
            repeats=7,
            outside=True,
        ),
        Workload(
            "first_request",
            "One that answers a request and ends, all signals on: added to plain Flask",
            "ms, MiB",
            (
                Figure("ready", "until it is answered, ms"),
                Figure("wall", "time, ms"),
                Figure("cpu", "CPU, ms"),
                Figure("rss", "peak memory, MiB"),
            ),
            "request",
            "request",
            over_plain=True,
            repeats=7,
            script="start_up",
            outside=True,
        ),
        Workload(
            "job_slowdown",
            "A CPU-bound job on one core while spans are emitted: share of it lost",
            "%",
            (
                Figure("slow_1000", "at 1,000/s"),
                Figure("slow_5000", "at 5,000/s"),
                Figure("slow_10000", "at 10,000/s"),
            ),
            "0.6",
            "1.5",
        ),
        Workload(
            "flask_request",
            "A Flask request with 3 SQL statements and 2 Redis calls: added to plain",
            "µs of process CPU",
            (Figure("process", "a request"),),
            over_plain=True,
            # Several processes: how one lies in memory changes its requests by a tenth.
            repeats=3,
            chunks=(5, 8),
        ),
    )
}
