"""The machine's metrics, through the real Collector, are in Prometheus under the names that the rules use."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import subprocess
import sys
from collections.abc import Iterator

import pytest
from backends import Prometheus, collector, prometheus
from servers import wait_for

from spanwise import names
from spanwise.artefacts.prometheus import expression
from spanwise.artefacts.prometheus_names import metric
from spanwise.rules.model import MetricRule, Series
from spanwise.thresholds.load import load, lower

pytestmark = pytest.mark.real

PROGRAM = """
import sys, spanwise
spanwise.configure(service_name="machine", metric_interval=500)
from opentelemetry import trace
with trace.get_tracer("app").start_as_current_span("a process that only exists stays silent"):
    pass
sys.stdin.read()
"""
RULES = {rule.name: rule for rule in lower(load()) if isinstance(rule, MetricRule)}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """Prometheus, once it has what a process of ours tells of its machine."""
    tmp = tmp_path_factory.mktemp("machine")
    with contextlib.ExitStack() as stack:
        gateway = stack.enter_context(collector(tmp, {"SPANWISE_JAEGER_ENDPOINT": "127.0.0.1:9"}))
        found = stack.enter_context(prometheus(tmp, gateway.prometheus))
        environment = {
            **os.environ,
            "OTEL_EXPORTER_OTLP_ENDPOINT": gateway.http,
            "SPANWISE_ENABLED_INSTRUMENTATIONS": "logging",
        }
        process = stack.enter_context(
            subprocess.Popen([sys.executable, "-c", PROGRAM], stdin=subprocess.PIPE, env=environment)
        )
        try:
            # Of all that is looked for, what needs the longest past.
            wait_for(lambda: found.query("system_cpu_utilization_ratio"), 60, "the machine's CPU")
            yield found
        finally:
            process.communicate()


@pytest.mark.parametrize("name", ["cpu", "system_memory", "memory"])
def test_the_rule_s_expression_is_about_one_series(name: str, server: Prometheus) -> None:
    everything = dataclasses.replace(RULES[name], limit=-1.0)
    (found,) = server.query(expression(everything))
    assert found["metric"]["service_name"] == "machine"
    assert float(found["value"][1]) > 0


@pytest.mark.parametrize(
    "told",
    [
        names.PROCESS_CPU_UTILIZATION,
        names.PROCESS_PAGING_FAULTS,
        names.PROCESS_CONTEXT_SWITCHES,
        names.PROCESS_UPTIME,
        names.SYSTEM_CPU_TIME,
        names.SYSTEM_DISK_IO,
        names.SYSTEM_MEMORY_LIMIT,
        names.SYSTEM_FILESYSTEM_UTILIZATION,
        names.SYSTEM_NETWORK_CONNECTION_COUNT,
        names.GC_COLLECTIONS,
        names.GC_PAUSE,
    ],
    ids=lambda each: each.name,
)
def test_it_is_there_under_the_name_that_we_make_of_it(told: names.Metric, server: Prometheus) -> None:
    kind = "counter" if told.kind == "counter" else "gauge"
    assert server.query(metric(Series(told.name, told.unit, kind)))  # type: ignore[arg-type]
