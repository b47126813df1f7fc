"""Every configuration that docker-compose.yml mounts is accepted by the real program, and works.

There need be no container engine: the programs that scripts/test installs run here with the compose
file's own command lines, environment and files, only moved to free ports and a temporary folder.
What is mounted is read from the compose file, so a new file without a checker fails.
"""

from __future__ import annotations

import contextlib
import fnmatch
import json
import os
import re
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import pytest
import yaml
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import SpanKind, StatusCode, set_span_in_context
from parts import need
from servers import free_port

from spanwise.artefacts.panels import shipped
from spanwise.rules.model import MetricRule
from spanwise.thresholds.load import load

pytestmark = pytest.mark.real

ROOT = Path(__file__).resolve().parents[2]
SERVICES: dict[str, dict[str, Any]] = yaml.safe_load(
    (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
)["services"]
DASHBOARDS = ROOT / "collector" / "grafana"
INSTALL_COLLECTOR = "scripts/build-collector"
INSTALL_PROMETHEUS = "apt-get install prometheus"
INSTALL_ALERTMANAGER = "apt-get install prometheus-alertmanager"
# How often the Collector writes span metrics and decides on traces; the defaults are 15 s and 10 s.
QUICK = {"SPANWISE_METRICS_FLUSH": "1s", "SPANWISE_DECISION_WAIT": "2s"}
T = TypeVar("T")


# -- the compose file, moved to this machine ---------------------------------------------------


@dataclass(frozen=True)
class Mounted:
    """One file that a service sees: where it lies in the repository and where in the container."""

    service: str
    source: Path
    target: str


def mounted_files() -> list[Mounted]:
    found = []
    for service, how in SERVICES.items():
        for volume in how.get("volumes", []):
            source, target = volume.split(":")[:2]
            if not source.startswith("."):
                continue
            path = ROOT / source
            files = sorted(each for each in path.rglob("*") if each.is_file()) if path.is_dir() else [path]
            for file in files or [path]:
                found.append(Mounted(service, file, f"{target}/{file.relative_to(path)}".removesuffix("/.")))
    return found


@dataclass
class Machine:
    """Gives every (service, port) of the compose file a free port here, and every volume a folder."""

    folder: Path
    ports: dict[tuple[str, str], int] = field(default_factory=dict)

    def port(self, service: str, port: str) -> int:
        key = (service, port)
        if key not in self.ports:
            self.ports[key] = free_port()
        return self.ports[key]

    def local(self, service: str, text: str) -> str:
        """Text as the service would read it, with addresses and paths that hold on this machine."""
        hosts = "|".join((r"0\.0\.0\.0", r"127\.0\.0\.1", "localhost", *SERVICES))

        def moved(match: re.Match[str]) -> str:
            owner = match["host"] if match["host"] in SERVICES else service
            return f"{match['before']}127.0.0.1{match['between']}{self.port(owner, match['port'])}"

        text = re.sub(rf"(?P<before>(?<![\w.-]))(?P<host>{hosts})(?P<between>:)(?P<port>\d+)\b", moved, text)
        text = re.sub(
            rf"(?P<before>host:\s*[\"']?)(?P<host>{hosts})(?P<between>[\"']?[,\s]\s*port:\s*)(?P<port>\d+)",
            moved,
            text,
        )
        targets = [re.escape(volume.split(":")[1]) for volume in SERVICES[service].get("volumes", [])]
        if targets:
            path = rf"(?<![\w/.-])(?:{'|'.join(sorted(targets, key=len, reverse=True))})(?![\w-])"
            text = re.sub(path, lambda match: f"{self.folder}/{service}{match[0]}", text)
        # Nobody waits for four scrapes of 15 s, or a minute for what a group of rules records.
        text = re.sub(r"(?m)^(  interval): 1m$", r"\1: 1s", text)
        return re.sub(r"((?:scrape|evaluation)_interval|scrape_timeout): \w+", r"\1: 1s", text)

    def stage(self, service: str) -> Path:
        """Copies what the service mounts below a folder of its own, which it returns."""
        root = self.folder / service
        for volume in SERVICES[service].get("volumes", []):
            source, target = volume.split(":")[:2]
            if not source.startswith("."):
                (root / target.lstrip("/")).mkdir(parents=True, exist_ok=True)
        for mounted in mounted_files():
            if mounted.service == service:
                copy = root / mounted.target.lstrip("/")
                copy.parent.mkdir(parents=True, exist_ok=True)
                copy.write_text(self.local(service, mounted.source.read_text(encoding="utf-8")), "utf-8")
        return root

    def command(self, service: str) -> list[str]:
        return [self.local(service, str(argument)) for argument in SERVICES[service].get("command", [])]

    def environment(self, service: str) -> dict[str, str]:
        ours = {key: value for key, value in os.environ.items() if not key.startswith(("SPANWISE_", "OTEL_"))}
        given = {key: str(value) for key, value in (SERVICES[service].get("environment") or {}).items()}
        moved = {key: self.local(service, value) for key, value in given.items()}
        for key in given:
            # An address in two variables, NAME_HOST and NAME_PORT.
            name = key.removesuffix("_HOST")
            if name != key and f"{name}_PORT" in given:
                there = self.local(service, f"{given[key]}:{given[f'{name}_PORT']}")
                moved[key], moved[f"{name}_PORT"] = there.split(":")
        return ours | moved | QUICK


def run(*command: str, env: dict[str, str] | None = None) -> str:
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}{done.stderr}"
    return done.stdout


# -- one checker for each mounted file ---------------------------------------------------------


def check_collector(machine: Machine, mounted: Mounted) -> None:
    machine.stage(mounted.service)
    run(
        need("otelcol", INSTALL_COLLECTOR),
        "validate",
        *machine.command(mounted.service),
        env=machine.environment(mounted.service),
    )


def check_jaeger(machine: Machine, mounted: Mounted) -> None:
    machine.stage(mounted.service)
    run(need("jaeger", INSTALL_COLLECTOR), "validate", *machine.command(mounted.service))


def check_prometheus(machine: Machine, mounted: Mounted) -> None:
    root = machine.stage(mounted.service)
    said = run(
        need("promtool", INSTALL_PROMETHEUS), "check", "config", str(root / mounted.target.lstrip("/"))
    )
    # A rule_files pattern that matches nothing is no error to Prometheus.
    assert re.search(r"[1-9]\d* rule", said), f"no rules are loaded:\n{said}"


def check_rules(machine: Machine, mounted: Mounted) -> None:
    del machine
    run(need("promtool", INSTALL_PROMETHEUS), "check", "rules", str(mounted.source))


def check_alertmanager(machine: Machine, mounted: Mounted) -> None:
    del machine
    run(need("amtool", INSTALL_ALERTMANAGER), "check-config", str(mounted.source))


def check_data_sources(machine: Machine, mounted: Mounted) -> None:
    del machine
    sources = data_sources(mounted.source)
    assert {source["uid"]: source["type"] for source in sources} == {
        "prometheus": "prometheus",
        "jaeger": "jaeger",
    }
    for source in sources:
        address = urllib.parse.urlsplit(source["url"])
        assert address.hostname in SERVICES
        # The port that the other service publishes is the one it listens on.
        published = {str(port).rsplit(":", 1)[1] for port in SERVICES[address.hostname]["ports"]}
        assert str(address.port) in published
        for target in source.get("jsonData", {}).get("exemplarTraceIdDestinations", []):
            assert target["datasourceUid"] in {each["uid"] for each in sources}


def check_dashboard_provider(machine: Machine, mounted: Mounted) -> None:
    del machine
    providers = yaml.safe_load(mounted.source.read_text(encoding="utf-8"))["providers"]
    targets = {volume.split(":")[1] for volume in SERVICES[mounted.service]["volumes"]}
    assert providers
    for provider in providers:
        assert provider["type"] == "file"
        assert provider["options"]["path"] in targets


def check_dashboard(machine: Machine, mounted: Mounted) -> None:
    """Grafana itself cannot be had here: its structure is checked, and each query by promtool."""
    dashboard = json.loads(mounted.source.read_text(encoding="utf-8"))
    assert dashboard["uid"]
    assert dashboard["title"]
    uids = {
        source["uid"]
        for each in mounted_files()
        if "/provisioning/datasources/" in each.target
        for source in data_sources(each.source)
    }
    ids = [panel["id"] for panel in dashboard["panels"]]
    assert len(ids) == len(set(ids)), "two panels share an id"
    for panel in dashboard["panels"]:
        position = panel["gridPos"]
        assert position["x"] + position["w"] <= 24
        if panel["type"] == "row":
            continue
        assert panel["title"]
        assert panel["description"]
        for part in (panel, *panel["targets"]):
            assert part["datasource"]["uid"] in uids
    for variable in dashboard["templating"]["list"]:
        assert variable["datasource"]["uid"] in uids
    groups = {
        "groups": [
            {
                "name": "panels",
                "rules": [
                    {"record": f"panel_{number}", "expr": query.expr}
                    for number, query in enumerate(queries())
                ],
            }
        ]
    }
    rules = machine.folder / "panels.yaml"
    rules.write_text(yaml.safe_dump(groups), encoding="utf-8")
    run(need("promtool", INSTALL_PROMETHEUS), "check", "rules", str(rules))


CHECKERS: dict[tuple[str, str], Callable[[Machine, Mounted], None]] = {
    ("collector", "/etc/spanwise/gateway.yaml"): check_collector,
    ("jaeger", "/etc/jaeger/config.yaml"): check_jaeger,
    ("prometheus", "/etc/prometheus/prometheus.yml"): check_prometheus,
    ("prometheus", "/etc/prometheus/rules/*"): check_rules,
    ("alertmanager", "/etc/alertmanager/alertmanager.yaml"): check_alertmanager,
    ("grafana", "/etc/grafana/provisioning/datasources/*.yaml"): check_data_sources,
    ("grafana", "/etc/grafana/provisioning/dashboards/*.yaml"): check_dashboard_provider,
    ("grafana", "/etc/grafana/dashboards/*.json"): check_dashboard,
}


def data_sources(path: Path) -> list[dict[str, Any]]:
    sources: list[dict[str, Any]] = yaml.safe_load(path.read_text(encoding="utf-8"))["datasources"]
    return sources


@dataclass(frozen=True)
class Query:
    """One query of a panel, with Grafana's variables filled in."""

    title: str
    expr: str
    legend: str


def queries() -> list[Query]:
    found = []
    # $__rate_interval is at least four scrapes; the live Prometheus below scrapes every second.
    values = {"$__rate_interval": "10s", "$__range": "1m", "$service": ".+"}
    for path in sorted(DASHBOARDS.glob("*.json")):
        for panel in json.loads(path.read_text(encoding="utf-8"))["panels"]:
            for target in panel.get("targets", []):
                expr = target["expr"]
                for variable, value in values.items():
                    expr = expr.replace(variable, value)
                # $1 is label_replace's; anything else would reach Prometheus as it stands.
                assert not re.search(r"\$\D", expr), f"{panel['title']}: unknown variable in {expr}"
                found.append(
                    Query(f"{panel['title']} {target['refId']}", expr, target.get("legendFormat", ""))
                )
    return found


def test_the_compose_file_is_accepted() -> None:
    compose = need("docker-compose", "apt-get install docker-compose")
    run(compose, "-f", str(ROOT / "docker-compose.yml"), "config")


@pytest.mark.parametrize("mounted", mounted_files(), ids=lambda each: f"{each.service}:{each.target}")
def test_the_real_program_accepts_what_is_mounted(mounted: Mounted, tmp_path: Path) -> None:
    assert mounted.source.is_file(), f"{mounted.source.relative_to(ROOT)} is missing or an empty folder"
    for (service, pattern), check in CHECKERS.items():
        if service == mounted.service and fnmatch.fnmatchcase(mounted.target, pattern):
            check(Machine(tmp_path), mounted)
            return
    pytest.fail(f"nothing checks {mounted.target}, which {mounted.service} mounts: add it to CHECKERS")


# -- the telemetry half of the compose file, running ---------------------------------------------


def eventually(what: str, condition: Callable[[], T | None], seconds: float = 60) -> T:
    """Asks five times a second until the answer is not None; a part that cannot be reached is not yet up.

    Not more often: each question of these tests sends spans and queries two servers.
    """
    deadline = time.monotonic() + seconds
    trouble: Exception | None = None
    while time.monotonic() < deadline:
        try:
            if (value := condition()) is not None:
                return value
        except OSError as error:
            trouble = error
        time.sleep(0.2)
    pytest.fail(f"{what}: not within {seconds} s ({trouble or 'no answer'})", pytrace=False)


def get(url: str, **query: str) -> str:
    full = f"{url}?{urllib.parse.urlencode(query)}" if query else url
    with urllib.request.urlopen(full, timeout=5) as answer:
        return str(answer.read().decode())


@contextlib.contextmanager
def running(machine: Machine, service: str, program: str, *extra: str) -> Iterator[None]:
    """The service's program with the compose file's command line, until the block ends."""
    machine.stage(service)
    log = machine.folder / f"{service}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [program, *machine.command(service), *extra],
            stdout=output,
            stderr=subprocess.STDOUT,
            env=machine.environment(service),
            cwd=machine.folder,
        )
    try:

        def healthy() -> bool | None:
            if process.poll() is not None:
                pytest.fail(f"{service} ended:\n{log.read_text(errors='replace')[-4000:]}", pytrace=False)
            get(health_url(machine, service))
            return True

        eventually(f"{service} at its health check", healthy)
        yield
        assert process.poll() is None, f"{service} ended:\n{log.read_text(errors='replace')[-4000:]}"
    finally:
        process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(5)


def health_url(machine: Machine, service: str) -> str:
    """The address that the compose file's health check asks, on this machine."""
    url = SERVICES[service]["healthcheck"]["test"][-1]
    assert url.startswith("http://127.0.0.1:")
    return machine.local(service, url)


@dataclass
class Pipe:
    machine: Machine
    _meters: MeterProvider | None = None
    _instruments: dict[str, Any] = field(default_factory=dict)

    def address(self, service: str, port: str) -> str:
        return f"http://127.0.0.1:{self.machine.port(service, port)}"

    def ask(self, path: str, **query: str) -> Any:
        return json.loads(get(self.address("prometheus", "9090") + path, **query))["data"]

    def send(self) -> None:
        """A few requests as the store's spans look: good, poor, failed; with statements and a call out."""
        endpoint = f"{self.address('collector', '4318')}/v1/traces"
        providers = []
        for service in ("store", "upstream"):
            provider = TracerProvider(resource=Resource({"service.name": service}), shutdown_on_exit=False)
            provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=endpoint)))
            providers.append(provider)
        store, upstream = (provider.get_tracer("test") for provider in providers)
        now = time.time_ns()
        for seconds, status, rating in ((0.02, 200, ""), (4.0, 200, "poor"), (8.0, 500, "critical")):
            began = now - int(seconds * 1e9)
            request = store.start_span(
                "GET /tracks",
                kind=SpanKind.SERVER,
                start_time=began,
                attributes={
                    "http.route": "/tracks",
                    "http.request.method": "GET",
                    "http.response.status_code": status,
                    **({"spanwise.rating": rating} if rating else {}),
                },
            )
            inside = set_span_in_context(request)
            statement = store.start_span(
                "SELECT tracks",
                context=inside,
                kind=SpanKind.CLIENT,
                start_time=began,
                attributes={"db.system.name": "postgresql", "db.operation.name": "SELECT"},
            )
            call = store.start_span(
                "GET",
                context=inside,
                kind=SpanKind.CLIENT,
                start_time=began,
                attributes={"http.request.method": "GET", "server.address": "upstream"},
            )
            answer = upstream.start_span(
                "GET /price",
                context=set_span_in_context(call),
                kind=SpanKind.SERVER,
                start_time=began,
                attributes={"http.route": "/price", "http.request.method": "GET"},
            )
            for span in (answer, call, statement, request):
                if status >= 500:
                    span.set_status(StatusCode.ERROR)
                span.end(now)
            # What the example's objectives are about.
            for name, attributes in (
                ("checkout", {"http.route": "/checkout", "http.request.method": "POST"}),
                ("preload", {"spanwise.operation.kind": "preload"}),
            ):
                kind = SpanKind.SERVER if name == "checkout" else SpanKind.INTERNAL
                store.start_span(name, kind=kind, start_time=began, attributes=attributes).end(now)
        for provider in providers:
            provider.shutdown()
        self.record()

    def record(self) -> None:
        """Each metric that a panel or a rule is about, once more, from one process that goes on."""
        if self._meters is None:
            exporter = OTLPMetricExporter(endpoint=f"{self.address('collector', '4318')}/v1/metrics")
            reader = PeriodicExportingMetricReader(exporter, export_interval_millis=60_000)
            resource = Resource({"service.name": "store"})
            self._meters = MeterProvider([reader], resource, shutdown_on_exit=False)
        meter = self._meters.get_meter("panels")
        for metric, labels in measured():
            if metric["name"] not in self._instruments:
                make, record = {
                    "counter": (meter.create_counter, "add"),
                    "gauge": (meter.create_gauge, "set"),
                    "updowncounter": (meter.create_up_down_counter, "add"),
                    "histogram": (meter.create_histogram, "record"),
                }[metric["kind"]]
                made = make(metric["name"], metric["unit"])
                self._instruments[metric["name"]] = getattr(made, record)
            self._instruments[metric["name"]](1, labels)
        self._meters.force_flush()


def measured() -> list[tuple[dict[str, str], dict[str, str]]]:
    """(metric, attributes) of everything that the panels show and the application sends."""
    found: list[tuple[dict[str, str], dict[str, str]]] = []
    rules = load(ROOT / "thresholds.yaml").rules
    for rule in (rule for rule in rules if isinstance(rule, MetricRule)):
        for series in filter(None, (rule.series, rule.of)):
            said = {"name": series.metric, "unit": series.unit, "kind": series.instrument}
            found.append((said, dict(series.labels)))
    for panel in (panel for board in shipped() for row in board["rows"] for panel in row.get("panels", ())):
        by = {key: "some" for key in panel.get("by", ()) if key != "service.name"}
        for key in ("rate", "level", "quantiles", "share", "of"):
            if key in panel:
                labels = panel.get("of_labels" if key == "of" else "labels", {})
                found.append((panel[key], {**by, **labels}))
    return [(metric, labels) for metric, labels in found if not metric["name"].startswith("traces.")]


@pytest.fixture(scope="module")
def pipe(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pipe]:
    """Jaeger, Collector, Alertmanager and Prometheus as the compose file starts them."""
    programs = {
        "jaeger": need("jaeger", INSTALL_COLLECTOR),
        "collector": need("otelcol", INSTALL_COLLECTOR),
        "alertmanager": need("prometheus-alertmanager", INSTALL_ALERTMANAGER),
        "prometheus": need("prometheus", INSTALL_PROMETHEUS),
    }
    machine = Machine(tmp_path_factory.mktemp("compose"))
    # These two take their own address on the command line only; in a container the default does.
    listen = {"alertmanager": "9093", "prometheus": "9090"}
    with contextlib.ExitStack() as stack:
        for service, program in programs.items():
            extra = []
            if service in listen:
                extra = [f"--web.listen-address=127.0.0.1:{machine.port(service, listen[service])}"]
            stack.enter_context(running(machine, service, program, *extra))
        yield Pipe(machine)


@pytest.mark.parametrize("query", queries(), ids=lambda query: query.title)
def test_every_panel_shows_something(pipe: Pipe, query: Query) -> None:
    """Names, labels and units are those the Collector really writes, or the answer is empty."""
    # The fallback would hide a wrong name. Only ALERTS is rightly empty while nothing fires.
    expr = query.expr if "ALERTS{" in query.expr else query.expr.replace(" or vector(0)", "")

    def shown() -> list[dict[str, Any]] | None:
        pipe.send()
        result: list[dict[str, Any]] = pipe.ask("/api/v1/query", query=expr)["result"]
        return [series for series in result if series["value"][1] != "NaN"] or None

    series = eventually(expr, shown, seconds=30)
    for label in re.findall(r"{{(\w+)}}", query.legend):
        assert any(each["metric"].get(label) for each in series), f"no series has {label}: {series}"


def test_the_dashboards_variables_have_values(pipe: Pipe) -> None:
    for path in sorted(DASHBOARDS.glob("*.json")):
        for variable in json.loads(path.read_text(encoding="utf-8"))["templating"]["list"]:
            asked = re.fullmatch(r"label_values\((\w+), (\w+)\)", variable["query"]["query"])
            assert asked, f"{variable['name']}: {variable['query']['query']}"
            metric, label = asked.groups()

            def services(metric: str = metric, label: str = label) -> set[str] | None:
                pipe.send()
                values = set(pipe.ask(f"/api/v1/label/{label}/values", **{"match[]": metric}))
                return values if {"store", "upstream"} <= values else None

            eventually(f"{label} of {metric}", services)


def test_prometheus_reaches_everything_it_is_told_of(pipe: Pipe) -> None:
    wanted = {job["job_name"] for job in prometheus_config()["scrape_configs"]}

    def all_up() -> set[str] | None:
        targets = pipe.ask("/api/v1/targets")["activeTargets"]
        up = {target["labels"]["job"] for target in targets if target["health"] == "up"}
        return up if up == wanted else None

    eventually(f"targets {sorted(wanted)} up", all_up)

    def alertmanager() -> list[Any] | None:
        return pipe.ask("/api/v1/alertmanagers")["activeAlertmanagers"] or None

    assert len(eventually("an active Alertmanager", alertmanager)) == 1


def test_every_rule_evaluates(pipe: Pipe) -> None:
    def evaluated() -> list[dict[str, Any]] | None:
        rules = [rule for group in pipe.ask("/api/v1/rules")["groups"] for rule in group["rules"]]
        return None if not rules or any(rule["health"] == "unknown" for rule in rules) else rules

    for rule in eventually("every rule evaluated once", evaluated):
        assert rule["health"] == "ok", f"{rule['name']}: {rule.get('lastError')}"


def test_a_failed_request_arrives_in_jaeger(pipe: Pipe) -> None:
    """Through the Collector's queue and Jaeger's storage on disk, as the compose file configures them."""
    pipe.send()
    jaeger = pipe.address("jaeger", "16686")

    def kept() -> list[dict[str, Any]] | None:
        found = json.loads(get(f"{jaeger}/api/traces", service="store", tags='{"error":"true"}'))
        return [trace for trace in found["data"] if len(trace["spans"]) == 4] or None

    processes = eventually("a whole failed trace", kept)[0]["processes"].values()
    assert {process["serviceName"] for process in processes} == {"store", "upstream"}


def test_jaegers_monitor_page_reads_the_collectors_metrics(pipe: Pipe) -> None:
    jaeger = pipe.address("jaeger", "16686")

    @dataclass
    class Asked:
        path: str

        def __call__(self) -> list[Any] | None:
            pipe.send()
            options = {"service": "store", "spanKind": "server", "ratePer": "10000", "step": "1000"}
            if self.path == "latencies":
                options["quantile"] = "0.95"
            metrics = json.loads(get(f"{jaeger}/api/metrics/{self.path}", **options))["metrics"]
            return [each for each in metrics if each["metricPoints"]] or None

    for path in ("calls", "latencies", "errors"):
        eventually(f"{path} of the store's requests", Asked(path))


def prometheus_config() -> dict[str, Any]:
    text = (ROOT / "compose" / "prometheus.yml").read_text(encoding="utf-8")
    config: dict[str, Any] = yaml.safe_load(text)
    return config
