"""One bad setting costs only itself: a launch with each, real telemetry, and a receiver that counts."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections import defaultdict
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from spanwise.settings import OTLP, SIGNALS, documentation

ALL = frozenset(SIGNALS)


class Case(NamedTuple):
    variable: str
    value: str
    arrives: frozenset[str] = ALL
    more: dict[str, str] = {}  # noqa: RUF012


# A bad value of each setting; those that any text is a good value of are left out.
ANY_TEXT = {"OTEL_SERVICE_NAME", "SPANWISE_EXCLUDED_HOOKS", "SPANWISE_SPOOL_DIR"}
# The file alone configures then; without a usable one there is nothing, as the specification has it.
ANY_TEXT |= {"OTEL_CONFIG_FILE"}
OF_OTHERS = {
    "OTEL_EXPORTER_OTLP_HEADERS": "x-good=1,bad header=2",
    "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": "flaskk",
    "SPANWISE_ENABLED_INSTRUMENTATIONS": "logging,flaskk",
    "SPANWISE_THRESHOLDS": "/nowhere/thresholds.yaml",
}
CASES = [
    Case(variable, OF_OTHERS.get(variable, "\x1b[31mno such thing"))
    for variable, *_ in documentation()
    if variable not in ANY_TEXT | {f"{OTLP}ENDPOINT"}
]
CASES += [
    Case(f"{OTLP}ENDPOINT", "nonsense", frozenset()),
    *(Case(f"{OTLP}{signal.upper()}_ENDPOINT", "nonsense", ALL - {signal}) for signal in SIGNALS),
    Case(f"{OTLP}LOGS_ENDPOINT", "http://host:99999", ALL - {"logs"}),
    Case(f"{OTLP}METRICS_ENDPOINT", "ftp://host", ALL - {"metrics"}),
    *(
        Case(
            f"{OTLP}{signal.upper()}_{name}",
            "/nowhere/file.pem",
            ALL - {signal},
            {f"{OTLP}{signal.upper()}_ENDPOINT": "https://127.0.0.1:9"},
        )
        for signal in SIGNALS
        for name in ("CERTIFICATE", "CLIENT_CERTIFICATE")
    ),
    Case(f"{OTLP}TRACES_PROTOCOL", "http/json"),
    Case(f"{OTLP}TRACES_COMPRESSION", "zstd"),
    Case(f"{OTLP}TRACES_TIMEOUT", "soon"),
    Case(f"{OTLP}TRACES_TIMEOUT", "9" * 40),
    Case(f"{OTLP}LOGS_HEADERS", "a\nb=1"),
    Case("OTEL_BSP_MAX_QUEUE_SIZE", "100000000000"),
    Case("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "100000000000"),
    Case("OTEL_BLRP_MAX_QUEUE_SIZE", "100000000000"),
    Case("OTEL_BSP_SCHEDULE_DELAY", "9" * 25),
    Case("OTEL_METRIC_EXPORT_INTERVAL", "9" * 25),
    Case("SPANWISE_EXIT_TIMEOUT", "9" * 25),
    Case("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "-1"),
    Case("OTEL_SPAN_EVENT_COUNT_LIMIT", "9" * 40),
    Case("OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", "long"),
    Case("OTEL_LOGRECORD_ATTRIBUTE_COUNT_LIMIT", "x"),
    Case("OTEL_TRACES_SAMPLER", "sometimes"),
    Case("OTEL_TRACES_SAMPLER_ARG", "1.5", ALL, {"OTEL_TRACES_SAMPLER": "traceidratio"}),
    Case("OTEL_METRICS_EXEMPLAR_FILTER", "x"),
    Case("OTEL_RESOURCE_ATTRIBUTES", "nothing"),
    Case("OTEL_EXPERIMENTAL_RESOURCE_DETECTORS", "nobody_s"),
    Case("OTEL_PYTHON_ID_GENERATOR", "nobody_s"),
    Case("OTEL_PYTHON_METER_PROVIDER", "nobody_s"),
    Case("OTEL_PYTHON_LOG_LEVEL", "loud"),
    Case("OTEL_PYTHON_FLASK_EXCLUDED_URLS", "["),
    Case("OTEL_SEMCONV_STABILITY_OPT_IN", "htp"),
    Case("REQUESTS_CA_BUNDLE", "/nowhere/ca.pem"),
    Case("SPANWISE_STARTUPREPORT", "1"),
    Case("OTEL_TRACE_EXPORTER", "none"),
    # The SDK's processors refuse such a queue.
    Case(
        "OTEL_BSP_MAX_EXPORT_BATCH_SIZE",
        "20",
        ALL,
        {"OTEL_BSP_MAX_QUEUE_SIZE": "10", "OTEL_TRACES_EXPORTER": "otlp,console"},
    ),
]


class Receiver(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.bodies: dict[str, dict[str, bytes]] = defaultdict(lambda: defaultdict(bytes))


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Receiver

    def do_POST(self) -> None:
        _, case, *_, signal = self.path.split("/")
        self.server.bodies[case][signal] += self.rfile.read(int(self.headers["content-length"]))
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    threading.Thread(target=made.serve_forever, daemon=True).start()
    yield made
    made.shutdown()
    made.server_close()


@pytest.fixture(scope="module")
def launcher(tmp_path_factory: pytest.TempPathFactory) -> Iterator[subprocess.Popen[str]]:
    plain = {name: value for name, value in os.environ.items() if not name.startswith(("OTEL_", "SPANWISE_"))}
    folder = tmp_path_factory.mktemp("launches")
    child = subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("bad_settings_child.py"))],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=folder,
        env={**plain, "SPANWISE_SPOOL_DIR": str(folder)},
    )
    yield child
    child.communicate(timeout=60)


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.variable}={case.value[:20]!r}")
def test_one_bad_setting_costs_only_itself(
    case: Case, receiver: Receiver, launcher: subprocess.Popen[str], tmp_path: Path
) -> None:
    number, stderr = str(CASES.index(case)), tmp_path / "stderr"
    environ = {
        f"{OTLP}ENDPOINT": f"http://127.0.0.1:{receiver.server_port}/{number}",
        "SPANWISE_PROCESS_METERS": "0",
        "SPANWISE_EXIT_TIMEOUT": "60000",
        f"{OTLP}TIMEOUT": "60000",
        **case.more,
        case.variable: case.value,
    }
    if ALL - case.arrives:
        environ["SPANWISE_EXIT_TIMEOUT"] = "2000"
    assert launcher.stdin is not None
    assert launcher.stdout is not None
    print(json.dumps({"environ": environ, "stderr": str(stderr)}), file=launcher.stdin, flush=True)
    assert launcher.stdout.readline() == "0\n"
    said = stderr.read_text()
    arrived = {signal: bytes(body) for signal, body in receiver.bodies[number].items()}
    for signal, sought in (("traces", b"work"), ("metrics", b"counted"), ("logs", b"said")):
        assert (sought in arrived.get(signal, b"")) is (signal in case.arrives), said
    told = [line for line in said.splitlines() if case.variable in line]
    assert len(told) == 1, said
    assert "Traceback" not in said
    assert "\x1b" not in said
    assert len(told[0]) < 700
