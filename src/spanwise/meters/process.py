"""Memory, CPU, threads and open files of this process.

Names and units: https://opentelemetry.io/docs/specs/semconv/system/process-metrics/
Read when metrics are collected, on the delivery thread: no request pays for it.
"""

from __future__ import annotations

import os
from collections.abc import Iterable

import psutil
from opentelemetry.metrics import CallbackOptions, Meter, Observation

from spanwise import names
from spanwise.instruments import make

__all__ = ["observe"]


class _ThisProcess:
    """psutil's view of the current process, made anew in a forked child."""

    def __init__(self) -> None:
        self._process = psutil.Process()

    def get(self) -> psutil.Process:
        if self._process.pid != os.getpid():
            self._process = psutil.Process()
        return self._process


def observe(meter: Meter) -> None:
    """Makes the observable instruments of the process."""
    this = _ThisProcess()

    def memory(_: CallbackOptions) -> Iterable[Observation]:
        yield Observation(this.get().memory_info().rss)

    def cpu(_: CallbackOptions) -> Iterable[Observation]:
        times = this.get().cpu_times()
        yield Observation(times.user, {names.CPU_MODE: "user"})
        yield Observation(times.system, {names.CPU_MODE: "system"})

    def threads(_: CallbackOptions) -> Iterable[Observation]:
        yield Observation(this.get().num_threads())

    def files(_: CallbackOptions) -> Iterable[Observation]:
        yield Observation(this.get().num_fds())

    make(meter, names.PROCESS_CPU_TIME, cpu)
    make(meter, names.PROCESS_MEMORY_USAGE, memory)
    make(meter, names.PROCESS_THREAD_COUNT, threads)
    if hasattr(psutil.Process, "num_fds"):  # POSIX only
        make(meter, names.PROCESS_OPEN_FILES, files)
