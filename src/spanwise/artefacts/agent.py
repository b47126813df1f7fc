"""The Collector's agent configuration: near the applications, it spreads what they send over the gateways.

A gateway decides about a trace, so all of a trace's spans must come to the same one, from every machine:
each agent chooses it by the trace's id.
"""

from __future__ import annotations

from typing import Any, Final

from spanwise.artefacts import pipeline
from spanwise.artefacts.environment import Env
from spanwise.rules.model import Rule

__all__ = ["agent"]

_COMMENTS: Final = {
    "extensions": """\
file_storage keeps what no gateway has taken yet over a restart.""",
    "receivers": """\
Loopback: one agent on each machine, for the applications on it.""",
    "processors": """\
memory_limiter stands first, or the agent is killed instead of refusing data that the senders would send
again. Rating, counting and sampling are the gateways'.""",
    "exporters": """\
SPANWISE_GATEWAYS_HOST is a name with an address for each gateway; they are looked up again every few
seconds. Traces go by their id, so that a gateway sees whole traces. Metrics go by their service: the same
series from two gateways would be counted twice. When the list of gateways changes, some traces of that
moment are decided in parts.""",
    "service": """\
The agent's own metrics are on SPANWISE_TELEMETRY_HOST and SPANWISE_TELEMETRY_PORT.""",
}


def agent(rules: tuple[Rule, ...]) -> str:
    """The agent's configuration as YAML text."""
    sections = {
        "extensions": pipeline.extensions(),
        "receivers": pipeline.otlp(),
        "processors": {"memory_limiter": pipeline.MEMORY_LIMITER, "batch": pipeline.BATCH},
        "exporters": {
            "loadbalancing/traces": _balanced("traceID"),
            "loadbalancing/metrics": _balanced("service"),
            "loadbalancing/logs": _balanced("traceID"),
        },
        "service": pipeline.service(
            {
                signal: pipeline.pipeline(["otlp"], ["memory_limiter", "batch"], [f"loadbalancing/{signal}"])
                for signal in ("traces", "metrics", "logs")
            }
        ),
    }
    return pipeline.configuration(rules, sections, _COMMENTS)


def _balanced(key: str) -> dict[str, Any]:
    # The queue and the retries are those of the whole exporter: what one gateway does not take goes to the
    # next one once the list of gateways has changed. A queue for each gateway could not be on disk.
    return {
        "routing_key": key,
        "resolver": {
            "dns": {
                "hostname": Env("SPANWISE_GATEWAYS_HOST", "spanwise-gateways"),
                "port": Env("SPANWISE_GATEWAYS_PORT", 4317),
            }
        },
        "protocol": {
            "otlp": {
                "tls": {"insecure": Env("SPANWISE_GATEWAYS_INSECURE", "true")},
                "timeout": "5s",
                "sending_queue": {"enabled": False},
                "retry_on_failure": {"enabled": False},
            }
        },
        "sending_queue": {"enabled": True, "storage": "file_storage", "queue_size": 5_000},
        "retry_on_failure": {"enabled": True, "max_interval": "30s", "max_elapsed_time": "0s"},
    }
