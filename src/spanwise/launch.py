"""The one call that starts telemetry from code."""

from __future__ import annotations

import os

__all__ = ["configure", "switched_off"]

# Of spanwise.settings, whose import a process without telemetry need not pay for. A test compares them.
_DISABLED = "OTEL_SDK_DISABLED"
_REPORT = "SPANWISE_STARTUP_REPORT"
_PROPAGATORS = "OTEL_PROPAGATORS"


def configure(**settings: object) -> None:
    """Starts telemetry in this process and instruments every installed library.

    The same as launching with ``spanwise run`` or ``opentelemetry-instrument``. Call it before the
    application imports what it uses, or at least before it makes its Flask applications. A second
    call, and one in a process that was launched with telemetry, changes nothing. Never raises: what
    cannot be used is logged, and the application goes on.

    Args:
        settings: settings by their name in code, over the environment: ``service_name="shop"``,
            ``endpoint="http://collector:4318"``. The README's table has them all.

    Example:
        >>> import spanwise
        >>> spanwise.configure(service_name="shop", startup_report=True)
    """
    # Imported on the call: the package's other uses (the commands, the names) need no SDK.
    try:
        if not settings and switched_off():
            return
        from spanwise import distro
    except Exception as error:  # an OpenTelemetry package of a version that does not fit, or half installed
        from spanwise.log import Log

        Log("spanwise").error("no telemetry: spanwise cannot be imported: %r", error)
        return
    distro.launch(**settings)


def switched_off() -> bool:
    """Whether ``OTEL_SDK_DISABLED`` switches telemetry off and no start-up report is wanted.

    Asked before anything is imported, so that a process without telemetry pays next to nothing for it. The
    propagators of ``OTEL_PROPAGATORS`` stay in force, as the specification asks: the API makes them itself.
    """
    if os.environ.get(_DISABLED, "").strip().lower() != "true" or os.environ.get(_REPORT):
        return False
    if os.environ.get(_PROPAGATORS):
        from spanwise import components

        components.propagators()
    return True
