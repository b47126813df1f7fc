"""Telemetry that waits until it is needed, and what comes in between: forks, and other threads."""

from __future__ import annotations

import subprocess
import sys

import pytest

# A start on another thread that takes until `go_on` is set.
STARTING = """
import os, threading
from spanwise import pending
begun, go_on, order = threading.Event(), threading.Event(), []
def start():
    begun.set(); go_on.wait(60); order.append("started")
pending.launch(start)
thread = threading.Thread(target=pending.now); thread.start(); begun.wait(60)
"""


def said(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", STARTING + code], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def test_a_fork_waits_for_a_start_on_another_thread() -> None:
    code = (
        # Nobody takes this thread's turn, so that the start ends before the fork only where that waits.
        "import sys; sys.setswitchinterval(60); pending._LONGEST = 60.0\n"
        # The newest hook is called first: ours waits after it.
        "os.register_at_fork(before=go_on.set)\n"
        "child = os.fork()\n"
        "if child == 0: print(*order, flush=True); os._exit(0)\n"
        "os.waitpid(child, 0); thread.join(); pending.now(); print('parent', *order)"
    )
    assert said(code) == "started\nparent started\n"


def test_a_fork_waits_no_longer_than_a_start_may_take() -> None:
    code = (
        "pending._LONGEST = 0.01\n"
        "child = os.fork()\n"
        "if child == 0: pending.now(); print('child', *order, flush=True); os._exit(0)\n"
        "os.waitpid(child, 0); go_on.set(); thread.join(); pending.now(); print('parent', *order)"
    )
    assert said(code) == "child\nparent started\n"


def test_a_start_may_fork_and_goes_on_in_the_child_too() -> None:
    code = (
        "go_on.set(); thread.join()\n"
        "def forking():\n"
        "    child = os.fork()\n"
        "    if child: order.append(os.waitpid(child, 0)[1])\n"
        "pending.launch(forking); pending.now(); pending.now(); print(*order, pending.waits())"
    )
    assert said(code) == "started False\nstarted 0 False\n"


@pytest.mark.parametrize("first", ["from spanwise import pending", ""])
def test_greenlets_of_one_thread_wait_by_turns(first: str) -> None:
    """A request that comes while another one, on the same thread, starts telemetry is told too."""
    pytest.importorskip("gevent")
    code = (
        f"{first}\nfrom gevent import joinall, monkey, spawn\nmonkey.patch_all()\n"
        "import time\nfrom spanwise import pending\n"
        "order = []\n"
        "def start(): pending.now(); time.sleep(0.1); order.append('started')\n"
        "def ask(): pending.now(); order.append('asked')\n"
        "pending.launch(start)\njoinall([spawn(ask) for _ in range(3)])\nprint(*order)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.stdout == "started asked asked asked\n", done.stderr
