"""What the Collector's configurations have in common.

Built as a tree of plain values and written by the YAML library. Nothing of the thresholds file becomes
a key, a component or a reference: its text stands only in OTTL string literals.
Components and their options are those of v0.145.0, of collector/builder.yaml and of the contrib image.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from spanwise.artefacts.environment import Env, escaped
from spanwise.artefacts.stamp import stamp
from spanwise.artefacts.written import as_yaml
from spanwise.rules.model import Rule

__all__ = ["BATCH", "MEMORY_LIMITER", "configuration", "extensions", "otlp", "pipeline", "service"]

MEMORY_LIMITER: Final = {"check_interval": "1s", "limit_percentage": 75, "spike_limit_percentage": 20}
BATCH: Final = {"send_batch_size": 2048, "send_batch_max_size": 4096, "timeout": "1s"}


def configuration(rules: tuple[Rule, ...], sections: Mapping[str, Any], comments: Mapping[str, str]) -> str:
    """A configuration as YAML text: the stamp, then each section after its comment."""
    text = [stamp(rules)]
    for name, section in sections.items():
        comment = "".join(f"# {line}\n" for line in comments[name].splitlines())
        text.append(f"{comment}{as_yaml({name: escaped(section)})}")
    return "\n".join(text)


def extensions() -> dict[str, Any]:
    """A health check, and a folder for what waits."""
    return {
        "health_check": {"endpoint": Env("SPANWISE_HEALTH_LISTEN", "127.0.0.1:13133")},
        "file_storage": {
            "directory": Env("SPANWISE_STORAGE_DIR", "./collector-storage"),
            "create_directory": True,
        },
    }


def otlp() -> dict[str, Any]:
    """The receiver."""
    return {
        "otlp": {
            "protocols": {
                "grpc": {"endpoint": Env("SPANWISE_OTLP_GRPC", "127.0.0.1:4317")},
                "http": {"endpoint": Env("SPANWISE_OTLP_HTTP", "127.0.0.1:4318")},
            }
        }
    }


def pipeline(receivers: list[str], processors: list[str], exporters: list[str]) -> dict[str, Any]:
    """One pipeline."""
    return {"receivers": receivers, "processors": processors, "exporters": exporters}


def service(pipelines: Mapping[str, Any]) -> dict[str, Any]:
    """The pipelines, and where the Collector's own metrics are."""
    address = {
        "host": Env("SPANWISE_TELEMETRY_HOST", "127.0.0.1"),
        "port": Env("SPANWISE_TELEMETRY_PORT", 8888),
    }
    return {
        "extensions": ["health_check", "file_storage"],
        "pipelines": dict(pipelines),
        "telemetry": {
            "metrics": {"level": "normal", "readers": [{"pull": {"exporter": {"prometheus": address}}}]}
        },
    }
