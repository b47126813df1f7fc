"""Telemetry starts when it is first needed, and nobody can tell the difference."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from otlp_sink import Sink, otlp_sink

BIN = Path(sys.executable).parent
DEADLINE = 60.0

FLASK = """
from flask import Flask
app = Flask("shop")

@app.route("/item/<int:number>")
def item(number):
    return str(number)
"""
# What is tried here must not be started by the time that it takes on a busy machine.
HOLD = "from spanwise import waiting\nwaiting._over.set()\n"
WAITING = "from spanwise import pending\nassert pending.waits()\n"
ASKED = "client = app.test_client()\nfor _ in range(3): assert client.get('/item/7').data == b'7'"
SPAN = "from opentelemetry import trace\ntrace.get_tracer('t').start_span('{}').end()\n"


@pytest.fixture
def sink() -> Iterator[Sink]:
    """A real receiver."""
    with otlp_sink() as made:
        yield made


def run(code: str, sink: Sink, folder: Path, **more: str) -> subprocess.CompletedProcess[str]:
    """The code under `spanwise run`, with a day's delays: what arrives was sent at the end."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith(("OTEL_", "SPANWISE_"))}
    variables = {
        "OTEL_SERVICE_NAME": "shop",
        "OTEL_EXPORTER_OTLP_ENDPOINT": sink.http_endpoint,
        "SPANWISE_SPOOL_DIR": str(folder / "spool"),
        "SPANWISE_EXIT_TIMEOUT": "60000",  # on a busy machine two seconds are little
        **dict.fromkeys(
            ("OTEL_BSP_SCHEDULE_DELAY", "OTEL_BLRP_SCHEDULE_DELAY", "OTEL_METRIC_EXPORT_INTERVAL"), "3600000"
        ),
    }
    return subprocess.run(
        [str(BIN / "spanwise"), "run", sys.executable, "-c", HOLD + code],
        env={**plain, **variables, **more},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
    )


def names(sink: Sink) -> list[str]:
    """Of the spans that arrived."""
    return sorted(span["name"] for span in sink.spans())


@pytest.mark.real
def test_a_process_that_needs_none_starts_none(sink: Sink, tmp_path: Path) -> None:
    done = run(
        f"import flask\n{WAITING}import sys; print('opentelemetry.trace' in sys.modules)", sink, tmp_path
    )
    assert (done.stdout.strip(), done.stderr, done.returncode) == ("False", "", 0)
    assert not [*sink.spans(), *sink.metrics(), *sink.logs()]


@pytest.mark.real
@pytest.mark.parametrize(
    ("code", "module"),
    [
        ("from opentelemetry import trace; found = trace.get_tracer_provider()", "spanwise.spans.provider"),
        (("import opentelemetry.sdk.trace as s; found = s.trace_api.get_tracer_provider()\n"
         "assert isinstance(found, s.TracerProvider)"), "spanwise.spans.provider"),
        ("from opentelemetry.metrics import get_meter_provider; found = get_meter_provider()",
         "spanwise.meters.provider"),
        ("from opentelemetry._logs import get_logger_provider; found = get_logger_provider()",
         "opentelemetry.sdk._logs._internal"),
        (("from opentelemetry.trace import ProxyTracer, get_tracer\n"
         "found = get_tracer('x'); assert not isinstance(found, ProxyTracer)"), "spanwise.spans.tracer"),
    ],
)  # fmt: skip
def test_whoever_imports_the_api_finds_what_is_there_ever_after(
    code: str, module: str, sink: Sink, tmp_path: Path
) -> None:
    done = run(f"{WAITING}{code}\nprint(type(found).__module__, pending.waits())", sink, tmp_path)
    assert done.stdout.split() == [module, "False"], done.stderr


@pytest.mark.real
def test_threads_that_import_the_api_at_once_all_find_it(sink: Sink, tmp_path: Path) -> None:
    code = """
import threading
apis, found, gate = ("trace", "metrics", "_logs", "sdk.trace", "sdk.metrics"), [], threading.Barrier(5)
def ask(name):
    gate.wait()
    __import__("opentelemetry." + name)
    from opentelemetry import trace
    # A span that is started meanwhile is nobody's.
    while isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider): pass
    trace.get_tracer("t").start_span(name).end()
threads = [threading.Thread(target=ask, args=(name,)) for name in apis]
[each.start() for each in threads]; [each.join(60) for each in threads]
"""
    done = run(WAITING + code, sink, tmp_path)
    assert names(sink) == ["_logs", "metrics", "sdk.metrics", "sdk.trace", "trace"], done.stderr


@pytest.mark.real
def test_nothing_of_other_threads_is_lost_while_one_starts_it(sink: Sink, tmp_path: Path) -> None:
    code = """
import logging, threading
gate = threading.Barrier(20)
def work(number):
    gate.wait()
    logging.getLogger("shop").warning("%d", number)
    from opentelemetry import metrics, trace
    trace.get_tracer("t").start_span(str(number)).end()
    metrics.get_meter("t").create_counter("work").add(1)
threads = [threading.Thread(target=work, args=(number,)) for number in range(20)]
[each.start() for each in threads]; [each.join(60) for each in threads]
"""
    done = run(WAITING + code, sink, tmp_path)
    wanted = sorted(map(str, range(20)))
    assert names(sink) == wanted, done.stderr
    assert sorted(log["body"] for log in sink.logs() if log["scope"] == "shop") == wanted
    points = [metric["points"] for metric in sink.metrics() if metric["name"] == "work"]
    assert [point["value"] for point in points[-1]] == [20]


@pytest.mark.real
def test_a_child_that_is_forked_while_another_thread_starts_it_is_whole(sink: Sink, tmp_path: Path) -> None:
    code = """
import logging, os, sys, threading, time
def first(): logging.getLogger("shop").warning("parent")
thread = threading.Thread(target=first)
thread.start()
while not pending._starter and pending.waits(): time.sleep(0.001)
child = os.fork()
if not child:
    logging.getLogger("shop").warning("child")
    from opentelemetry import trace
    trace.get_tracer("t").start_span("child").end()
    sys.exit(0)
thread.join(60)
end = time.monotonic() + 60
while not os.waitpid(child, os.WNOHANG)[0]:
    if time.monotonic() > end:
        os.kill(child, 9)
        sys.exit("the child hangs")
    time.sleep(0.05)
"""
    done = run(WAITING + code, sink, tmp_path)
    assert (done.stderr.splitlines(), done.returncode) == (["parent", "child"], 0)
    assert names(sink) == ["child"]
    assert sorted(log["body"] for log in sink.logs() if log["scope"] == "shop") == ["child", "parent"]


@pytest.mark.real
@pytest.mark.parametrize(("imports", "ended"), [(True, "True"), (False, "False")])
def test_a_fork_waits_as_long_as_the_start_imports(
    imports: bool, ended: str, sink: Sink, tmp_path: Path
) -> None:
    code = f"""
import os, sys, threading, time
pending.now()
pending._SPELL = 1.0
ended = threading.Event()
def start():
    for number in range(300 if {imports} else 1):
        sys.modules[f"shop.{{number}}"] = sys
        # Without an import the start lasts until the fork is over.
        time.sleep(0.01) if {imports} else forked.wait(60)
    ended.set()
forked = threading.Event()
pending.launch(start)
thread = threading.Thread(target=pending.now)
thread.start()
while "shop.0" not in sys.modules: time.sleep(0.001)
child = os.fork()
if not child:
    print(ended.is_set(), flush=True)
    os._exit(0)
forked.set()
os.waitpid(child, 0)
thread.join(60)
"""
    done = run(WAITING + code, sink, tmp_path)
    assert (done.stdout.strip(), done.returncode) == (ended, 0), done.stderr


@pytest.mark.real
def test_the_first_log_record_arrives_and_is_printed_once(sink: Sink, tmp_path: Path) -> None:
    code = (
        "import logging\nlogging.basicConfig(format='%(otelTraceID)s %(message)s')\n"
        "logging.getLogger('shop').info('hidden'); assert pending.waits()\n"
        "logging.getLogger('shop').warning('first'); assert not pending.waits()\n"
        "logging.getLogger('shop').warning('second')"
    )
    done = run(WAITING + code, sink, tmp_path)
    assert done.stderr.splitlines() == ["0 first", "0 second"]
    assert [log["body"] for log in sink.logs() if log["scope"] == "shop"] == ["first", "second"]


@pytest.mark.real
def test_who_replaces_logging_s_method_too_sees_each_record_once(sink: Sink, tmp_path: Path) -> None:
    code = """
import logging
original = logging.Logger.callHandlers
def mine(self, record):
    print("mine", record.getMessage())
    original(self, record)
logging.Logger.callHandlers = mine
logging.getLogger("shop").warning("first")
logging.getLogger("shop").warning("second")
assert logging.Logger.callHandlers is not original
"""
    done = run(WAITING + code, sink, tmp_path)
    assert done.stdout.splitlines() == ["mine first", "mine second"], done.stderr
    assert [log["body"] for log in sink.logs() if log["scope"] == "shop"] == ["first", "second"]


@pytest.mark.real
def test_the_first_request_is_told_like_any_other(sink: Sink, tmp_path: Path) -> None:
    code = f"{FLASK}{WAITING}{ASKED}"
    done = run(code, sink, tmp_path)
    assert names(sink) == ["GET /item/<int:number>"] * 3, done.stderr
    counts = [
        point["value"]
        for metric in sink.metrics()
        if metric["name"] == "http.server.request.duration"
        for point in metric["points"]
    ]
    assert counts == [3]


@pytest.mark.real
def test_caches_that_were_made_before_are_told(sink: Sink, tmp_path: Path) -> None:
    code = (
        "import functools\n@functools.lru_cache\ndef square(x): return x * x\n"
        f"square(2); square(2)\n{WAITING}{SPAN.format('s')}"
    )
    done = run(code, sink, tmp_path)
    told = {
        point["attributes"].get("cache.outcome", point["attributes"].get("cache.result")): point["value"]
        for metric in sink.metrics()
        if metric["name"] == "cache.operations"
        for point in metric["points"]
        if "square" in str(point["attributes"])
    }
    assert sorted(told.values()) == [1, 1], (done.stderr, told)


@pytest.mark.real
def test_what_is_recorded_at_the_exit_arrives(sink: Sink, tmp_path: Path) -> None:
    """Functions of the application's own that it registered before telemetry started."""
    span = "; ".join(SPAN.format("last").splitlines())
    code = f"import atexit\ndef last():\n    {span}\natexit.register(last)\n"
    done = run(code + WAITING, sink, tmp_path)
    assert names(sink) == ["last"], done.stderr


@pytest.mark.real
def test_a_fork_before_the_start(sink: Sink, tmp_path: Path) -> None:
    code = (
        f"import os, sys\n{WAITING}child = os.fork()\n{SPAN.format('s')}"
        "if child: assert os.waitpid(child, 0)[1] == 0"
    )
    done = run(code, sink, tmp_path)
    assert names(sink) == ["s", "s"], done.stderr
    assert len({span["resource"]["service.instance.id"] for span in sink.spans()}) == 2


@pytest.mark.real
def test_it_starts_by_itself_after_a_while(sink: Sink, tmp_path: Path) -> None:
    code = (
        "import os, time, threading\nfrom spanwise import waiting\nwaiting._AFTER = 0.05\n{}"
        "deadline = time.monotonic() + 60\n"
        "while pending.waits() and time.monotonic() < deadline: time.sleep(0.01)\n"
        "assert not pending.waits()\n"
    )
    forked = code.format(
        f"{WAITING}child = os.fork()\nif child:\n    assert os.waitpid(child, 0)[1] == 0; os._exit(0)\n"
    )
    done = run(forked, sink, tmp_path)
    assert done.returncode == 0, done.stderr


@pytest.mark.real
def test_sigterm_before_the_start_ends_the_process_by_it(sink: Sink, tmp_path: Path) -> None:
    done = run(
        f"{WAITING}import os, signal, time; os.kill(os.getpid(), signal.SIGTERM); time.sleep(60)",
        sink,
        tmp_path,
    )
    assert (done.returncode, done.stderr) == (-signal.SIGTERM, "")


@pytest.mark.real
def test_spans_of_a_killed_process_are_sent_by_one_that_needs_no_telemetry(
    sink: Sink, tmp_path: Path
) -> None:
    killed = run(f"{SPAN.format('left')}import os; os.kill(os.getpid(), 9)", sink, tmp_path)
    assert killed.returncode == -signal.SIGKILL
    assert names(sink) == []
    run("pass", sink, tmp_path, OTEL_EXPORTER_OTLP_TRACES_HEADERS="other=1")
    assert names(sink) == []
    run("pass", sink, tmp_path)
    assert names(sink) == ["left"]


@pytest.mark.real
def test_a_start_that_fails_costs_one_error_and_no_request(sink: Sink, tmp_path: Path) -> None:
    code = f"{FLASK}{WAITING}import sys; sys.modules['opentelemetry.sdk.trace'] = None\n{ASKED}"
    done = run(code, sink, tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("no telemetry: spanwise could not start") == 1
    assert done.stderr.count("Traceback") == 1


@pytest.mark.real
@pytest.mark.parametrize(
    "call",
    [
        "spanwise.statistics()",
        "spanwise.health()",
        "spanwise.slow_operations()",
        "spanwise.operation('x').start().stop()",
        "spanwise.circuit('x').trip('y')",
        "spanwise.controllers.track(type('C', (), {})())",
        "import spanwise.meters.cache, spanwise.instrumentors.redis; import wave",
    ],
)
def test_what_is_asked_of_the_package_starts_it(call: str, sink: Sink, tmp_path: Path) -> None:
    done = run(f"import spanwise\n{WAITING}{call}\n{SPAN.format('later')}", sink, tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "later" in names(sink)
