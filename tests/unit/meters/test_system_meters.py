"""The machine's meters: real ones of this machine, and the container's where it is limited."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from spanwise import names
from spanwise.meters import system
from spanwise.meters.container import Container, Cpu, Memory

GiB = 1 << 30


class Limited(Container):
    """A container as it is told to be."""

    def __init__(self, memory: Memory | None = None, cpu: Cpu | None = None) -> None:
        super().__init__(Path("/nowhere"))
        self.now = cpu
        self.memory = lambda: memory  # type: ignore[method-assign]
        self.cpu = lambda: self.now  # type: ignore[method-assign]


def by(key: str, points: list[tuple[dict[str, Any], float]]) -> dict[str, float]:
    return {attributes[key]: value for attributes, value in points}


def test_it_tells_what_the_system_does(collecting: Any) -> None:
    found = collecting(lambda meter: system.observe(meter, Limited()))()
    spent = by(names.CPU_MODE, found[names.SYSTEM_CPU_TIME.name])
    assert set(spent) <= {"user", "system", "nice", "idle", "iowait", "interrupt", "steal"}
    assert spent["user"] > 0
    assert sum(spent.values()) == pytest.approx(sum(psutil.cpu_times()), rel=0.05)
    memory = psutil.virtual_memory()
    assert found[names.SYSTEM_MEMORY_LIMIT.name] == [({}, memory.total)]
    sizes = by(names.SYSTEM_MEMORY_STATE, found[names.SYSTEM_MEMORY_USAGE.name])
    assert sizes.keys() == {"used", "free", "cached"}
    assert sum(sizes.values()) == pytest.approx(memory.total, rel=0.02)
    shares = by(names.SYSTEM_MEMORY_STATE, found[names.SYSTEM_MEMORY_UTILIZATION.name])
    assert shares["used"] * 100 == pytest.approx(memory.percent, abs=3)
    root = [
        v
        for a, v in found[names.SYSTEM_FILESYSTEM_UTILIZATION.name]
        if a[names.SYSTEM_FILESYSTEM_MOUNTPOINT] == "/"
    ]
    assert root == [pytest.approx(psutil.disk_usage("/").percent / 100, abs=0.01)]
    for metric in (names.SYSTEM_DISK_IO, names.SYSTEM_DISK_OPERATIONS):
        for attributes, _ in found[metric.name]:
            assert (Path("/sys/block") / attributes[names.SYSTEM_DEVICE] / "device").exists()
            assert attributes[names.DISK_IO_DIRECTION] in ("read", "write")
    for attributes, _ in found[names.SYSTEM_NETWORK_IO.name]:
        assert attributes[names.NETWORK_INTERFACE_NAME] in psutil.net_io_counters(pernic=True)
        assert attributes[names.NETWORK_INTERFACE_NAME] != "lo"
    connections = by(names.NETWORK_CONNECTION_STATE, found[names.SYSTEM_NETWORK_CONNECTION_COUNT.name])
    assert connections.keys() == {"established", "time_wait"}


def test_cpu_utilization_is_one_point_the_busy_share(
    collecting: Any, clock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    fields = ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal", "guest")
    spent = SimpleNamespace(**dict.fromkeys(fields, 100.0))
    monkeypatch.setattr(psutil, "cpu_times", lambda: spent)
    collect = collecting(lambda meter: system.observe(meter, Limited()))
    assert names.SYSTEM_CPU_UTILIZATION.name not in collect()
    clock.now += 10
    # Two CPUs for 10 s, of which 8 idle and 2 waiting for a disk; a guest's time is in the user's.
    spent.user, spent.system, spent.softirq, spent.steal = 106.0, 102.0, 101.0, 101.0
    spent.idle, spent.iowait, spent.guest = 108.0, 102.0, 104.0
    assert collect()[names.SYSTEM_CPU_UTILIZATION.name] == [({}, pytest.approx(0.5))]


def test_cpu_utilization_within_a_container_is_of_its_limit(collecting: Any, clock: Any) -> None:
    limited = Limited(cpu=Cpu(0.5, 10.0, 1.0))
    collect = collecting(lambda meter: system.observe(meter, limited))
    collect()
    clock.now += 10
    limited.now = Cpu(0.5, 13.0, 2.0)  # 0.4 of a CPU
    assert collect()[names.SYSTEM_CPU_UTILIZATION.name] == [({}, pytest.approx(0.8))]


def test_memory_within_a_container_is_of_its_limit(collecting: Any) -> None:
    limited = Limited(memory=Memory(4 * GiB, 3 * GiB, 2 * GiB))
    found = collecting(lambda meter: system.observe(meter, limited))()
    assert found[names.SYSTEM_MEMORY_LIMIT.name] == [({}, 4 * GiB)]
    assert by(names.SYSTEM_MEMORY_STATE, found[names.SYSTEM_MEMORY_USAGE.name]) == {
        "used": 2 * GiB,
        "free": GiB,
        "cached": GiB,
    }
    assert by(names.SYSTEM_MEMORY_STATE, found[names.SYSTEM_MEMORY_UTILIZATION.name])["used"] == 0.5


def test_swap_is_told_where_there_is_any(collecting: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(psutil, "swap_memory", lambda: SimpleNamespace(total=0, used=0, free=0))
    assert names.SYSTEM_PAGING_USAGE.name not in collecting(lambda m: system.observe(m, Limited()))()
    monkeypatch.setattr(psutil, "swap_memory", lambda: SimpleNamespace(total=8, used=2, free=6))
    found = collecting(lambda meter: system.observe(meter, Limited()))()
    assert by(names.SYSTEM_PAGING_STATE, found[names.SYSTEM_PAGING_USAGE.name]) == {"used": 2, "free": 6}
    shares = by(names.SYSTEM_PAGING_STATE, found[names.SYSTEM_PAGING_UTILIZATION.name])
    assert shares == {"used": 0.25, "free": 0.75}


def test_partitions_and_virtual_disks_do_not_count_twice(
    collecting: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("sda", "loop0", *(f"z{number:02}" for number in range(30))):
        (tmp_path / "block" / name).mkdir(parents=True)
    for name in ("sda", *(f"z{number:02}" for number in range(30))):
        (tmp_path / "block" / name / "device").mkdir()
    told = SimpleNamespace(read_bytes=1, write_bytes=2, read_count=3, write_count=4)
    disks = {name.name: told for name in (tmp_path / "block").iterdir()} | {"sda1": told, "dm-0": told}
    monkeypatch.setattr(psutil, "disk_io_counters", lambda perdisk: disks)
    found = collecting(lambda meter: system.observe(meter, Limited(), sys=tmp_path))()
    points = found[names.SYSTEM_DISK_IO.name]
    assert points[:2] == [
        ({names.SYSTEM_DEVICE: "sda", names.DISK_IO_DIRECTION: "read"}, 1),
        ({names.SYSTEM_DEVICE: "sda", names.DISK_IO_DIRECTION: "write"}, 2),
    ]
    devices = {attributes[names.SYSTEM_DEVICE] for attributes, _ in points}
    assert len(devices) == 16  # the first ones by name
    assert devices.isdisjoint({"loop0", "sda1", "dm-0"})


def test_inner_interfaces_are_left_out(collecting: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    told = SimpleNamespace(bytes_recv=1, bytes_sent=2, errin=3, errout=4)
    inner = ("lo", "veth12ab", "docker0", "br-0a1b", "virbr0")
    monkeypatch.setattr(
        psutil, "net_io_counters", lambda pernic: dict.fromkeys((*inner, "eth0", "ens5"), told)
    )
    found = collecting(lambda meter: system.observe(meter, Limited()))()
    expected = ["ens5", "ens5", "eth0", "eth0"]
    assert [a[names.NETWORK_INTERFACE_NAME] for a, _ in found[names.SYSTEM_NETWORK_IO.name]] == expected
    assert [value for _, value in found[names.SYSTEM_NETWORK_ERRORS.name]] == [3, 4, 3, 4]


def test_images_and_second_mounts_are_left_out(collecting: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def mount(device: str, place: str, options: str) -> Any:
        return SimpleNamespace(device=device, mountpoint=place, fstype="ext4", opts=options)

    mounts = [
        mount("/dev/loop3", "/snap/core/1", "ro,nodev"),
        mount("/dev/sda1", "/", "rw,relatime"),
        mount("/dev/sda1", "/etc/hosts", "rw,relatime"),
        mount("/dev/sdb1", "/srv", "rw,errors=remount-ro"),
    ]
    monkeypatch.setattr(psutil, "disk_partitions", lambda all: mounts)  # noqa: A006
    space = SimpleNamespace(f_blocks=100, f_bfree=40, f_bavail=20)
    monkeypatch.setattr(os, "statvfs", lambda _: space)
    found = collecting(lambda meter: system.observe(meter, Limited()))()
    points = found[names.SYSTEM_FILESYSTEM_UTILIZATION.name]
    assert [(a[names.SYSTEM_FILESYSTEM_MOUNTPOINT], value) for a, value in points] == [
        ("/", 0.75),  # 60 taken, 20 to be had: as df counts
        ("/srv", 0.75),
    ]


def test_connections_as_the_kernel_counts_them(collecting: Any, tmp_path: Path) -> None:
    (tmp_path / "net").mkdir()
    (tmp_path / "net" / "snmp").write_text(
        "Ip: Forwarding DefaultTTL\nIp: 1 64\n"
        "Tcp: RtoAlgorithm MaxConn ActiveOpens CurrEstab InSegs\nTcp: 1 -1 12 34 56\n"
        "TcpExt: CurrEstab\nTcpExt: 9\n"
    )
    (tmp_path / "net" / "sockstat").write_text(
        "sockets: used 18\nTCP: inuse 5 orphan 0 tw 78 alloc 7 mem 1\nUDP: inuse 0 mem 0\n"
    )
    found = collecting(lambda meter: system.observe(meter, Limited(), proc=tmp_path))()
    assert found[names.SYSTEM_NETWORK_CONNECTION_COUNT.name] == [
        ({names.NETWORK_CONNECTION_STATE: "established", names.NETWORK_TRANSPORT: "tcp"}, 34),
        ({names.NETWORK_CONNECTION_STATE: "time_wait", names.NETWORK_TRANSPORT: "tcp"}, 78),
    ]


def test_a_machine_without_proc_has_the_rest(collecting: Any, tmp_path: Path) -> None:
    found = collecting(lambda meter: system.observe(meter, Limited(), tmp_path, tmp_path))()
    assert names.SYSTEM_NETWORK_CONNECTION_COUNT.name not in found
    assert names.SYSTEM_MEMORY_USAGE.name in found
