"""Every way to launch the same application gives the same telemetry, one instance a worker."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from otlp_sink import Sink, otlp_sink
from servers import free_port, wait_for

BIN = Path(sys.executable).parent
DEADLINE = 60.0  # a noisy machine starts a reloader and two workers slowly
REQUESTS = 12

APP = """
import logging, os
from flask import Flask
from sqlalchemy import create_engine, text

app = Flask("shop")
engine = create_engine("sqlite://")
with engine.connect() as connection:  # a reloader's parent does this too, and must not tell of it
    connection.execute(text("select 2"))

@app.route("/item/<int:number>")
def item(number):
    with engine.connect() as connection:
        connection.execute(text("select 1"))
    logging.getLogger("shop").warning("asked for an item")
    return str(os.getpid())

if __name__ == "__main__":
    app.run(port=int(os.environ["PORT"]))
"""
CONFIGURED = "import spanwise\nspanwise.configure()\n" + APP
ASGI = "from asgiref.wsgi import WsgiToAsgi\nfrom app import app as flask_app\napp = WsgiToAsgi(flask_app)\n"

PYTHON = [sys.executable, "app.py"]
RUN = [str(BIN / "spanwise"), "run"]
WAYS = {
    "opentelemetry-instrument": [str(BIN / "opentelemetry-instrument"), *PYTHON],
    "run python": [*RUN, *PYTHON],
    "run file": [*RUN, "app.py"],
    "run module": [*RUN, "-m", "app"],
    "run gunicorn": [*RUN, str(BIN / "gunicorn"), "-w", "2", "-b", "127.0.0.1:{port}", "app:app"],
    "run flask with reloader": [*RUN, str(BIN / "flask"), "run", "--debug", "-p", "{port}"],
    "run uvicorn": [*RUN, str(BIN / "uvicorn"), "--workers", "2", "--port", "{port}", "asgi:app"],
    "configure in code": [sys.executable, "configured.py"],
}
# The reloader's parent forgets what it recorded when it starts the child: it must not have sent it before.
SLOWER = {
    "run flask with reloader": {"OTEL_BSP_SCHEDULE_DELAY": "15000", "OTEL_METRIC_EXPORT_INTERVAL": "16000"}
}
TWO_WORKERS = ("run gunicorn", "run uvicorn")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The application's folder."""
    for name, text in (("app", APP), ("configured", CONFIGURED), ("asgi", ASGI)):
        (tmp_path / f"{name}.py").write_text(text)
    return tmp_path


@pytest.fixture
def sink() -> Iterator[Sink]:
    """A real receiver."""
    with otlp_sink() as made:
        yield made


def environment(sink: Sink, port: int, **more: str) -> dict[str, str]:
    """A plain environment with short delays, so that a test need not wait for the default ones."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith(("OTEL_", "SPANWISE_"))}
    return {
        **plain,
        "PORT": str(port),
        "OTEL_SERVICE_NAME": "shop",
        "OTEL_EXPORTER_OTLP_ENDPOINT": sink.http_endpoint,
        "OTEL_BSP_SCHEDULE_DELAY": "200",
        "OTEL_BLRP_SCHEDULE_DELAY": "200",
        "OTEL_METRIC_EXPORT_INTERVAL": "500",
        **more,
    }


def ask(port: int) -> int:
    """One request on a connection of its own; the id of the process that answered."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/item/7", timeout=10) as answer:
        return int(answer.read())


@contextlib.contextmanager
def running(command: Sequence[str], folder: Path, env: dict[str, str]) -> Iterator[int]:
    """The application in a session of its own, until the block ends; yields its port when it answers."""
    port = int(env["PORT"])
    with (folder / "output.log").open("ab") as output:
        process = subprocess.Popen(
            [part.format(port=port) for part in command],
            cwd=folder,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        try:
            wait_for(lambda: process.poll() is not None or ask(port), DEADLINE, "an answer")
        except TimeoutError:
            pytest.fail(log_of(folder))
        assert process.poll() is None, log_of(folder)
        yield port
    finally:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(10)
        with contextlib.suppress(ProcessLookupError):  # what the launcher left behind, a reloader's child
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(10)


def log_of(folder: Path) -> str:
    """What the application printed."""
    return (folder / "output.log").read_text(errors="replace")


def instances(records: Sequence[dict[str, object]]) -> set[str]:
    """The service instances the records come from."""
    return {record["resource"]["service.instance.id"] for record in records}  # type: ignore[index]


# What differs from server to server, not from launch to launch.
_OF_THE_SERVER = {"server.port", "client.port", "network.peer.port", "user_agent.original", "client.address"}


# Shares of the time since an earlier reading: there or not after how long the servers took to start.
_OF_A_PAST = {"process.cpu.utilization", "system.cpu.utilization", "container.cpu.usage"}
# There once something was slow enough for an alert: on a busy machine a first request is.
_OF_ALERTS = {"spanwise.alerts.active", "spanwise.alerts.notifications"}


def outline(sink: Sink) -> dict[str, set[object]]:
    """What must be the same however the application is launched."""
    spans = [
        span
        for span in sink.spans()
        if not span["attributes"].get("http.request.method") or span["kind"] == 2
    ]
    return {
        "spans": {span["name"] for span in spans},
        "attributes": {
            (span["name"], key) for span in spans for key in span["attributes"] if key not in _OF_THE_SERVER
        },
        "resource": {key for span in spans for key in span["resource"]},
        "metrics": {
            metric["name"]
            for metric in sink.metrics()
            # What launches the application may use lru_cache itself.
            if metric["name"] not in _OF_A_PAST | _OF_ALERTS and not metric["name"].startswith("cache.")
        },
        "logs": {(log["body"], log["severity"]) for log in sink.logs() if log["scope"] == "shop"},
    }


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[object]]:
    """The outline by the plainest way."""
    folder = tmp_path_factory.mktemp("plain")
    (folder / "app.py").write_text(APP)
    with otlp_sink() as sink:
        env = environment(sink, free_port())
        with running(WAYS["run python"], folder, env) as port:
            drive(sink, port, 1)
            found = outline(sink)
    assert found["spans"] >= {"GET /item/<int:number>"}
    assert len(found["spans"]) >= 2, found["spans"]
    return found


def drive(sink: Sink, port: int, workers: int) -> set[int]:
    """Sends requests until every worker has answered one and told of it; the workers' process ids."""
    pids = {ask(port)}

    def all_answered() -> bool:
        pids.add(ask(port))
        return len(pids) >= workers

    wait_for(all_answered, DEADLINE, f"answers of {workers} workers")
    sink.wait_for(
        lambda sink: (
            # Of the requests: the statement at import is sent before them, with a batch of its own.
            {span["resource"]["process.pid"] for span in sink.spans() if span["kind"] == 2} >= pids
            # Of the meters that are made after the start, the last ones.
            and {metric["resource"]["process.pid"] for metric in by_name(sink, "spanwise.gc.pause.time")}
            >= pids
            and {
                metric["resource"]["process.pid"] for metric in by_name(sink, "http.server.request.duration")
            }
            >= pids
            and {log["resource"]["process.pid"] for log in sink.logs()} >= pids
        ),
        DEADLINE,
    )
    return pids


def by_name(sink: Sink, name: str) -> list[dict[str, object]]:
    """The metrics of that name."""
    return [metric for metric in sink.metrics() if metric["name"] == name]


@pytest.mark.real
@pytest.mark.parametrize("way", WAYS)
def test_every_way_gives_the_same(
    way: str, folder: Path, sink: Sink, expected: dict[str, set[object]]
) -> None:
    workers = 2 if way in TWO_WORKERS else 1
    env = environment(sink, free_port(), **SLOWER.get(way, {}))
    with running(WAYS[way], folder, env) as port:
        pids = drive(sink, port, workers)
        found = outline(sink)
    for what, names in expected.items():
        assert found[what] == names, what
    # Who did not answer (master, reloader, supervisor) did not report; every worker is one instance.
    # (Its log lines are the application's output like any other: the reloader's "Restarting with stat".)
    reported = [*sink.spans(), *sink.metrics()]
    assert {record["resource"]["process.pid"] for record in reported} == pids
    assert len(instances(reported)) == len(pids)
    traces = {span["trace_id"] for span in sink.spans()}
    asked = [log for log in sink.logs() if log["body"] == "asked for an item"]
    assert asked
    assert {log["trace_id"] for log in asked} <= traces
    assert "asked for an item" in log_of(folder)
    assert "Traceback" not in log_of(folder)
    # OpenTelemetry's launcher checks versions itself, and would say that nobody traces SQLAlchemy 2.1.
    assert "instrumented" not in log_of(folder)


@pytest.mark.real
def test_nothing_ends_up_unsent(folder: Path, sink: Sink) -> None:
    """A day's delays: only the end of the process can have sent what arrives."""
    day = "86400000"
    env = environment(
        sink,
        free_port(),
        OTEL_BSP_SCHEDULE_DELAY=day,
        OTEL_BLRP_SCHEDULE_DELAY=day,
        OTEL_METRIC_EXPORT_INTERVAL=day,
    )
    with running(WAYS["run gunicorn"], folder, env) as port:
        for _ in range(REQUESTS):
            ask(port)
    served = [span for span in sink.spans() if span["kind"] == 2]
    assert len(served) == REQUESTS + 1  # the first asked whether it runs
    assert sum(
        point["value"]
        for metric in by_name(sink, "http.server.request.duration")
        for point in metric["points"]  # type: ignore[attr-defined]
    ) == len(served)


@pytest.mark.real
def test_grpc_by_variables_alone(folder: Path, sink: Sink) -> None:
    env = environment(
        sink,
        free_port(),
        OTEL_EXPORTER_OTLP_PROTOCOL="grpc",
        OTEL_EXPORTER_OTLP_ENDPOINT=sink.grpc_endpoint,
    )
    with running(WAYS["run python"], folder, env) as port:
        ask(port)
        sink.wait_for(lambda sink: sink.spans() and sink.metrics() and sink.logs(), DEADLINE)
    everything = [*sink.spans(), *sink.metrics(), *sink.logs()]
    assert {record["via"] for record in everything} == {"grpc"}
    assert "GET /item/<int:number>" in {span["name"] for span in sink.spans()}


@pytest.mark.real
@pytest.mark.parametrize("way", ["opentelemetry-instrument", "run python", "configure in code"])
def test_disabled(way: str, folder: Path, sink: Sink) -> None:
    env = environment(sink, free_port(), OTEL_SDK_DISABLED="true")
    with running(WAYS[way], folder, env) as port:
        ask(port)
    assert not [*sink.spans(), *sink.metrics(), *sink.logs()]
    assert "Traceback" not in log_of(folder)


@pytest.mark.real
def test_startup_report_once_for_all_processes(folder: Path, sink: Sink) -> None:
    env = environment(sink, free_port(), SPANWISE_STARTUP_REPORT="1")
    with running(WAYS["run gunicorn"], folder, env) as port:
        ask(port)
    text = log_of(folder)
    assert text.count(": service shop") == 1
    assert f"traces: {sink.http_endpoint}/v1/traces" in text
    assert "sqlalchemy" in text
    assert "http.server: good" in text
    assert "from the shipped defaults" in text


@pytest.mark.real
def test_another_distribution_in_charge_is_told_once(folder: Path, sink: Sink) -> None:
    """The real opentelemetry-distro, before us on the path, as a stray dependency would bring it."""
    other = folder / "other"
    subprocess.run(
        [*_installer(), "--no-deps", "--target", str(other), "opentelemetry-distro"],
        check=True,
        capture_output=True,
    )
    env = environment(sink, free_port(), PYTHONPATH=str(other), OTEL_PYTHON_DISTRO="distro")
    with running(WAYS["opentelemetry-instrument"], folder, env) as port:
        assert ask(port)
    text = log_of(folder)
    assert text.count("another distribution was loaded") == 1
    assert "OTEL_PYTHON_DISTRO=spanwise" in text


def _installer() -> list[str]:
    """pip of this environment, or uv, which made it without pip."""
    has_pip = subprocess.run([sys.executable, "-m", "pip", "--version"], capture_output=True).returncode == 0
    return [sys.executable, "-m", "pip", "install", "-q"] if has_pip else ["uv", "pip", "install", "-q"]


@pytest.mark.real
def test_config_file(folder: Path, sink: Sink) -> None:
    (folder / "otel.yaml").write_text(
        f"""
file_format: "1.0"
resource:
  attributes: [{{name: service.name, value: from-the-file}}]
tracer_provider:
  processors:
    - batch: {{schedule_delay: 200, exporter: {{otlp_http: {{endpoint: "{sink.http_endpoint}/v1/traces"}}}}}}
instrumentation/development:
  python:
    sqlalchemy: {{enabled: false}}
"""
    )
    env = environment(sink, free_port(), OTEL_CONFIG_FILE="otel.yaml")
    with running(WAYS["run python"], folder, env) as port:
        ask(port)
        sink.wait_for(lambda sink: sink.spans(), DEADLINE)
    assert {span["name"] for span in sink.spans()} == {"GET /item/<int:number>"}, log_of(folder)
    assert {span["resource"]["service.name"] for span in sink.spans()} == {"from-the-file"}


@pytest.mark.real
def test_broken_config_file_costs_one_error(folder: Path, sink: Sink) -> None:
    (folder / "otel.yaml").write_text("file_format: [")
    env = environment(sink, free_port(), OTEL_CONFIG_FILE="otel.yaml")
    with running(WAYS["run python"], folder, env) as port:
        ask(port)
    text = log_of(folder)
    assert text.count("no telemetry") == 1
    assert "OTEL_CONFIG_FILE=otel.yaml" in text
    assert not sink.spans()
