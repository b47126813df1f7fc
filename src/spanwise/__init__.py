"""OpenTelemetry distribution for Python web applications.

The ways to launch are ``spanwise run python app.py``, ``opentelemetry-instrument python app.py`` and,
in code, :func:`configure`. Spans, metrics and logs of your own come from the plain OpenTelemetry API;
what it has no word for has a function here.
"""

from spanwise.alerts.listeners import off_alert, on_alert
from spanwise.launch import configure
from spanwise.manual.face import (
    circuit,
    controllers,
    memory_pressure,
    on_memory_pressure,
    operation,
    preload,
    stream,
)
from spanwise.probes.endpoint import health_endpoint
from spanwise.snapshot import health, slow_operations, statistics

__all__ = [
    "circuit",
    "configure",
    "controllers",
    "health",
    "health_endpoint",
    "memory_pressure",
    "off_alert",
    "on_alert",
    "on_memory_pressure",
    "operation",
    "preload",
    "slow_operations",
    "statistics",
    "stream",
]
