"""The process's meters, on this very process."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import psutil
import pytest

from spanwise import names
from spanwise.meters.container import Container
from spanwise.meters.process import Growth, observe


class Limited(Container):
    """A container with half a CPU."""

    def __init__(self, cpus: float | None) -> None:
        super().__init__(Path("/nowhere"))
        self.cpu = lambda: None if cpus is None else process_cpu(cpus)  # type: ignore[method-assign]


def process_cpu(limit: float) -> Any:
    from spanwise.meters.container import Cpu

    return Cpu(limit, 1.0, 1.0)


def test_it_tells_what_the_system_does(collecting: Any) -> None:
    collect = collecting(lambda meter: observe(meter, Limited(None)))
    this = psutil.Process()
    found = collect()
    assert found[names.PROCESS_MEMORY_USAGE.name][0][1] == pytest.approx(this.memory_info().rss, rel=0.1)
    assert found[names.PROCESS_MEMORY_VIRTUAL.name][0][1] == pytest.approx(this.memory_info().vms, rel=0.1)
    assert found[names.PROCESS_THREAD_COUNT.name] == [({}, this.num_threads())]
    assert found[names.PROCESS_OPEN_FILES.name] == [({}, this.num_fds())]
    spent = {attributes[names.CPU_MODE]: value for attributes, value in found[names.PROCESS_CPU_TIME.name]}
    assert spent.keys() == {"user", "system"}
    assert 0 < spent["user"] <= this.cpu_times().user
    moved = {each[names.DISK_IO_DIRECTION] for each, _ in found[names.PROCESS_DISK_IO.name]}
    assert moved == {"read", "write"}
    used = resource.getrusage(resource.RUSAGE_SELF)
    faults = {each[names.PAGING_FAULT_TYPE]: value for each, value in found[names.PROCESS_PAGING_FAULTS.name]}
    assert 0 < faults["minor"] <= used.ru_minflt
    switches = {each[names.CONTEXT_SWITCH_TYPE] for each, _ in found[names.PROCESS_CONTEXT_SWITCHES.name]}
    assert switches == {"voluntary", "involuntary"}
    assert 0 < found[names.PROCESS_UPTIME.name][0][1] < 1e6
    # These two need a past.
    assert names.PROCESS_CPU_UTILIZATION.name not in found
    assert names.PROCESS_MEMORY_GROWTH_RATIO.name not in found


@pytest.mark.parametrize("limit", [None, 0.5])
def test_cpu_utilization_is_of_the_cpus_it_may_use(
    limit: float | None, collecting: Any, clock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    spent = [0.0]

    class Times:
        user = property(lambda self: spent[0])
        system = 0.0

    monkeypatch.setattr(psutil.Process, "cpu_times", lambda self: Times())
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})
    collect = collecting(lambda meter: observe(meter, Limited(limit)))
    collect()
    clock.now += 10
    spent[0] += 4.0
    assert collect()[names.PROCESS_CPU_UTILIZATION.name] == [
        ({names.CPU_MODE: "user"}, 0.4 / (limit or 2)),
        ({names.CPU_MODE: "system"}, 0.0),
    ]


def test_growth_is_above_the_highest_of_the_warm_up() -> None:
    growth = Growth(age=300, work=10)
    assert growth.of(100, 10, 1) is None
    assert growth.of(400, 100, 5) is None
    assert growth.of(300, 299, 20) is None  # busy, and too young
    assert growth.of(300, 300, 10) is None  # the last one of the warm-up
    assert growth.of(480, 301, 10) == pytest.approx(0.2)
    assert growth.of(1200, 400, 11) == pytest.approx(2.0)
    assert growth.of(200, 500, 12) == pytest.approx(-0.5)  # the baseline stays


def test_a_worker_that_waits_has_not_warmed_up() -> None:
    growth = Growth(age=300, work=10)
    assert growth.of(100, 3600, 2.0) is None
    assert growth.of(180, 3700, 9.9) is None  # its first requests import and cache
    assert growth.of(190, 3800, 10.0) is None
    assert growth.of(190, 3900, 10.1) == 0


def test_growth_without_any_memory_says_nothing() -> None:
    growth = Growth(age=0, work=0)
    growth.of(0, 1, 1)
    assert growth.of(5, 2, 2) is None


def test_growth_is_told_once_the_process_is_warm(collecting: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Growth.__init__, "__defaults__", (0.0, 0.0))
    collect = collecting(lambda meter: observe(meter, Limited(None)))
    assert names.PROCESS_MEMORY_GROWTH_RATIO.name not in collect()
    ((attributes, grown),) = collect()[names.PROCESS_MEMORY_GROWTH_RATIO.name]
    assert attributes == {}
    assert -1 < grown < 1


def test_a_forked_child_tells_of_itself(collecting: Any) -> None:
    """Of one thread, which is all that a fork leaves of the parent's two."""
    collect = collecting(lambda meter: observe(meter, Limited(None)))
    over = threading.Event()
    second = threading.Thread(target=over.wait)
    second.start()
    assert collect()[names.PROCESS_THREAD_COUNT.name][0][1] > 1
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            ((_, threads),) = collect()[names.PROCESS_THREAD_COUNT.name]
            # A fork hook that an earlier test has left may start one of its own.
            os.write(writing, str(threads - len(os.listdir("/proc/self/task"))).encode())
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as told:
        assert told.read() == "0"
    os.waitpid(child, 0)
    over.set()
    second.join()


def test_one_reading_without_permission_leaves_the_others(
    collecting: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(_: psutil.Process) -> int:
        raise psutil.AccessDenied

    monkeypatch.setattr(psutil.Process, "num_fds", refused)
    found = collecting(lambda meter: observe(meter, Limited(None)))()
    assert names.PROCESS_OPEN_FILES.name not in found
    assert names.PROCESS_THREAD_COUNT.name in found


def test_the_start_needs_no_psutil_of_ours() -> None:
    """Its import belongs to the first collection."""
    program = "import sys, spanwise.meters.standard; sys.exit('psutil' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], timeout=60).returncode == 0
