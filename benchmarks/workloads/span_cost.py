"""One span, from its creation to the exported bytes: microseconds of CPU.

Usage: span_cost.py DRIVER SPANS
"""

from __future__ import annotations

import sys

from bench_common import Meter, driver, report, trees

CHUNK = 1000  # spans between two flushes: half of the stock queue, so that no arm need drop any
NAME = "work"


def main() -> None:
    """Measures spans with 0 and with 8 attributes, after a warm-up."""
    arm, spans = driver(sys.argv[1]), int(sys.argv[2])
    values, made = {}, {}
    for count in (0, 8):
        name = f"{NAME}-{count}"
        for at in range(0, 2 * CHUNK, CHUNK):
            arm.emit(name, trees(at, CHUNK, count))
            arm.flush()
        recording, sending = Meter(), Meter()
        for at in range(2 * CHUNK, 2 * CHUNK + spans, CHUNK):
            material = trees(at, CHUNK, count)
            with recording:
                arm.emit(name, material)
            with sending:
                arm.flush()
        values[f"process_{count}"] = (recording.process + sending.process) / spans * 1e6
        values[f"thread_{count}"] = recording.thread / spans * 1e6
        made[name] = 2 * CHUNK + spans
    report(values, spans=made)


if __name__ == "__main__":
    main()
