"""Fork, SIGTERM and exit, in real processes: what arrives at a receiver and with what status they end."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

# A process with a pipeline whose "server" is a file: one line for each request, with the process's role.
PRELUDE = """
import json, os, signal, sys, time, multiprocessing
from spanwise.deliver import pipeline as module
from spanwise.deliver.lifecycle import Lifecycle
from spanwise.deliver.answer import Answer, Fate
from spanwise.sources import load
from spanwise.spans.provider import TracerProvider
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

out = sys.argv[1]
role = "parent"

class Sender:
    def __init__(self, destination): pass
    def send(self, body, timeout=None):
        with open(out, "a") as file:
            scopes = ExportTraceServiceRequest.FromString(b''.join(body)).resource_spans[0].scope_spans
            file.write(json.dumps([role, " ".join(span.name for span in scopes[0].spans)]) + chr(10))
        return Answer(Fate.DELIVERED)
    def close(self): pass

module.Client = Sender
settings = load({"span_delay": 3600000, "exit_timeout": 60000, "spool": out + ".spool"}, {})
pipeline = module.Pipeline(settings, ["traces"])
tracer = TracerProvider(shutdown_on_exit=False).get_tracer("test")
def offer(name):
    span = tracer.start_span(name)
    span.end()
    pipeline.channels["traces"].offer(span)
def begin():
    Lifecycle(pipeline.after_fork, pipeline.shutdown).begin()
    pipeline.start()
"""


def run(body: str, folder: Path) -> tuple[int, list[list[str]]]:
    """Runs ``body`` after the prelude; its exit status and what was sent."""
    out = folder / "sent"
    out.touch()
    done = subprocess.run(
        [sys.executable, "-c", PRELUDE + body, str(out)], capture_output=True, text=True, timeout=60
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, sorted(json.loads(line) for line in out.read_text().splitlines())


def test_what_waits_at_a_normal_exit_is_sent(tmp_path: Path) -> None:
    assert run("begin(); offer('a'); sys.exit(3)", tmp_path) == (3, [["parent", "a"]])


def test_a_forked_child_delivers_its_own_and_not_its_parent_s(tmp_path: Path) -> None:
    body = """
begin()
offer("parent's")
child = os.fork()
if child == 0:
    role = "child"
    offer("child's")
    sys.exit(0)
os.waitpid(child, 0)
"""
    assert run(body, tmp_path) == (0, [["child", "child's"], ["parent", "parent's"]])


def test_a_forked_child_s_thread_runs(tmp_path: Path) -> None:
    body = """
begin()
child = os.fork()
if child == 0:
    role = "child"
    offer("child's")
    assert pipeline.flush(30)
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
"""
    assert run(body, tmp_path) == (0, [["child", "child's"]])


def test_a_multiprocessing_child_delivers_at_its_end(tmp_path: Path) -> None:
    """It ends with os._exit: Python's own exit hooks do not run in it."""
    body = """
def work():
    global role
    role = "child"
    offer("child's")
begin()
offer("parent's")
child = multiprocessing.get_context("fork").Process(target=work)
child.start()
child.join()
assert child.exitcode == 0
"""
    assert run(body, tmp_path) == (0, [["child", "child's"], ["parent", "parent's"]])


def test_a_fork_while_the_locks_are_held_does_not_hang(tmp_path: Path) -> None:
    body = """
begin()
with pipeline.channels["traces"].account._lock, pipeline._workers._all[0]._starting:
    child = os.fork()
    if child == 0:
        role = "child"
        offer("child's")
        sys.exit(0)
assert os.waitpid(child, 0)[1] == 0
"""
    assert run(body, tmp_path) == (0, [["child", "child's"]])


def test_sigterm_delivers_and_the_status_stays(tmp_path: Path) -> None:
    body = "begin(); offer('a'); os.kill(os.getpid(), signal.SIGTERM); time.sleep(60)"
    assert run(body, tmp_path) == (-signal.SIGTERM, [["parent", "a"]])


@pytest.mark.parametrize("order", ["install(); begin()", "begin(); install()"])
def test_the_application_s_own_handler_stays(order: str, tmp_path: Path) -> None:
    body = f"""
def own(number, frame):
    sys.exit(7)
def install():
    signal.signal(signal.SIGTERM, own)
{order}
assert signal.getsignal(signal.SIGTERM) is own
offer("a")
os.kill(os.getpid(), signal.SIGTERM)
time.sleep(60)
"""
    assert run(body, tmp_path) == (7, [["parent", "a"]])


def test_an_ignored_sigterm_stays_ignored(tmp_path: Path) -> None:
    body = """
signal.signal(signal.SIGTERM, signal.SIG_IGN)
begin()
os.kill(os.getpid(), signal.SIGTERM)
offer("still here")
"""
    assert run(body, tmp_path) == (0, [["parent", "still here"]])


def test_started_on_another_thread(tmp_path: Path) -> None:
    body = """
import threading
thread = threading.Thread(target=begin)
thread.start()
thread.join()
offer("a")
"""
    assert run(body, tmp_path) == (0, [["parent", "a"]])


@pytest.mark.parametrize(("end", "status"), [("sys.exit(3)", 3), ("os.kill(os.getpid(), signal.SIGINT)", -2)])
def test_ctrl_c_at_the_exit_ends_the_waiting_and_nothing_else(end: str, status: int) -> None:
    code = (
        "import os, signal, sys, time, atexit\n"
        "from spanwise.deliver.lifecycle import Lifecycle\n"
        "def deliver():\n"
        "    print('delivering', flush=True)\n"
        "    time.sleep(600)\n"
        "atexit.register(print, 'the application is told last')\n"
        f"Lifecycle(print, deliver).begin()\n{end}\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "delivering\n"
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (status, "the application is told last\n")
    assert err.count("KeyboardInterrupt") == (status == -2)
    assert "lifecycle" not in err


@pytest.mark.parametrize("way", ["file", "-c", "-m", "-"])
@pytest.mark.parametrize(
    ("end", "status"),
    [
        ("raise KeyboardInterrupt", -2),
        ("sys.exit(3)", 3),
        ("try: raise KeyboardInterrupt\nexcept KeyboardInterrupt: pass", 0),
        (
            "import code\ntry: code.interact(readfunc=lambda _: next(lines))\nexcept SystemExit: pass",
            0,
        ),
        ("raise ValueError", 1),
    ],
)
def test_what_runs_at_the_exit_leaves_the_status(end: str, status: int, way: str, tmp_path: Path) -> None:
    code = (
        "import sys\nfrom spanwise.deliver.lifecycle import Lifecycle\n"
        "lines = iter(['raise KeyboardInterrupt', 'raise SystemExit'])\n"
        # As importing a module with a dataclass does.
        f"Lifecycle(print, lambda: exec('1')).begin()\n{end}\n"
    )
    (tmp_path / "ends.py").write_text(code)
    how = {"file": ["ends.py"], "-c": ["-c", code], "-m": ["-m", "ends"], "-": ["-"]}[way]
    done = subprocess.run(
        [sys.executable, *how], cwd=tmp_path, input=code, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == status, done.stderr
