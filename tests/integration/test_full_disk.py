"""Disks that are full, fill up, are read-only or vanish: the process goes on, and its spans arrive."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest
from otlp_sink import Sink, otlp_sink

DEADLINE = 60.0

PRELUDE = """
import os, shutil, signal, sys, time, spanwise
from pathlib import Path
spanwise.configure()
from opentelemetry import trace
tracer, spool = trace.get_tracer("disk"), Path(os.environ["SPANWISE_SPOOL_DIR"])
def record(name, count):
    for _ in range(count):
        tracer.start_span(name, attributes={"text": "x" * 500}).end()
def fill():
    with open(spool / "filling", "wb", buffering=0) as file:
        try:
            while file.write(b"x" * 1024): pass
        except OSError: pass
def room(): (spool / "filling").unlink()
def file(): return next(spool.glob("*.segment"))
def kill(): os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file-system of 512 KiB."""
    place = tmp_path / "disk"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=512k,mode=0700", "tmpfs", str(place)]
    if os.geteuid() or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("only root can mount a small file-system")
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


def ran(body: str, spool: Path, sink: Sink, status: int = 0) -> str:
    """Runs a process; what it said on stderr."""
    env = {
        **os.environ,
        "OTEL_SERVICE_NAME": "disk",
        "OTEL_EXPORTER_OTLP_ENDPOINT": sink.http_endpoint,
        "OTEL_BSP_SCHEDULE_DELAY": "600000",  # what is killed had sent nothing
        "OTEL_LOGS_EXPORTER": "none",
        "SPANWISE_SPOOL_DIR": str(spool),
        "SPANWISE_EXIT_TIMEOUT": "30000",
    }
    done = subprocess.run(
        [sys.executable, "-c", PRELUDE + textwrap.dedent(body)],
        env=env,
        capture_output=True,
        text=True,
        timeout=DEADLINE,
    )
    assert done.returncode == status, done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr


def names(sink: Sink) -> list[str]:
    return [span["name"] for span in sink.spans()]


@pytest.mark.parametrize(
    "before",
    ["fill()", "record('work', 1); fill()"],
)
def test_a_full_disk_loses_nothing_while_the_process_lives(before: str, disk: Path) -> None:
    with otlp_sink() as sink:
        told = ran(f"{before}; record('work', 2000); room()", disk, sink)
        assert names(sink).count("work") == 2000 + before.count("record")
    assert told.count("will not outlive a kill") == 1
    assert str(disk) in told
    assert "No space left" in told


def test_what_waits_is_in_the_file_when_there_is_room_again(disk: Path) -> None:
    body = """
    fill()
    record("while full", 300)
    room()
    time.sleep(1.1)  # the pause between two attempts
    record("afterwards", 10)
    kill()
    """
    with otlp_sink() as sink:
        told = ran(body, disk, sink, -signal.SIGKILL)
        assert told.count("will not outlive a kill") == told.count("outlive a kill again") == 1
        assert adopted(disk, sink) == {"while full": 300, "afterwards": 10}


def adopted(spool: Path, sink: Sink) -> dict[str, int]:
    """What the next process delivers of the one that was killed."""
    assert names(sink) == []
    body = """
    record("mine", 1)
    end = time.monotonic() + 30
    while len(list(spool.glob("*.segment"))) > 1 and time.monotonic() < end: time.sleep(0.05)
    """
    ran(body, spool, sink)
    found = names(sink)
    return {name: found.count(name) for name in sorted(set(found) - {"mine"}, key=found.index)}


def test_what_was_saved_before_the_disk_was_full_outlives_a_kill(disk: Path) -> None:
    with otlp_sink() as sink:
        ran("record('before', 100); fill(); record('after', 1500); kill()", disk, sink, -signal.SIGKILL)
        (disk / "filling").unlink()
        found = adopted(disk, sink)
    assert found["before"] == 100
    assert found.get("after", 0) < 1500


def test_a_read_only_disk(disk: Path) -> None:
    with otlp_sink() as sink:
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        told = ran("record('work', 10)", disk, sink)
        assert names(sink).count("work") == 10
    assert "Read-only file system" in told
    assert told.count("will not outlive a kill") == 1


@pytest.mark.parametrize(
    "harm",
    [
        "os.truncate(file(), 0)",
        "os.truncate(file(), 4096)",
        "file().unlink()",
        "shutil.rmtree(spool)",
        "shutil.rmtree(spool); spool.touch()",
        "os.chmod(spool, 0)",
        "os.closerange(3, 65536)",
    ],
)
def test_what_others_do_to_the_file_harms_nobody(harm: str, tmp_path: Path) -> None:
    with otlp_sink() as sink:
        ran(f"record('work', 500); {harm}; record('work', 500)", tmp_path / "spool", sink)
        # With all descriptors closed the connection is gone too: a request may have been under way.
        assert names(sink).count("work") == 1000


@pytest.mark.parametrize("harm", ["os.truncate(file(), 0)", "file().unlink()", "shutil.rmtree(spool)"])
def test_what_waits_is_in_the_file_again_with_the_next_chunk(harm: str, tmp_path: Path) -> None:
    body = f"record('before', 50); {harm}; record('after', 200); kill()"
    with otlp_sink() as sink:
        ran(body, tmp_path / "spool", sink, -signal.SIGKILL)
        assert adopted(tmp_path / "spool", sink) == {"before": 50, "after": 200}


def test_children_that_all_want_a_file_on_a_full_disk(disk: Path) -> None:
    body = """
    fill()
    children = []
    for _ in range(4):
        child = os.fork()
        if child == 0:
            record("child", 100)
            sys.exit(0)
        children.append(child)
    assert [os.waitpid(child, 0)[1] for child in children] == [0] * 4
    record("parent", 100)
    """
    with otlp_sink() as sink:
        ran(body, disk, sink)
        assert (names(sink).count("child"), names(sink).count("parent")) == (400, 100)


def test_a_limit_on_the_size_of_files(tmp_path: Path) -> None:
    """Needs no root: what is beyond it fails with an error, as on a full disk."""
    body = """
    import resource
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
    record("work", 2000)
    """
    with otlp_sink() as sink:
        told = ran(body, tmp_path, sink)
        assert names(sink).count("work") == 2000
    assert "File too large" in told
    assert list(tmp_path.glob("*.segment")) == []
