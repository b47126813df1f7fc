"""CPU, memory, disks, filesystems and network of the machine, or of the container as far as it is limited.

Names and units: https://opentelemetry.io/docs/specs/semconv/system/system-metrics/
Read when metrics are collected, on a thread of ours: no request pays for it.

Where a control group limits memory or CPU, ``system.memory.*`` and ``system.cpu.utilization`` are relative to
that limit: a process that is killed at 512 MiB has no use of the machine's 64 GiB. All else is the machine's.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from opentelemetry.metrics import Meter, Observation

from spanwise import names
from spanwise.meters.container import Container, Memory
from spanwise.meters.readings import Rates, observed, remembered

__all__ = ["observe"]

# psutil's fields by the conventions' modes. Guests' time is in "user" and "nice" already.
_MODES = {
    "user": ("user",),
    "system": ("system",),
    "nice": ("nice",),
    "idle": ("idle",),
    "iowait": ("iowait",),
    "interrupt": ("irq", "softirq"),
    "steal": ("steal",),
}
_IDLE = ("idle", "iowait")

# Each is a set of series: a machine with more gets its first ones by name.
_MOST_DEVICES = 16
# Both ends of one cable, or the inside of a bridge whose outside is counted; a machine with containers has
# one for each, under a name that never comes again.
_INNER_INTERFACES = ("lo", "veth", "docker", "br-", "virbr", "cali", "cni", "flannel", "ifb", "dummy")


def observe(meter: Meter, container: Container, proc: Path = Path("/proc"), sys: Path = Path("/sys")) -> None:
    """Makes the observable instruments of the machine.

    Args:
        meter: makes them.
        container: its limits.
        proc: where the kernel tells of connections.
        sys: where it tells which disks are real.
    """
    _observe_cpu(meter, container)
    _observe_memory(meter, container)
    _observe_disks(meter, sys)
    _observe_network(meter, proc)


def _observe_cpu(meter: Meter, container: Container) -> None:
    times = remembered(_modes)

    def time() -> Iterable[Observation]:
        return [Observation(spent, {names.CPU_MODE: mode}) for mode, spent in times().items()]

    def machine() -> tuple[float, float]:
        modes = times()
        return sum(modes.values()), sum(spent for mode, spent in modes.items() if mode not in _IDLE)

    def limited() -> tuple[float]:
        cpu = container.cpu()
        return (0.0,) if cpu is None else (cpu.user + cpu.system,)

    of_machine, of_container = Rates(machine), Rates(limited)

    # One point, without the mode: the busy share is what a limit is set for, and a limit on a metric holds
    # for each of its points, the idle mode's among them. system.cpu.time has the modes.
    def utilization() -> Iterable[Observation]:
        cpu = container.cpu()
        if cpu is not None:
            used = of_container.now()
            return () if used is None else (Observation(used[0] / cpu.limit),)
        now = of_machine.now()
        return (Observation(now[1] / now[0]),) if now is not None and now[0] > 0 else ()

    observed(meter, names.SYSTEM_CPU_TIME, time)
    observed(meter, names.SYSTEM_CPU_UTILIZATION, utilization)


def _modes() -> dict[str, float]:
    import psutil

    times = psutil.cpu_times()
    return {
        mode: sum(getattr(times, field) for field in fields)
        for mode, fields in _MODES.items()
        if all(hasattr(times, field) for field in fields)
    }


def _observe_memory(meter: Meter, container: Container) -> None:
    def read() -> Memory:
        limited = container.memory()
        if limited is not None:
            return limited
        import psutil

        found = psutil.virtual_memory()
        return Memory(found.total, found.total - found.free, found.total - found.available)

    memory = remembered(read)

    def usage() -> Iterable[Observation]:
        return _by_state(names.SYSTEM_MEMORY_STATE, _states(memory()))

    def utilization() -> Iterable[Observation]:
        found = memory()
        shares = {state: size / found.limit for state, size in _states(found).items()}
        return _by_state(names.SYSTEM_MEMORY_STATE, shares)

    def paging() -> dict[str, int]:
        import psutil

        found = psutil.swap_memory()
        return {"used": found.used, "free": found.free} if found.total else {}

    def paged() -> Iterable[Observation]:
        sizes = paging()
        shares = {state: size / sum(sizes.values()) for state, size in sizes.items()}
        return _by_state(names.SYSTEM_PAGING_STATE, shares)

    observed(meter, names.SYSTEM_MEMORY_USAGE, usage)
    observed(meter, names.SYSTEM_MEMORY_UTILIZATION, utilization)
    observed(meter, names.SYSTEM_MEMORY_LIMIT, lambda: (Observation(memory().limit),))
    observed(meter, names.SYSTEM_PAGING_USAGE, lambda: _by_state(names.SYSTEM_PAGING_STATE, paging()))
    observed(meter, names.SYSTEM_PAGING_UTILIZATION, paged)


def _states(memory: Memory) -> dict[str, int]:
    """By state, as bytes that add up to the limit; cached is what can be taken back for other uses."""
    free = max(0, memory.limit - memory.usage)
    used = min(memory.working_set, memory.limit - free)
    return {"used": used, "free": free, "cached": memory.limit - free - used}


def _by_state(key: str, values: dict[str, float] | dict[str, int]) -> list[Observation]:
    return [Observation(value, {key: state}) for state, value in values.items()]


def _observe_disks(meter: Meter, sys: Path) -> None:
    def moved(*fields: str) -> Callable[[], Iterable[Observation]]:
        def read() -> Iterator[Observation]:
            import psutil

            disks = psutil.disk_io_counters(perdisk=True) or {}
            # Partitions and what is made of disks (loop, mapped, RAM) would count the same bytes again.
            real = [disk for disk in sorted(disks) if (sys / "block" / disk / "device").exists()]
            for disk in real[:_MOST_DEVICES]:
                for direction, field in zip(("read", "write"), fields, strict=True):
                    attributes = {names.SYSTEM_DEVICE: disk, names.DISK_IO_DIRECTION: direction}
                    yield Observation(getattr(disks[disk], field), attributes)

        return read

    def filesystems() -> Iterator[Observation]:
        import psutil

        devices: set[str] = set()
        # Real ones only, which a network's is not: asking one whose server is gone would wait for it.
        for each in psutil.disk_partitions(all=False):
            # Images are full by nature. A device is mounted in a container once for each file given to it.
            if "ro" in each.opts.split(",") or each.device in devices or len(devices) >= _MOST_DEVICES:
                continue
            devices.add(each.device)
            space = os.statvfs(each.mountpoint)
            taken = space.f_blocks - space.f_bfree
            if taken + space.f_bavail:
                attributes = {
                    names.SYSTEM_DEVICE: each.device,
                    names.SYSTEM_FILESYSTEM_MOUNTPOINT: each.mountpoint,
                    names.SYSTEM_FILESYSTEM_TYPE: each.fstype,
                    names.SYSTEM_FILESYSTEM_STATE: "used",
                }
                # As df has it: of what is not kept for the superuser.
                yield Observation(taken / (taken + space.f_bavail), attributes)

    observed(meter, names.SYSTEM_DISK_IO, moved("read_bytes", "write_bytes"))
    observed(meter, names.SYSTEM_DISK_OPERATIONS, moved("read_count", "write_count"))
    observed(meter, names.SYSTEM_FILESYSTEM_UTILIZATION, filesystems)


def _observe_network(meter: Meter, proc: Path) -> None:
    def moved(*fields: str) -> Callable[[], Iterable[Observation]]:
        def read() -> Iterator[Observation]:
            import psutil

            interfaces = psutil.net_io_counters(pernic=True)
            outer = [name for name in sorted(interfaces) if not name.startswith(_INNER_INTERFACES)]
            for name in outer[:_MOST_DEVICES]:
                for direction, field in zip(("receive", "transmit"), fields, strict=True):
                    attributes = {names.NETWORK_INTERFACE_NAME: name, names.NETWORK_IO_DIRECTION: direction}
                    yield Observation(getattr(interfaces[name], field), attributes)

        return read

    def connections() -> Iterable[Observation]:
        counts = _connections(proc)
        return [
            Observation(count, {names.NETWORK_CONNECTION_STATE: state, names.NETWORK_TRANSPORT: "tcp"})
            for state, count in counts.items()
        ]

    observed(meter, names.SYSTEM_NETWORK_IO, moved("bytes_recv", "bytes_sent"))
    observed(meter, names.SYSTEM_NETWORK_ERRORS, moved("errin", "errout"))
    observed(meter, names.SYSTEM_NETWORK_CONNECTION_COUNT, connections)


def _connections(proc: Path) -> dict[str, int]:
    """TCP connections by state, as far as the kernel has them counted.

    The other states would have it go through its table of connections, 6 ms at each collection, and psutil
    through the open files of all processes besides.
    """
    # "Tcp:" and the names, "Tcp:" and the numbers. A half-closed connection counts as established (RFC 4022).
    rows = [line.split() for line in (proc / "net" / "snmp").read_text("ascii").splitlines()]
    titles, values = (row for row in rows if row[0] == "Tcp:")
    # "TCP: inuse 5 orphan 0 tw 2 alloc 7 mem 1"
    rows = [line.split() for line in (proc / "net" / "sockstat").read_text("ascii").splitlines()]
    (pairs,) = (row[1:] for row in rows if row[0] == "TCP:")
    return {
        "established": int(values[titles.index("CurrEstab")]),
        "time_wait": int(pairs[pairs.index("tw") + 1]),
    }
