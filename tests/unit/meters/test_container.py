"""The limits of control groups: both versions, nested, as containers see them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spanwise import names
from spanwise.meters.container import Container, Cpu, Memory, observe

MiB = 1 << 20
GiB = 1 << 30
UNLIMITED = 9223372036854771712  # what version 1 says: the largest number of whole pages


def put(folder: Path, **files: object) -> None:
    """Files of a group; ``memory__max`` is memory.max."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(f"{text}\n")


def container(root: Path, membership: str, *, physical: int = 64 * GiB, cpus: int = 8) -> Container:
    (root / "membership").write_text(membership)
    return Container(root / "membership", root, physical=physical, cpus=cpus)


def unified(folder: Path, limit: object = "max", quota: object = "max 100000") -> None:
    put(
        folder,
        memory__max=limit,
        memory__current=300 * MiB,
        memory__stat=f"anon 5\ninactive_file {100 * MiB}\nactive_file 7",
        cpu__max=quota,
        cpu__stat="usage_usec 3500000\nuser_usec 2500000\nsystem_usec 1000000\nnr_periods 0",
    )


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A version 2 tree without limits."""
    (tmp_path / "cgroup.controllers").write_text("cpu memory\n")
    return tmp_path


def test_a_container_of_version_2(tree: Path) -> None:
    unified(tree, 512 * MiB, "150000 100000")
    here = container(tree, "0::/\n")
    assert here.memory() == Memory(512 * MiB, 300 * MiB, 200 * MiB)
    assert here.cpu() == Cpu(1.5, 2.5, 1.0)


def test_a_machine_without_limits(tree: Path) -> None:
    unified(tree / "user.slice")
    here = container(tree, "0::/user.slice\n")
    assert here.memory() is None
    assert here.cpu() is None


def test_the_tightest_limit_of_all_around_counts(tree: Path) -> None:
    unified(tree / "pod", 256 * MiB, "200000 100000")
    unified(tree / "pod" / "app", 1024 * MiB, "50000 100000")
    put(tree / "pod", memory__current=200 * MiB, cpu__stat="user_usec 1\nsystem_usec 1")
    here = container(tree, "0::/pod/app\n")
    assert here.memory() == Memory(256 * MiB, 200 * MiB, 100 * MiB)  # with what all of the pod uses
    assert here.cpu() == Cpu(0.5, 2.5, 1.0)


@given(limits=st.lists(st.one_of(st.none(), st.integers(1, 100 * GiB)), min_size=1, max_size=4))
def test_no_more_than_any_limit_and_none_above_the_machine(
    limits: list[int | None], tmp_path_factory: pytest.TempPathFactory
) -> None:
    root = tmp_path_factory.mktemp("tree")
    (root / "cgroup.controllers").write_text("memory\n")
    folder = root
    for number, limit in enumerate(limits):
        folder = folder / f"g{number}"
        unified(folder, "max" if limit is None else limit)
    found = container(root, f"0::/{folder.relative_to(root)}\n").memory()
    held = [limit for limit in limits if limit is not None and limit < 64 * GiB]
    assert (found.limit if found else None) == min(held, default=None)


@pytest.mark.parametrize("path", ["/docker/4c01db0b339c", "/../elsewhere", "/"])
def test_a_container_that_sees_its_own_group_only(tree: Path, path: str) -> None:
    """Without a namespace the path is the machine's, and the mount is the container's own group."""
    unified(tree, 512 * MiB)
    unified(tree.parent / "elsewhere", 1 * MiB)
    found = container(tree, f"0::{path}\n").memory()
    assert found is not None
    assert found.limit == 512 * MiB


VERSION_1 = "9:memory:/box\n3:cpuacct,cpu:/box\n2:name=systemd:/box\n0::/\n"


@pytest.mark.parametrize("mounted", ["cpuacct,cpu", "apart"])
def test_version_1(tmp_path: Path, mounted: str) -> None:
    memory = tmp_path / "memory" / "box"
    put(
        memory,
        memory__limit_in_bytes=512 * MiB,
        memory__usage_in_bytes=300 * MiB,
        memory__stat=f"inactive_file 9\ntotal_inactive_file {100 * MiB}",
    )
    put(tmp_path / "memory", memory__limit_in_bytes=UNLIMITED, memory__usage_in_bytes=900 * MiB)
    cpu, accounting = (mounted, mounted) if mounted != "apart" else ("cpu", "cpuacct")
    put(tmp_path / cpu / "box", cpu__cfs_quota_us=50_000, cpu__cfs_period_us=100_000)
    put(
        tmp_path / accounting / "box",
        cpuacct__usage_user=2_500_000_000,
        cpuacct__usage_sys=1_000_000_000,
    )
    put(tmp_path / accounting, cpuacct__usage_user=1, cpuacct__usage_sys=1, cpu__cfs_quota_us=-1)
    here = container(tmp_path, VERSION_1)
    assert here.memory() == Memory(512 * MiB, 300 * MiB, 200 * MiB)
    assert here.cpu() == Cpu(0.5, 2.5, 1.0)


def test_version_1_s_times_are_of_the_group_that_is_limited(tmp_path: Path) -> None:
    for group, quota, seconds in (("pod", 50_000, 7), ("pod/app", -1, 3)):
        put(tmp_path / "cpu" / group, cpu__cfs_quota_us=quota, cpu__cfs_period_us=100_000)
        spent = seconds * 10**9
        put(tmp_path / "cpuacct" / group, cpuacct__usage_user=spent, cpuacct__usage_sys=spent)
    assert container(tmp_path, "2:cpuacct:/pod/app\n1:cpu:/pod/app\n").cpu() == Cpu(0.5, 7.0, 7.0)


def test_version_1_without_limits(tmp_path: Path) -> None:
    put(tmp_path / "memory", memory__limit_in_bytes=UNLIMITED, memory__usage_in_bytes=1)
    put(tmp_path / "cpu", cpu__cfs_quota_us=-1, cpu__cfs_period_us=100_000)
    here = container(tmp_path, "4:memory:/\n1:cpu:/\n0::/\n")
    assert (here.memory(), here.cpu()) == (None, None)


def test_a_limit_that_the_machine_does_not_reach_is_none(tree: Path) -> None:
    unified(tree, 512 * MiB, "800000 100000")
    here = container(tree, "0::/\n", physical=512 * MiB, cpus=8)
    assert (here.memory(), here.cpu()) == (None, None)


@pytest.mark.parametrize(
    ("membership", "limit", "quota"),
    [
        ("", "1", "1 1"),
        ("no colons", "1", "1 1"),
        ("0::/\n", "lots", "1 0"),
        ("0::/\n", "", ""),
        ("0::/\n", "\x00\xff", "a b c"),
    ],
)
def test_files_that_say_something_else(tree: Path, membership: str, limit: str, quota: str) -> None:
    unified(tree, limit, quota)
    here = container(tree, membership)
    assert (here.memory(), here.cpu()) == (None, None)


def test_no_control_groups_at_all(tmp_path: Path) -> None:
    here = Container(tmp_path / "missing", tmp_path / "missing")
    assert (here.memory(), here.cpu()) == (None, None)


def test_this_machine_s_own_groups_can_be_read() -> None:
    """Whatever it is limited to, it is in use, and less than the machine."""
    here = Container()
    memory, cpu = here.memory(), here.cpu()
    assert list(here._groups("memory")), "this machine has control groups"
    assert memory is None or 0 < memory.working_set <= memory.usage
    assert memory is None or memory.limit < here._physical
    assert cpu is None or (cpu.limit < here._cpus and cpu.user > 0)


def test_its_metrics(tree: Path, collecting: Any) -> None:
    unified(tree, 512 * MiB, "150000 100000")
    here = container(tree, "0::/\n")
    found = collecting(lambda meter: observe(meter, here))()
    assert found == {
        names.CONTAINER_CPU_TIME.name: [({names.CPU_MODE: "user"}, 2.5), ({names.CPU_MODE: "system"}, 1.0)],
        names.CONTAINER_MEMORY_USAGE.name: [({}, 300 * MiB)],
        names.CONTAINER_MEMORY_WORKING_SET.name: [({}, 200 * MiB)],
        names.CONTAINER_MEMORY_AVAILABLE.name: [({}, 312 * MiB)],
    }


def test_without_a_limit_nothing_is_said_of_a_container(tree: Path, collecting: Any) -> None:
    unified(tree)
    assert collecting(lambda meter: observe(meter, container(tree, "0::/\n")))() == {}
