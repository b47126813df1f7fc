"""Servers that fork in C: uWSGI, and a small one of our own. All arrives, from each child.

With the stock distribution spans and log records of such children arrive, their metrics do not, all have
their parent's identity, and uWSGI waits its 60 seconds of mercy for each at the end.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import urllib.request
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest
from otlp_sink import Sink, otlp_sink
from servers import free_port, listens, running, wait_for

BIN = Path(sys.executable).parent
DEADLINE = 60.0
REQUESTS = 30

APP = """
import logging, os
from flask import Flask
from opentelemetry import metrics, trace

app = Flask("shop")
counter = metrics.get_meter("shop").create_counter("shop.requests")
with trace.get_tracer("shop").start_as_current_span("loading"):
    pass

@app.get("/")
def root():
    counter.add(1)
    logging.getLogger("shop").warning("asked")
    return str(os.getpid())
"""


def variables(sink: Sink, folder: Path, delay: int) -> dict[str, str]:
    return {
        "OTEL_SERVICE_NAME": "shop",
        "OTEL_EXPORTER_OTLP_ENDPOINT": sink.http_endpoint,
        "OTEL_BSP_SCHEDULE_DELAY": str(delay),
        "OTEL_BLRP_SCHEDULE_DELAY": str(delay),
        "OTEL_METRIC_EXPORT_INTERVAL": str(max(delay, 500)),
        "SPANWISE_SPOOL_DIR": str(folder / "spool"),
        "SPANWISE_EXIT_TIMEOUT": "20000",  # the machine may be busy
    }


def counted(sink: Sink) -> Counter[str]:
    """The counter's newest value by instance."""
    newest: Counter[str] = Counter()
    for metric in sink.metrics():
        if metric["name"] == "shop.requests":
            instance = metric["resource"]["service.instance.id"]
            newest[instance] = max(newest[instance], *(point["value"] for point in metric["points"]))
    return newest


def named(sink: Sink, name: str) -> list[dict[str, object]]:
    return [span for span in sink.spans() if span["name"] == name]


def check(sink: Sink, workers: Counter[str]) -> None:
    """All that the workers did has arrived, once, each under its own identity."""
    spans = named(sink, "GET /")
    assert len(spans) == len({span["span_id"] for span in spans}) == REQUESTS
    assert Counter(str(span["resource"]["process.pid"]) for span in spans) == workers  # type: ignore[index]
    instances = {
        (span["resource"]["process.pid"], span["resource"]["service.instance.id"])  # type: ignore[index]
        for span in spans
    }
    assert len(instances) == len({instance for _, instance in instances}) == len(workers)
    assert sum(record["body"] == "asked" for record in sink.logs()) == REQUESTS
    assert sorted(counted(sink).values()) == sorted(workers.values())


def asked(port: int) -> Counter[str]:
    """Requests, by the worker that answered them."""
    answers: Counter[str] = Counter()
    for _ in range(REQUESTS):
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=30) as response:
            answers[response.read().decode()] += 1
    return answers


def uwsgi(folder: Path, port: int, *options: str) -> list[str]:
    program = BIN / "uwsgi"
    if not program.exists():
        pytest.skip("uwsgi is not installed")
    (folder / "shop.py").write_text(APP)
    served = ["--http-socket", f"127.0.0.1:{port}", "--module", "shop:app", "--need-app", "-p", "2"]
    return [
        *(str(BIN / "spanwise"), "run", str(program), *served, "--die-on-term"),
        *("--virtualenv", sys.prefix, *options),
    ]


@pytest.mark.parametrize(
    "options",
    [
        ["--master", "--enable-threads"],
        ["--master"],
        ["--master", "--lazy-apps", "--enable-threads"],
        ["--master", "--lazy-apps"],
        ["--master", "--threads", "2"],
        ["--enable-threads"],
        ["--master", "--enable-threads", "--py-call-osafterfork"],
        ["--master", "--enable-threads", "--py-call-uwsgi-fork-hooks"],
    ],
    ids=" ".join,
)
def test_uwsgi_s_workers_deliver_while_they_live(options: Sequence[str], tmp_path: Path) -> None:
    with otlp_sink() as sink:
        port, log = free_port(), tmp_path / "log"
        command, env = uwsgi(tmp_path, port, *options), variables(sink, tmp_path, 200)
        with running(command, log, lambda: listens(port), env=env, cwd=tmp_path, deadline=DEADLINE) as server:
            workers = asked(port)
            sink.wait_for(lambda _: len(named(sink, "GET /")) == REQUESTS, DEADLINE)
            sink.wait_for(lambda _: sum(counted(sink).values()) == REQUESTS, DEADLINE)
            sink.wait_for(lambda _: len(sink.logs()) >= REQUESTS, DEADLINE)
            check(sink, workers)
            sink.wait_for(
                lambda _: len(named(sink, "loading")) >= (2 if "--lazy-apps" in options else 1), DEADLINE
            )
            # A worker that is loading its application cannot be stopped.
            wait_for(
                lambda: log.read_text().count("ready in") == (2 if "--lazy-apps" in options else 1), DEADLINE
            )
            server.send_signal(signal.SIGTERM)
            ended = 0 if "--master" in options else 30  # uWSGI's own status without a master
            assert server.wait(30) == ended, "a worker that hangs has 60 seconds of mercy"
            for worker in map(int, workers):  # without a master the second one outlives the first
                with contextlib.suppress(ProcessLookupError):
                    os.kill(worker, signal.SIGKILL)
        check(sink, workers)
        assert "Traceback" not in log.read_text()


@pytest.mark.parametrize(
    "options",
    [
        ["--master"],
        ["--master", "--max-requests", "4", "--min-worker-lifetime", "0", "--worker-reload-mercy", "8"],
    ],
    ids=" ".join,
)
def test_uwsgi_s_workers_deliver_at_their_end(options: Sequence[str], tmp_path: Path) -> None:
    with otlp_sink() as sink:
        port, log = free_port(), tmp_path / "log"
        command, env = uwsgi(tmp_path, port, *options), variables(sink, tmp_path, 600_000)
        with running(command, log, lambda: listens(port), env=env, cwd=tmp_path, deadline=DEADLINE) as server:
            workers = asked(port)
            # uWSGI ends a worker that is busy, or on its way out, at once and without Python's exit hooks.
            wait_for(lambda: log.read_text().count("[pid: ") == REQUESTS, DEADLINE)
            ended = sum(count == 4 for count in workers.values() if "--max-requests" in options)
            wait_for(lambda: log.read_text().count("Respawned uWSGI worker") >= ended, DEADLINE)
            server.send_signal(signal.SIGTERM)
            # A worker that has just been forked misses the signal, with and without us, and is killed.
            assert server.wait(30) == 0
        check(sink, workers)


SERVER = r"""
#include <Python.h>
#include <sys/wait.h>
#include <unistd.h>

static void run(const char *text) { if (PyRun_SimpleString(text)) _exit(3); }

int main(int count, char **given) {
    PyConfig config;
    PyConfig_InitPythonConfig(&config);
    PyConfig_SetBytesString(&config, &config.program_name, given[1]);
    PyStatus status = Py_InitializeFromConfig(&config);
    if (PyStatus_Exception(status)) Py_ExitStatusException(status);
    run("import spanwise; spanwise.configure()");
    run("from opentelemetry import trace; tracer = trace.get_tracer('shop')");
    run("tracer.start_span('parent').end(); half = tracer.start_span('half')");
    for (int child = 0; child < 3; child++) {
        if (fork() == 0) {
            run("exec(open('work.py').read())");
            return Py_FinalizeEx() ? 4 : 0;
        }
    }
    int failed = 0, how;
    while (wait(&how) > 0) failed |= how;
    return Py_FinalizeEx() || failed;
}
"""
WORK = """
import logging, os
from opentelemetry import metrics
half.end()
for number in range(10):
    metrics.get_meter("shop").create_counter("shop.requests").add(1)
    logging.getLogger("shop").warning("asked")
    with tracer.start_as_current_span("GET /"): pass
open(f"child-{os.getpid()}", "w").write("10")
"""


def test_a_small_server_in_c(tmp_path: Path) -> None:
    program = tmp_path / "server"
    _compile(program)
    (tmp_path / "work.py").write_text(WORK)
    with otlp_sink() as sink:
        env = {**os.environ, **variables(sink, tmp_path, 600_000)}
        command = [str(program), sys.executable]
        done = subprocess.run(
            command, env=env, cwd=tmp_path, capture_output=True, text=True, timeout=DEADLINE
        )
        assert done.returncode == 0, done.stderr
        assert "Traceback" not in done.stderr
        children = [file.name.split("-")[1] for file in tmp_path.glob("child-*")]
        assert len(children) == 3
        check(sink, Counter(dict.fromkeys(children, 10)))
        assert len(named(sink, "parent")) == 1, "what waited at the fork is the parent's to deliver"
        assert len(named(sink, "half")) == 3, "each child ended it"
        assert list((tmp_path / "spool").iterdir()) == []


def _compile(program: Path) -> None:
    compiler, library = shutil.which("gcc"), sysconfig.get_config_var("LIBDIR")
    include = sysconfig.get_path("include")
    if compiler is None or not (Path(include) / "Python.h").exists():
        pytest.skip("needs gcc and the headers of Python")
    source = program.with_suffix(".c")
    source.write_text(SERVER)
    version = sysconfig.get_config_var("LDVERSION")
    flags = [f"-I{include}", f"-L{library}", f"-Wl,-rpath,{library}", "-Wl,-export-dynamic"]
    libraries = f"-lpython{version} {sysconfig.get_config_var('LIBS')} {sysconfig.get_config_var('SYSLIBS')}"
    command = [compiler, str(source), "-o", str(program), *flags, *libraries.split()]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"cannot be compiled here: {done.stderr[-500:]}")


def test_a_killed_child_of_the_c_library_s_fork_leaves_its_spans_to_the_next_process(tmp_path: Path) -> None:
    """And none of its parent's, whose file it inherited."""
    body = """
import ctypes, os, signal, spanwise
spanwise.configure()
from opentelemetry import trace
tracer = trace.get_tracer("shop")
tracer.start_span("parent").end()
child = ctypes.PyDLL(None).fork()
if child == 0:
    for _ in range(100): tracer.start_span("child").end()
    os.kill(os.getpid(), signal.SIGKILL)
os.waitpid(child, 0)
os.kill(os.getpid(), signal.SIGKILL)
"""
    with otlp_sink() as sink:
        env = {**os.environ, **variables(sink, tmp_path, 600_000)}
        done = subprocess.run(
            [sys.executable, "-c", body], env=env, capture_output=True, text=True, timeout=60
        )
        assert done.returncode == -signal.SIGKILL, done.stderr
        # An empty one is left where the other process looked for orphans when a file was just made.
        assert sum(file.stat().st_size > 0 for file in (tmp_path / "spool").iterdir()) == 2
        heir = "import spanwise, time; spanwise.configure(); time.sleep(60)"
        process = subprocess.Popen(
            [sys.executable, "-c", heir], env={**env, "OTEL_BSP_SCHEDULE_DELAY": "200"}
        )
        try:
            wait_for(lambda: len(sink.spans()) >= 101, DEADLINE)
            wait_for(lambda: list((tmp_path / "spool").iterdir()) == [], DEADLINE)
        finally:
            process.kill()
            process.wait()
        assert Counter(span["name"] for span in sink.spans()) == {"parent": 1, "child": 100}
        assert len({span["resource"]["process.pid"] for span in sink.spans()}) == 2
