"""The real Collector, Jaeger and Prometheus, started for a test on free loopback ports."""

from __future__ import annotations

import contextlib
import json
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from parts import need
from servers import ROOT, free_port, running, wait_for

GATEWAY = ROOT / "collector" / "gateway.yaml"
_BUILD = "scripts/build-collector"


def get_json(url: str) -> Any:
    """The JSON that a GET answers."""
    with urllib.request.urlopen(url, timeout=10) as answer:
        return json.load(answer)


def answers(url: str) -> bool:
    """Whether a GET succeeds."""
    with urllib.request.urlopen(url, timeout=2) as answer:
        return bool(answer.status == 200)


@dataclass(frozen=True)
class Jaeger:
    """A running Jaeger."""

    otlp: str  # host:port of its gRPC receiver
    query: str  # base address of its query API

    def traces(self, service: str, limit: int = 20_000) -> list[dict[str, Any]]:
        """Every stored trace of a service, as its query API gives them."""
        query = urllib.parse.urlencode({"service": service, "limit": limit, "lookback": "1h"})
        found: list[dict[str, Any]] = get_json(f"{self.query}/api/traces?{query}")["data"]
        return found


@contextlib.contextmanager
def jaeger(tmp: Path) -> Iterator[Jaeger]:
    """Jaeger with its storage in memory."""
    program = need("jaeger", _BUILD)
    otlp, query, query_grpc = free_port(), free_port(), free_port()
    config = {
        "service": {
            "extensions": ["jaeger_storage", "jaeger_query"],
            "pipelines": {"traces": {"receivers": ["otlp"], "exporters": ["jaeger_storage_exporter"]}},
            "telemetry": {"metrics": {"level": "none"}},
        },
        "extensions": {
            "jaeger_query": {
                "storage": {"traces": "memory"},
                "http": {"endpoint": f"127.0.0.1:{query}"},
                "grpc": {"endpoint": f"127.0.0.1:{query_grpc}"},
            },
            "jaeger_storage": {"backends": {"memory": {"memory": {"max_traces": 100_000}}}},
        },
        "receivers": {"otlp": {"protocols": {"grpc": {"endpoint": f"127.0.0.1:{otlp}"}}}},
        "exporters": {"jaeger_storage_exporter": {"trace_storage": "memory"}},
    }
    path = tmp / "jaeger.yaml"
    path.write_text(yaml.safe_dump(config))
    address = f"http://127.0.0.1:{query}"
    with running(
        [program, "--config", str(path)],
        tmp / "jaeger.log",
        lambda: answers(f"{address}/api/services"),
        env={"OTEL_TRACES_SAMPLER": "always_off"},  # it would trace itself
    ):
        yield Jaeger(f"127.0.0.1:{otlp}", address)


@dataclass(frozen=True)
class Collector:
    """A running Collector with our gateway configuration."""

    http: str  # base address of its OTLP/HTTP receiver
    grpc: str  # host:port of its OTLP/gRPC receiver
    prometheus: str  # host:port of the metrics it exposes
    telemetry: str  # host:port of its own metrics


@contextlib.contextmanager
def collector(tmp: Path, environ: Mapping[str, str], config: Path = GATEWAY) -> Iterator[Collector]:
    """The Collector as it is deployed: a generated gateway file, ports by environment variable."""
    program = need("otelcol", _BUILD)
    ports = {name: free_port() for name in ("grpc", "http", "prometheus", "health", "telemetry")}
    storage = tmp / "collector-storage"
    storage.mkdir(exist_ok=True)
    own = {
        "SPANWISE_OTLP_GRPC": f"127.0.0.1:{ports['grpc']}",
        "SPANWISE_OTLP_HTTP": f"127.0.0.1:{ports['http']}",
        "SPANWISE_PROMETHEUS_LISTEN": f"127.0.0.1:{ports['prometheus']}",
        "SPANWISE_HEALTH_LISTEN": f"127.0.0.1:{ports['health']}",
        "SPANWISE_TELEMETRY_HOST": "127.0.0.1",
        "SPANWISE_TELEMETRY_PORT": str(ports["telemetry"]),
        "SPANWISE_STORAGE_DIR": str(storage),
    }
    with running(
        [program, "--config", str(config)],
        tmp / "collector.log",
        lambda: answers(f"http://127.0.0.1:{ports['health']}"),
        env={**own, **environ},
    ):
        yield Collector(
            http=f"http://127.0.0.1:{ports['http']}",
            grpc=f"127.0.0.1:{ports['grpc']}",
            prometheus=f"127.0.0.1:{ports['prometheus']}",
            telemetry=f"127.0.0.1:{ports['telemetry']}",
        )


@dataclass(frozen=True)
class Prometheus:
    """A running Prometheus."""

    address: str

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The instant vector of an expression, now."""
        query = urllib.parse.urlencode({"query": expression})
        found: list[dict[str, Any]] = get_json(f"{self.address}/api/v1/query?{query}")["data"]["result"]
        return found

    def value(self, expression: str) -> float:
        """The one value of an expression; 0 where it has none."""
        found = self.query(expression)
        return float(found[0]["value"][1]) if found else 0.0


@contextlib.contextmanager
def prometheus(tmp: Path, target: str) -> Iterator[Prometheus]:
    """Prometheus scraping one target each second."""
    program = need("prometheus", "apt-get install prometheus")
    port = free_port()
    config = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "scrape_configs": [
            {"job_name": "collector", "honor_labels": True, "static_configs": [{"targets": [target]}]}
        ],
    }
    path = tmp / "prometheus.yml"
    path.write_text(yaml.safe_dump(config))
    address = f"http://127.0.0.1:{port}"
    command = [
        program,
        f"--config.file={path}",
        f"--storage.tsdb.path={tmp / 'prometheus-data'}",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    with running(command, tmp / "prometheus.log", lambda: answers(f"{address}/-/ready")):
        server = Prometheus(address)
        wait_for(lambda: server.value("up") == 1, 20, "the first scrape")
        yield server
