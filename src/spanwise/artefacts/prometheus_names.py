"""OpenTelemetry names and units as the Collector's prometheus exporter writes them. The only place.

https://opentelemetry.io/docs/specs/otel/compatibility/prometheus_and_openmetrics/ and the library that the
exporter of v0.145.0 uses, https://github.com/prometheus/otlptranslator/tree/v1.0.0. An integration test
compares both with what the real exporter shows.
"""

from __future__ import annotations

import re
from typing import Final

from spanwise.artefacts.ottl import string
from spanwise.rules.labels import label
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
    "TiBy": "tibibytes",
    "KBy": "kilobytes",
    "MBy": "megabytes",
    "GBy": "gigabytes",
    "TBy": "terabytes",
    "m": "meters",
    "V": "volts",
    "A": "amperes",
    "J": "joules",
    "W": "watts",
    "g": "grams",
    "Cel": "celsius",
    "Hz": "hertz",
    "1": "",
    "%": "percent",
}
_PER: Final = {"s": "second", "m": "minute", "h": "hour", "d": "day", "w": "week", "mo": "month", "y": "year"}


def metric(series: Series) -> str:
    """The series' name, without a histogram's ``_bucket`` or ``_count``."""
    parts = [part for part in re.split(r"[^A-Za-z0-9:]+", series.metric) if part]
    main, _, per = (each.strip() for each in series.unit.partition("/"))
    main = "" if re.search(r"[{}]", main) else _clean(_UNITS.get(main, main))
    per = "" if not per or re.search(r"[{}]", per) else _clean(f"per_{_PER.get(per, per)}").removesuffix("_")
    if main in parts:
        main = ""
    if per in parts or per == "per":
        per = ""
    parts += [each for each in (main.removesuffix("_") if per else main, per) if each]
    if series.instrument == "counter":
        parts = [*(part for part in parts if part != "total"), "total"]
    elif series.unit == "1" and series.instrument == "gauge":
        parts = [*(part for part in parts if part != "ratio"), "ratio"]
    name = "_".join(parts)
    return f"_{name}" if name[:1].isdigit() else name


def _clean(unit: str) -> str:
    return re.sub(r"[^A-Za-z0-9:]+", "_", unit).removeprefix("_")


def selector(series: Series, suffix: str = "") -> str:
    """The series in PromQL, its labels' values as literals."""
    labels = ",".join(f"{label(key)}={string(value)}" for key, value in series.labels)
    return f"{metric(series)}{suffix}{{{labels}}}" if labels else f"{metric(series)}{suffix}"
