"""OpenTelemetry distribution for Python web applications.

The ways to launch are ``spanwise run python app.py``, ``opentelemetry-instrument python app.py`` and,
in code, :func:`configure`. Spans, metrics and logs of your own come from the plain OpenTelemetry API.
"""

from spanwise.launch import configure
from spanwise.snapshot import statistics

__all__ = ["configure", "statistics"]
