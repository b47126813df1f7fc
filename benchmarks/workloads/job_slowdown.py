"""A CPU-bound job on one core while spans are emitted at a rate: how much of the job that costs.

Usage: job_slowdown.py DRIVER SECONDS
"""

from __future__ import annotations

import os
import sys
import time
from typing import Any

from bench_common import TREE, driver, report, trees

RATES = (1_000, 5_000, 10_000)  # spans a second
SLICE = 400  # rounds of the inner loop, some 20 µs: short against the time between two trees
MATERIAL = 5_000  # spans' attributes made beforehand


def job(rounds: int) -> int:
    """A slice of pure Python work."""
    total = 0
    for number in range(rounds):
        total += number * number & 0xFF
    return total


def run(arm: Any, name: str, rate: int, seconds: float, material: list[Any]) -> tuple[float, int]:
    """Works and emits for so long. Returns slices a second of the process's CPU time, and spans made.

    CPU time, not the clock's: on one core the two are the same unless somebody else takes it.
    """
    slices = made = 0
    start_cpu, start = time.process_time(), time.monotonic()
    while (elapsed := time.monotonic() - start) < seconds:
        # What is due goes first, as a request does: an arm that cannot keep the rate starves the job.
        if made < elapsed * rate:
            at = made // TREE % len(material)
            arm.emit(name, material[at : at + 1])
            made += TREE
        else:
            job(SLICE)
            slices += 1
    used = time.process_time() - start_cpu
    return slices / used, made


def main() -> None:
    """Measures without spans before and after, and at each rate."""
    arm, seconds = driver(sys.argv[1]), float(sys.argv[2])
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    material = trees(0, MATERIAL, 8)
    arm.emit("warm-up", material[:100])
    arm.flush()
    quiet = [run(arm, "", 0, seconds / 2, material)[0]]
    values, made = {}, {}
    for rate in RATES:
        name = f"work-{rate}"
        speed, made[name] = run(arm, name, rate, seconds, material)
        values[f"slow_{rate}"] = speed
        arm.flush()
    quiet.append(run(arm, "", 0, seconds / 2, material)[0])
    base = sum(quiet) / 2
    report({key: (1 - speed / base) * 100 for key, speed in values.items()}, spans=made)


if __name__ == "__main__":
    main()
