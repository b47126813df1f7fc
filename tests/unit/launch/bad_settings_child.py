"""Launches telemetry once a line on its standard input, each time in a forked child with that environment.

A line is JSON: the environment's changes, and the file that takes what is printed. It forks, since importing
takes ten times longer than all else.
"""

from __future__ import annotations

import json
import os
import sys

# What a launch imports, but for what reads the environment where it is imported.
import spanwise.deliver.pipeline
import spanwise.instrumentors.load
import spanwise.instrumentors.logging
import spanwise.providers
import spanwise.thresholds.load  # noqa: F401
from spanwise import distro


def record() -> None:
    import logging

    from opentelemetry import metrics, trace

    distro.launch()
    with trace.get_tracer("case").start_as_current_span("work", attributes={"key": "value"}) as span:
        span.add_event("event", {"key": "value"})
    metrics.get_meter("case").create_counter("counted").add(1, {"key": "value"})
    logging.getLogger("case").warning("said")


for line in sys.stdin:
    case = json.loads(line)
    child = os.fork()
    if child == 0:
        sys.stderr.flush()
        os.dup2(os.open(case["stderr"], os.O_WRONLY | os.O_CREAT), 2)
        os.dup2(2, 1)
        os.environ.update(case["environ"])
        record()
        sys.exit(0)
    _, status = os.waitpid(child, 0)
    print(os.waitstatus_to_exitcode(status), flush=True)
