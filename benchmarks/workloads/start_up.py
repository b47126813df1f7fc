"""A process that imports Flask and makes an application, and ends. The harness times it from outside.

Usage: start_up.py DRIVER STARTED [request]
    STARTED: the harness's monotonic clock when it began this, ns; ``request``: it answers one too
"""

from __future__ import annotations

import json
import sys
import time

# Those that a launcher starts: importing their API would be a part of what is measured.
LAUNCHED = ("plain", "otel", "datadog")


def main() -> None:
    """Starts the arm, imports Flask, makes an application, and has it answer where that is asked for."""
    name, started, *asked = sys.argv[1:]
    arm = None
    if name not in LAUNCHED:
        from bench_common import driver

        arm = driver(name)
    from flask import Flask

    app = Flask("bench")
    app.add_url_rule("/item/<int:number>", view_func=lambda number: str(number), endpoint="item")
    if arm is not None:
        arm.instrument(app, None)
    if asked:
        assert app.test_client().get("/item/7").data == b"7"
    ready = (time.monotonic_ns() - int(started)) / 1e6
    print(json.dumps({"values": {"ready": ready, "rss": peak_mib()}}), flush=True)


def peak_mib() -> float:
    """Peak memory since exec. Not ru_maxrss, which a child inherits from the harness that forked it."""
    with open("/proc/self/status", encoding="ascii") as file:
        for line in file:
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    raise RuntimeError("no VmHWM in /proc/self/status: this needs Linux")


if __name__ == "__main__":
    main()
