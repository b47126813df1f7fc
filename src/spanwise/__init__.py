"""OpenTelemetry distribution for Python web applications."""
