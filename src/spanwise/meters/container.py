"""The limits that the kernel's control groups set, and what is used of them.

Both versions: https://docs.kernel.org/admin-guide/cgroup-v2.html and
https://docs.kernel.org/admin-guide/cgroup-v1/memory.html. Names and units of the metrics:
https://opentelemetry.io/docs/specs/semconv/system/container-metrics/
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from opentelemetry.metrics import Meter, Observation

from spanwise import names
from spanwise.meters.readings import Rates, observed, remembered

__all__ = ["Container", "Cpu", "Memory", "observe"]

_MICRO, _NANO = 1e-6, 1e-9


class Memory(NamedTuple):
    """Memory within a limit, in bytes.

    Attributes:
        limit: the most that may be used: a group's, or what the machine has.
        usage: used, caches of files included.
        working_set: the same without inactive caches, which the kernel takes back before it runs out; what
            Kubernetes evicts by.
    """

    limit: int
    usage: int
    working_set: int


class Cpu(NamedTuple):
    """CPU within a limit.

    Attributes:
        limit: CPUs that may be used, on average.
        user, system: seconds used so far.
    """

    limit: float
    user: float
    system: float


# A control group: the folder of its files; its place in the tree, the same for every controller; whether it
# is of version 2.
_Group = tuple[Path, str, bool]


class Container:
    """The control groups of this process, read anew for each collection: limits can be changed.

    Of a group and those around it, the tightest limit counts, with what is used of that one. A limit that is
    no less than the machine has is none.

    Args:
        membership: the file that says which groups the process is in.
        tree: where the groups are mounted.
        physical: bytes of memory of the machine.
        cpus: CPUs of the machine.

    Attributes:
        memory: tells the memory within the limit; None without one.
        cpu: the same for the CPU.
    """

    def __init__(
        self,
        membership: Path = Path("/proc/self/cgroup"),
        tree: Path = Path("/sys/fs/cgroup"),
        *,
        physical: int | None = None,
        cpus: int | None = None,
    ) -> None:
        self._membership = membership
        self._tree = tree
        self._physical = _physical() if physical is None else physical
        self._cpus = cpus or os.cpu_count() or 1
        self.memory = remembered(self._read_memory)
        self.cpu = remembered(self._read_cpu)

    def _read_memory(self) -> Memory | None:
        found: Memory | None = None
        for folder, _, unified in self._groups("memory"):
            limit = _number(folder / ("memory.max" if unified else "memory.limit_in_bytes"))
            if limit is None or limit >= self._physical or (found is not None and limit >= found.limit):
                continue
            usage = _number(folder / ("memory.current" if unified else "memory.usage_in_bytes"))
            if usage is not None:
                inactive = "inactive_file" if unified else "total_inactive_file"
                reclaimable = _table(folder / "memory.stat").get(inactive, 0)
                found = Memory(limit, usage, max(0, usage - reclaimable))
        return found

    def _read_cpu(self) -> Cpu | None:
        found: tuple[float, _Group] | None = None
        for group in self._groups("cpu"):
            limit = _cpus_v2(group[0]) if group[2] else _cpus_v1(group[0])
            if limit is not None and limit < self._cpus and (found is None or limit < found[0]):
                found = limit, group
        if found is None:
            return None
        limit, (folder, path, unified) = found
        if unified:
            used = _table(folder / "cpu.stat")
            return Cpu(limit, used.get("user_usec", 0) * _MICRO, used.get("system_usec", 0) * _MICRO)
        # The times are another controller's, often mounted at another place.
        for other, place, _ in self._groups("cpuacct"):
            if place == path:
                user = _number(other / "cpuacct.usage_user")
                system = _number(other / "cpuacct.usage_sys")
                if user is not None and system is not None:
                    return Cpu(limit, user * _NANO, system * _NANO)
        return None

    def _groups(self, controller: str) -> Iterator[_Group]:
        """The process's group of a controller and those around it, innermost first."""
        for line in _text(self._membership).splitlines():
            number, _, rest = line.partition(":")
            controllers, _, path = rest.partition(":")
            unified = number == "0" and not controllers
            if unified and not (self._tree / "cgroup.controllers").is_file():
                continue  # version 2 is mounted beside version 1, and has no controllers
            if unified or controller in controllers.split(","):
                base = self._tree if unified else self._mount(controller, controllers)
                for inner in _up(path):
                    folder = base / inner
                    if folder.is_dir():
                        yield folder, inner, unified

    def _mount(self, controller: str, controllers: str) -> Path:
        together = self._tree / controllers  # "cpu,cpuacct", with a link for each name on most systems
        return together if together.is_dir() else self._tree / controller


def observe(meter: Meter, container: Container) -> None:
    """Makes the observable instruments of the container. Without a limit they have no points.

    Args:
        meter: makes them.
        container: whose limits are looked at.
    """

    def time() -> Iterable[Observation]:
        cpu = container.cpu()
        return () if cpu is None else _by_mode((cpu.user, cpu.system))

    def times() -> tuple[float, float]:
        cpu = container.cpu()
        return (0.0, 0.0) if cpu is None else (cpu.user, cpu.system)

    rates = Rates(times)

    def usage() -> Iterable[Observation]:
        now = rates.now() if container.cpu() is not None else None
        return () if now is None else _by_mode(now)

    def memory() -> Iterable[Observation]:
        found = container.memory()
        return () if found is None else (Observation(found.usage),)

    def working_set() -> Iterable[Observation]:
        found = container.memory()
        return () if found is None else (Observation(found.working_set),)

    def available() -> Iterable[Observation]:
        found = container.memory()
        return () if found is None else (Observation(max(0, found.limit - found.working_set)),)

    observed(meter, names.CONTAINER_CPU_TIME, time)
    observed(meter, names.CONTAINER_CPU_USAGE, usage)
    observed(meter, names.CONTAINER_MEMORY_USAGE, memory)
    observed(meter, names.CONTAINER_MEMORY_WORKING_SET, working_set)
    observed(meter, names.CONTAINER_MEMORY_AVAILABLE, available)


def _by_mode(values: Iterable[float]) -> list[Observation]:
    return [
        Observation(value, {names.CPU_MODE: mode})
        for mode, value in zip(("user", "system"), values, strict=True)
    ]


def _physical() -> int:
    if not hasattr(os, "sysconf"):
        return 0  # not a system with control groups: no limit is below this
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _up(path: str) -> Iterator[str]:
    """A group's path and those above it, up to the mount's own, which is ``.``.

    Where only a part of the tree is mounted, as in a container without a namespace of its own, the path is
    not there: then the mount is the container's own group.
    """
    parts = PurePosixPath(path.strip()).parts[1:]
    if ".." not in parts:
        for count in range(len(parts), 0, -1):
            yield "/".join(parts[:count])
    yield "."


def _text(file: Path) -> str:
    try:
        return file.read_text("ascii", "replace")
    except OSError:
        return ""


def _number(file: Path) -> int | None:
    """The whole number in a file; None for ``max``, and where there is no such file."""
    try:
        return int(_text(file))
    except ValueError:
        return None


def _table(file: Path) -> dict[str, int]:
    """A file of lines with a name and a number."""
    rows = (line.split() for line in _text(file).splitlines())
    return {row[0]: int(row[1]) for row in rows if len(row) == 2 and row[1].isdigit()}


def _cpus_v2(group: Path) -> float | None:
    quota, _, period = _text(group / "cpu.max").strip().partition(" ")
    return int(quota) / int(period) if quota.isdigit() and period.isdigit() and int(period) else None


def _cpus_v1(group: Path) -> float | None:
    quota, period = _number(group / "cpu.cfs_quota_us"), _number(group / "cpu.cfs_period_us")
    return quota / period if quota is not None and quota > 0 and period else None
