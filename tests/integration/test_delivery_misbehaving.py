"""Destinations that misbehave: one bad request, signal or callback blocks nothing else."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
from otlp_misbehaving import Receiver, ended, launch, receiver

ONE_SIGNAL = {
    "traces": {"OTEL_METRICS_EXPORTER": "none", "OTEL_LOGS_EXPORTER": "none"},
    "logs": {"OTEL_METRICS_EXPORTER": "none", "OTEL_TRACES_EXPORTER": "none"},
}
RECORDS = {
    "traces": "from opentelemetry import trace\n"
    "record = lambda name: trace.get_tracer('t').start_span(name).end()\n",
    "logs": "import logging\nrecord = logging.getLogger('t').warning\n",
}
# Goes on when it is told to, so that no test depends on how long anything takes.
POISON = "record('poison')\ninput()\nfor n in range(20): record(f'good {n}')\ninput()\n"


@pytest.fixture
def to() -> Iterator[Receiver]:
    with receiver() as made:
        yield made


def until(holds: Callable[[], Any], seconds: float = 90.0) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.02)


def go_on(process: Any) -> None:
    process.stdin.write("\n")
    process.stdin.flush()


def refusing(status: int) -> Callable[[BaseHTTPRequestHandler, str, bytes], int]:
    """All requests with `poison` in them."""
    return lambda handler, signal, body: status if b"poison" in body else 200


GOOD = [f"good {number}" for number in range(20)]


@pytest.mark.parametrize(
    ("signal", "status"), [("traces", 500), ("traces", 307), ("traces", 400), ("traces", 503), ("logs", 501)]
)
def test_what_comes_after_a_request_that_always_fails_arrives(
    signal: str, status: int, to: Receiver, tmp_path: Path
) -> None:
    to.react = refusing(status)
    process = launch(RECORDS[signal] + POISON, to, tmp_path, **ONE_SIGNAL[signal])
    until(lambda: (signal, status) in to.answers)
    go_on(process)
    until(lambda: set(GOOD) <= set(to.names[signal]))
    if status != 503:  # which is retried as long as there is room
        until(lambda: to.answers.count((signal, status)) >= (1 if status == 400 else 3))
    go_on(process)
    errors = ended(process)
    assert [name for name in to.names[signal] if name.startswith("good")] == GOOD, "in their order, once"
    assert "1 " in errors
    assert errors.count(f"({status})") <= 2


def test_one_refused_span_costs_itself_and_few_requests(to: Receiver, tmp_path: Path) -> None:
    to.react = refusing(400)
    program = RECORDS["traces"] + (
        "record('first')\ninput()\n"
        "for n in range(256): record('poison' if n == 77 else f'good {n}')\ninput()\n"
    )
    process = launch(program, to, tmp_path, OTEL_BSP_MAX_EXPORT_BATCH_SIZE=256, **ONE_SIGNAL["traces"])
    until(lambda: "first" in to.names["traces"])
    before = len(to.answers)
    go_on(process)
    until(lambda: len(to.names["traces"]) == 256)
    go_on(process)
    ended(process)
    assert Counter(to.names["traces"]) == Counter(["first", *(f"good {n}" for n in range(256) if n != 77)])
    # Two may be needed for the batch itself, where a delay ended in it.
    assert len(to.answers) - before <= 2 + 2 * 8


@pytest.mark.parametrize("damaged", [False, True])
def test_what_a_killed_process_left_blocks_the_next_one_not(
    damaged: bool, to: Receiver, tmp_path: Path
) -> None:
    to.react = lambda handler, signal, body: 503
    process = launch(
        RECORDS["traces"] + "record('poison')\nprint('ready')\ninput()", to, tmp_path, **ONE_SIGNAL["traces"]
    )
    until(lambda: ("traces", 503) in to.answers)
    process.kill()
    process.communicate()
    (file,) = tmp_path.iterdir()
    if damaged:
        data = bytearray(file.read_bytes())
        data[data.index(b"service.name") - 1] ^= 0x40
        file.write_bytes(bytes(data))

    to.react = refusing(500)
    process = launch(RECORDS["traces"] + POISON.partition("\n")[2], to, tmp_path, **ONE_SIGNAL["traces"])
    go_on(process)
    until(lambda: set(GOOD) <= set(to.names["traces"]))
    until(lambda: not file.exists() or "poison" in to.names["traces"])
    go_on(process)
    ended(process)
    assert to.names["traces"] == GOOD
    assert to.answers.count(("traces", 500)) <= 6
    assert not file.exists(), "it is given up, and not left to the process after this one"


def test_an_answer_that_drips_holds_no_other_signal(to: Receiver, tmp_path: Path) -> None:
    def react(handler: BaseHTTPRequestHandler, signal: str, _: bytes) -> int | None:
        if signal != "traces":
            return 200
        to.answers.append(("traces", 1))
        while True:  # until the client has enough of it
            handler.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            time.sleep(0.05)

    to.react = react
    program = RECORDS["traces"] + (
        "from opentelemetry import metrics\nmetrics.get_meter('t').create_counter('mine').add(1)\n"
        "import logging\nlogging.getLogger('t').warning('a record')\nrecord('a span')\ninput()\n"
    )
    process = launch(program, to, tmp_path, OTEL_EXPORTER_OTLP_TIMEOUT=500)
    until(lambda: to.answers.count(("traces", 1)) >= 2)
    until(lambda: to.names["metrics"].count("mine") >= 3)
    until(lambda: "a record" in to.names["logs"])
    go_on(process)
    errors = ended(process)
    assert "spans cannot be delivered to" in errors
    assert "it does not answer in time" in errors


HANDLER = """
import logging
class Handler(logging.Handler):
    def emit(self, record): raise SystemExit("a handler of the application's")
logging.getLogger("spanwise").addHandler(Handler())
"""
GAUGES = """
from opentelemetry import metrics
import time
def hang(options):
    print("hangs", flush=True)
    time.sleep(3600)
def leave(options): raise SystemExit("a callback of the application's")
meter = metrics.get_meter("t")
meter.create_counter("mine").add(1)
meter.create_observable_gauge("bad", [CALLBACK])
"""


def test_a_log_handler_that_ends_its_thread_ends_none_of_ours(to: Receiver, tmp_path: Path) -> None:
    to.react = lambda handler, signal, body: 503
    program = HANDLER + RECORDS["traces"] + POISON
    process = launch(program, to, tmp_path, **ONE_SIGNAL["traces"])
    until(lambda: to.answers.count(("traces", 503)) >= 2)
    to.react = lambda handler, signal, body: 200
    go_on(process)
    until(lambda: set(GOOD) <= set(to.names["traces"]))
    go_on(process)
    assert "Exception in thread" not in ended(process)


def test_a_callback_that_ends_its_thread_costs_itself(to: Receiver, tmp_path: Path) -> None:
    program = GAUGES.replace("CALLBACK", "leave") + RECORDS["traces"] + "record('a span')\ninput()\n"
    process = launch(program, to, tmp_path)
    until(lambda: to.names["metrics"].count("mine") >= 3)
    until(lambda: "a span" in to.names["traces"])
    go_on(process)
    ended(process)


def test_a_callback_that_hangs_holds_neither_spans_nor_log_records(to: Receiver, tmp_path: Path) -> None:
    program = (
        GAUGES.replace("CALLBACK", "hang")
        + RECORDS["traces"]
        + (
            "input()\nfor n in range(20): record(f'good {n}')\n"
            "import logging\nlogging.getLogger('t').warning('a record')\ninput()\n"
        )
    )
    process = launch(program, to, tmp_path)
    assert process.stdout is not None
    assert process.stdout.readline() == "hangs\n"
    go_on(process)
    until(lambda: set(GOOD) <= set(to.names["traces"]))
    until(lambda: "a record" in to.names["logs"])
    go_on(process)
    ended(process)
