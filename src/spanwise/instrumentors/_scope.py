"""The tracer and the meter of an instrumentor."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from opentelemetry.metrics import Meter, get_meter
from opentelemetry.trace import Tracer, get_tracer

__all__ = ["scope_of"]

# The conventions that our names are of. Another version may have renamed some: look at names.py first.
_SCHEMA: Final = "https://opentelemetry.io/schemas/1.37.0"


def scope_of(name: str, options: Mapping[str, Any]) -> tuple[Tracer, Meter]:
    """What makes an instrumentor's spans and instruments by the semantic conventions.

    Args:
        name: the instrumentor's module.
        options: ``tracer_provider`` and ``meter_provider``, by default the global ones.
    """
    return (
        get_tracer(name, tracer_provider=options.get("tracer_provider"), schema_url=_SCHEMA),
        get_meter(name, meter_provider=options.get("meter_provider"), schema_url=_SCHEMA),
    )
