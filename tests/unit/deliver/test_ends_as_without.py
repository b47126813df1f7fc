"""How a program ends: what it does, in which order and with what status, is the same as without us.

With greenlets too: an application replaces ``threading`` and ``socket`` after our threads have begun.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import signal
import socket
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

BIN = Path(sys.executable).parent
GREENLETS = {
    "gevent": "from gevent import monkey; monkey.patch_all()\nfrom gevent import spawn, sleep\n",
    "eventlet": "import eventlet; eventlet.monkey_patch()\nfrom eventlet import spawn, sleep\n",
}
SPANS = """
from opentelemetry import trace
def work():
    with trace.get_tracer("test").start_as_current_span("work"): sleep(0.01)
running = [spawn(work) for _ in range(3)]
"""


class Backend:
    """Counts the spans that arrive, by name."""

    def __init__(self) -> None:
        self.names: Counter[str] = Counter()
        backend = self

        class Answer(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                if self.path == "/v1/traces":
                    for group in ExportTraceServiceRequest.FromString(body).resource_spans:
                        for scope in group.scope_spans:
                            backend.names.update(span.name for span in scope.spans)
                self.send_response(200)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}"


@pytest.fixture
def backend() -> Iterator[Backend]:
    found = Backend()
    yield found
    found.server.shutdown()
    found.server.server_close()


def begun(command: list[str], folder: Path, backend: Backend | None) -> subprocess.Popen[str]:
    """Under ``spanwise run``, or plainly where nobody listens."""
    env = {name: value for name, value in os.environ.items() if not name.startswith(("OTEL_", "SPANWISE_"))}
    if backend is not None:
        env.update(OTEL_EXPORTER_OTLP_ENDPOINT=backend.url, SPANWISE_SPOOL_DIR=str(folder / "spool"))
        command = [str(BIN / "spanwise"), "run", *command]
    return subprocess.Popen(
        command,
        env=env,
        cwd=folder,
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


@pytest.fixture(params=list(GREENLETS))
def patched(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    if importlib.util.find_spec(name) is None:
        pytest.skip(f"{name} is not installed")
    return GREENLETS[name]


def test_a_program_of_greenlets_ends_without_a_word(patched: str, backend: Backend, tmp_path: Path) -> None:
    wait = "while len(running) and not all(getattr(each, 'dead', True) for each in running): sleep(0.01)"
    process = begun([sys.executable, "-W", "ignore", "-c", patched + SPANS + wait], tmp_path, backend)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 0
    assert [line for line in err.splitlines() if "greened" not in line] == []
    assert backend.names["work"] == 3


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_server_of_greenlets_ends_by_the_signal(
    patched: str, number: signal.Signals, backend: Backend, tmp_path: Path
) -> None:
    serve = "sleep(0.1); print('ready', flush=True)\nwhile True: sleep(600)\n"
    process = begun([sys.executable, "-W", "ignore", "-c", patched + SPANS + serve], tmp_path, backend)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == -number
    assert "spanwise" not in err
    assert "ignored" not in err
    assert backend.names["work"] == 3


@pytest.mark.parametrize("preload", [False, True])
def test_gunicorn_s_gevent_workers_end_without_a_word(
    backend: Backend, tmp_path: Path, preload: bool
) -> None:
    pytest.importorskip("gunicorn")
    (tmp_path / "shop.py").write_text(
        "import flask\napp = flask.Flask('shop')\n@app.route('/')\ndef root(): return 'ok'\n"
    )
    # As gunicorn's users do it where the application is loaded before the workers are.
    (tmp_path / "settings.py").write_text(
        "from gevent import monkey; monkey.patch_all()\n" if preload else ""
    )
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = ["-k", "gevent", "-w", "2", "-c", "settings.py", "-b", f"127.0.0.1:{port}"]
    options += ["--log-level", "warning", *(["--preload"] if preload else [])]
    process = begun([str(BIN / "gunicorn"), *options, "shop:app"], tmp_path, backend)
    try:
        for _ in range(10):
            assert answered(port).endswith(b"ok")
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert (process.returncode, err) == (0, "")
    assert backend.names["GET /"] == 10


def answered(port: int) -> bytes:
    """The answer, as soon as somebody listens."""
    for _ in range(6000):
        with (
            contextlib.suppress(ConnectionRefusedError),
            socket.create_connection(("127.0.0.1", port), 60) as sock,
        ):
            sock.sendall(b"GET / HTTP/1.0\r\n\r\n")
            heard = b""
            while part := sock.recv(4096):
                heard += part
            return heard
        threading.Event().wait(0.01)
    pytest.fail("nobody listens")


# Everything that a program may hang on its end, each telling of itself. Its workers wait for standard input:
# a test sees whether the program waits for them.
ENDING = """
import atexit, concurrent.futures, os, signal, sys, threading, time, weakref
def say(what): os.write(1, f"{what}\\n".encode())  # in one piece, whoever else does
def worker(name, go_on):
    go_on.wait()
    say(f"{name} ends")
class Kept: pass
kept = Kept()
weakref.finalize(kept, say, "finalizer")
atexit.register(say, "atexit, registered first")
go_on = threading.Event()
def handler(number, _):
    say(f"handler of {number}")
    def read():
        sys.stdin.readline()
        go_on.set()
    threading.Thread(target=read, daemon=True).start()
    sys.exit(7)
signal.signal(signal.SIGTERM, handler)
pool = concurrent.futures.ThreadPoolExecutor(1, "pool")
pool.submit(worker, "pool", go_on)
thread = threading.Thread(target=worker, args=("thread", go_on))
thread.start()
daemon = threading.Thread(target=lambda: (time.sleep(600), say("daemon")), daemon=True)
daemon.start()
atexit.register(say, "atexit, registered last")
say(sorted(each.name for each in threading.enumerate()))
say(signal.getsignal(signal.SIGTERM) is handler)
try:
    say("ready")
    while True: time.sleep(0.01)  # not pause(): the signal may come just before it
except SystemExit:
    say("unwinds")
    raise
"""


def test_a_shut_down_of_its_own_is_neither_cut_short_nor_put_in_another_order(
    backend: Backend, tmp_path: Path
) -> None:
    ended = []
    for listens in (None, backend):
        process = begun([sys.executable, "-c", ENDING], tmp_path, listens)
        try:
            assert process.stdin is not None
            assert process.stdout is not None
            lines = []
            while (line := process.stdout.readline()) != "ready\n":
                assert line, process.communicate()
                lines.append(line)
            process.send_signal(signal.SIGTERM)
            while (line := process.stdout.readline()) != "unwinds\n":
                assert line, process.communicate()
                lines.append(line)
            # Its workers are not told to end yet: the program waits for them.
            assert process.poll() is None
            process.stdin.write("\n")
            process.stdin.close()
            rest = process.stdout.read()
            err = process.stderr.read() if process.stderr is not None else ""
            # Two workers that end at the same time may do so in either order.
            first, last = rest.splitlines()[:2], rest.splitlines()[2:]
            ended.append((lines, sorted(first), last, err, process.wait(60)))
        finally:
            process.kill()
            process.wait()
    plain, with_us = ended
    assert plain == with_us
    assert len(plain[2]) == 3
    assert plain[4] == 7
