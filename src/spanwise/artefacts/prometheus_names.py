"""OpenTelemetry names and units as the Collector's prometheus exporter writes them. The only place.

https://opentelemetry.io/docs/specs/otel/compatibility/prometheus_and_openmetrics/ and
https://github.com/open-telemetry/opentelemetry-collector-contrib/tree/v0.145.0/pkg/translator/prometheus
"""

from __future__ import annotations

import re
from typing import Final

from spanwise.artefacts.ottl import string
from spanwise.rules.model import Series

__all__ = ["label", "metric", "selector"]

_UNITS: Final = {
    "d": "days",
    "h": "hours",
    "min": "minutes",
    "s": "seconds",
    "ms": "milliseconds",
    "us": "microseconds",
    "ns": "nanoseconds",
    "By": "bytes",
    "KiBy": "kibibytes",
    "MiBy": "mebibytes",
    "GiBy": "gibibytes",
    "KBy": "kilobytes",
    "MBy": "megabytes",
    "GBy": "gigabytes",
    "m": "meters",
    "V": "volts",
    "A": "amperes",
    "J": "joules",
    "W": "watts",
    "g": "grams",
    "Cel": "celsius",
    "Hz": "hertz",
    "%": "percent",
}


def metric(series: Series) -> str:
    """The series' name, without a histogram's ``_bucket`` or ``_count``."""
    parts = [part for part in re.split(r"[^A-Za-z0-9:]+", series.metric) if part]
    unit = "" if series.unit.startswith("{") or series.unit == "1" else _UNITS.get(series.unit, series.unit)
    unit = re.sub(r"[^A-Za-z0-9]+", "_", unit).strip("_")
    if unit and unit not in parts:
        parts.append(unit)
    if series.instrument == "counter":
        parts = [*(part for part in parts if part != "total"), "total"]
    elif series.unit == "1" and series.instrument == "gauge":
        parts = [*(part for part in parts if part != "ratio"), "ratio"]
    name = "_".join(parts)
    return f"_{name}" if name[:1].isdigit() else name


def label(key: str) -> str:
    """An attribute's name as a label."""
    name = re.sub(r"[^A-Za-z0-9_]", "_", key)
    return f"key_{name}" if name[:1].isdigit() else name


def selector(series: Series, suffix: str = "") -> str:
    """The series in PromQL, its labels' values as literals."""
    labels = ",".join(f"{label(key)}={string(value)}" for key, value in series.labels)
    return f"{metric(series)}{suffix}{{{labels}}}" if labels else f"{metric(series)}{suffix}"
