"""A counter's add and a histogram's record: microseconds of CPU a call, collection and export included.

Usage: metric_cost.py DRIVER CALLS
"""

from __future__ import annotations

import sys

from bench_common import Meter, driver, report
from opentelemetry import metrics

# Eight series, as a small application's routes give.
SERIES = [{"http.route": f"/route/{number}", "http.request.method": "GET"} for number in range(8)]


def main() -> None:
    """Measures both instruments, after a warm-up."""
    arm, calls = driver(sys.argv[1]), int(sys.argv[2])
    meter = metrics.get_meter("bench")
    counter = meter.create_counter("bench.counter")
    histogram = meter.create_histogram("bench.histogram", unit="s")
    work = {
        "add": lambda number: counter.add(1, SERIES[number & 7]),
        "record": lambda number: histogram.record(number * 0.0001, SERIES[number & 7]),
    }
    values = {}
    warm = calls // 10
    for name, call in work.items():
        for number in range(warm):
            call(number)
        arm.flush_metrics()
        recording, sending = Meter(), Meter()
        with recording:
            for number in range(calls):
                call(number)
        with sending:
            arm.flush_metrics()
        values[f"{name}_process"] = (recording.process + sending.process) / calls * 1e6
        values[f"{name}_thread"] = recording.thread / calls * 1e6
    expected = calls + warm
    report(values, metrics={"bench.counter": expected, "bench.histogram": expected})


if __name__ == "__main__":
    main()
