"""The README's first command, as a user types it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from servers import ROOT, wait_for

pytestmark = pytest.mark.real

DEMO = [sys.executable, "-m", "spanwise", "demo", "--store", str(ROOT / "examples" / "store")]


def test_once_succeeds_when_every_recorded_span_arrived(tmp_path: Path) -> None:
    done = subprocess.run(
        [*DEMO, "--once", "--requests", "60", "--rate", "30"],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    recorded, arrived, dropped = map(
        int, re.search(r"(\d+) spans recorded, (\d+) arrived, (\d+) dropped: complete", done.stdout).groups()
    )
    assert recorded == arrived > 120
    assert dropped == 0


def test_once_fails_when_a_span_was_dropped(tmp_path: Path) -> None:
    """A queue of one span cannot hold a request's: the account must say so, and the status too."""
    done = subprocess.run(
        [*DEMO, "--once", "--requests", "20", "--rate", "20"],
        capture_output=True, text=True, timeout=120, cwd=tmp_path,
        env={**os.environ, "OTEL_BSP_MAX_QUEUE_SIZE": "1"},
    )  # fmt: skip
    assert done.returncode == 1, done.stdout + done.stderr
    assert "INCOMPLETE" in done.stdout


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_all_of_it(tmp_path: Path, number: signal.Signals) -> None:
    output = tmp_path / "out"
    with output.open("wb") as out:
        demo = subprocess.Popen(
            [*DEMO], stdout=out, stderr=subprocess.STDOUT, cwd=tmp_path, start_new_session=True
        )
    try:
        wait_for(lambda: "traces, " in output.read_text(), 60, "the first line of arrivals")
        children = _children(demo.pid)
        assert len(children) == 2, "the store and the load generator"
        demo.send_signal(number)
        assert demo.wait(60) == 0, output.read_text()
    finally:
        demo.kill()
        demo.wait()
    assert "complete" in output.read_text()
    wait_for(lambda: not any(Path(f"/proc/{pid}").exists() for pid in children), 5, "the children to end")


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
