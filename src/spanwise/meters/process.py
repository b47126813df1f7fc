"""Memory, CPU, disk, threads and open files of this process.

Names and units: https://opentelemetry.io/docs/specs/semconv/system/process-metrics/
Read when metrics are collected, on a thread of ours: no request pays for it. There is no
``process.network.io``: no system that we run on counts network bytes by process.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from opentelemetry.metrics import Meter, Observation

from spanwise import names
from spanwise.meters.container import Container
from spanwise.meters.readings import Rates, observed

if TYPE_CHECKING:
    import resource

    import psutil

__all__ = ["Growth", "observe"]


class Growth:
    """Memory above that of the warmed-up process.

    The process is warm once it is five minutes old and has used ten seconds of CPU: a worker that waits an
    hour for its first request has not warmed up by waiting. What it grew to until then (modules, pools,
    caches) is the baseline, and stays it: a slow leak must not become the new normal.

    Args:
        age: seconds.
        work: seconds of CPU.
    """

    def __init__(self, age: float = 300.0, work: float = 10.0) -> None:
        self._age = age
        self._work = work
        self._highest = 0
        self._warm = False

    def of(self, usage: int, age: float, work: float) -> float | None:
        """The growth as a share of the baseline: 0.2 is a fifth more, below 0 is less. None until warm.

        Args:
            usage: bytes in use now.
            age: seconds since the process began.
            work: seconds of CPU that it has used.
        """
        if not self._warm:
            self._highest = max(self._highest, usage)
            self._warm = age >= self._age and work >= self._work
            return None
        return usage / self._highest - 1 if self._highest else None


class _ThisProcess:
    """psutil's view of the current process and what is kept about it, made anew in a forked child."""

    def __init__(self) -> None:
        self._of = -1

    def get(self) -> psutil.Process:
        if self._of != os.getpid():
            import psutil  # with the first collection, after the start

            self._process = psutil.Process()
            self._growth = Growth()
            self._of = os.getpid()
        return self._process

    def age(self) -> float:
        return max(0.0, time.time() - self.get().create_time())

    def grown(self) -> float | None:
        process = self.get()
        times = process.cpu_times()
        return self._growth.of(process.memory_info().rss, self.age(), times.user + times.system)


def observe(meter: Meter, container: Container) -> None:
    """Makes the observable instruments of the process.

    Args:
        meter: makes them.
        container: its CPU limit bounds the CPUs that the process may use.
    """
    this = _ThisProcess()

    def cpu_times() -> tuple[float, float]:
        times = this.get().cpu_times()
        return times.user, times.system

    rates = Rates(cpu_times)

    def utilization() -> Iterable[Observation]:
        now = rates.now()
        return (
            ()
            if now is None
            else _each(names.CPU_MODE, ("user", "system"), [n / _cpus(container) for n in now])
        )

    def growth() -> Iterable[Observation]:
        grown = this.grown()
        return () if grown is None else (Observation(grown),)

    def disk() -> Iterable[Observation]:
        moved = this.get().io_counters()
        return _each(names.DISK_IO_DIRECTION, ("read", "write"), (moved.read_bytes, moved.write_bytes))

    # Of all threads; psutil's count is the main thread's.
    def switches() -> Iterable[Observation]:
        used = _usage()
        kinds = ("voluntary", "involuntary")
        return _each(names.CONTEXT_SWITCH_TYPE, kinds, (used.ru_nvcsw, used.ru_nivcsw))

    def faults() -> Iterable[Observation]:
        used = _usage()
        return _each(names.PAGING_FAULT_TYPE, ("major", "minor"), (used.ru_majflt, used.ru_minflt))

    def one(read: Callable[[], float]) -> Callable[[], Iterable[Observation]]:
        return lambda: (Observation(read()),)

    observed(meter, names.PROCESS_CPU_TIME, lambda: _each(names.CPU_MODE, ("user", "system"), cpu_times()))
    observed(meter, names.PROCESS_CPU_UTILIZATION, utilization)
    observed(meter, names.PROCESS_MEMORY_USAGE, one(lambda: this.get().memory_info().rss))
    observed(meter, names.PROCESS_MEMORY_VIRTUAL, one(lambda: this.get().memory_info().vms))
    observed(meter, names.PROCESS_MEMORY_GROWTH_RATIO, growth)
    observed(meter, names.PROCESS_DISK_IO, disk)
    observed(meter, names.PROCESS_THREAD_COUNT, one(lambda: this.get().num_threads()))
    observed(meter, names.PROCESS_OPEN_FILES, one(lambda: this.get().num_fds()))
    observed(meter, names.PROCESS_CONTEXT_SWITCHES, switches)
    observed(meter, names.PROCESS_PAGING_FAULTS, faults)
    observed(meter, names.PROCESS_UPTIME, one(this.age))


def _each(key: str, kinds: Sequence[str], values: Sequence[float]) -> list[Observation]:
    return [Observation(value, {key: kind}) for kind, value in zip(kinds, values, strict=True)]


def _usage() -> resource.struct_rusage:
    import resource  # not everywhere: where it is missing, two metrics are

    return resource.getrusage(resource.RUSAGE_SELF)


def _cpus(container: Container) -> float:
    """CPUs that the process may use: those it is bound to, or the container's share of them."""
    limited = container.cpu()
    bound = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return bound if limited is None else min(bound, limited.limit)
