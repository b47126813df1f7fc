"""Start-up of a process that makes a Flask application: when it is ready, and its peak memory.

Usage: start_up.py DRIVER STARTED      (STARTED: the harness's monotonic clock when it began this, ns)
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from bench_common import driver, report


def peak_mib() -> float:
    """Peak memory since exec. Not ru_maxrss, which a child inherits from the harness that forked it."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError("no VmHWM in /proc/self/status: this needs Linux")


def main() -> None:
    """Starts the arm, imports Flask, makes an application."""
    arm = driver(sys.argv[1])
    from flask import Flask

    app = Flask("bench")
    arm.instrument(app, None)
    ready = time.monotonic_ns()
    values = {"wall": (ready - int(sys.argv[2])) / 1e6, "cpu": time.process_time() * 1e3, "rss": peak_mib()}
    report(values)


if __name__ == "__main__":
    main()
