"""The resource: which service, version, process, host and runtime the telemetry comes from.

https://opentelemetry.io/docs/specs/semconv/resource/
"""

from __future__ import annotations

import os
import re
from importlib.metadata import version
from pathlib import Path

from opentelemetry.sdk.environment_variables import OTEL_EXPERIMENTAL_RESOURCE_DETECTORS
from opentelemetry.sdk.resources import Resource

from spanwise import names

__all__ = ["detect"]

# The SDK's own detectors, by name. It runs those that depend on the process (process, and the
# instance id it always adds) again in every forked child, so each worker is an instance of its own.
DETECTORS = "process,os,host"


def detect(service_name: str | None = None) -> Resource:
    """The resource of this process.

    ``OTEL_RESOURCE_ATTRIBUTES`` goes before what is found out, and ``OTEL_EXPERIMENTAL_RESOURCE_DETECTORS``
    replaces the list of detectors.

    Args:
        service_name: goes before all of these; None for what they say.
    """
    os.environ.setdefault(OTEL_EXPERIMENTAL_RESOURCE_DETECTORS, DETECTORS)
    given = {names.TELEMETRY_DISTRO_NAME: "spanwise", names.TELEMETRY_DISTRO_VERSION: version("spanwise")}
    if service_name:
        given[names.SERVICE_NAME] = service_name
    found = Resource.create(given)
    project = _project_version(Path.cwd() / "pyproject.toml")
    return Resource({names.SERVICE_VERSION: project}).merge(found) if project else found


def _project_version(file: Path) -> str | None:
    """The ``version`` of ``[project]`` in a pyproject.toml; None where there is no plain one.

    A regular expression, since Python 3.10 has no TOML reader and a start-up should not import one
    for a single line.
    """
    try:
        text = file.read_text("utf-8")
    except (OSError, UnicodeDecodeError):
        return None
    section = re.search(r"^\[project\]\s*$(.*?)(?=^\[|\Z)", text, re.MULTILINE | re.DOTALL)
    match = section and re.search(r"^version\s*=\s*[\"']([^\"']+)[\"']", section[1], re.MULTILINE)
    return match[1] if match else None
