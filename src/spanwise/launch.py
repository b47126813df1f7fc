"""The one call that starts telemetry from code."""

from __future__ import annotations

__all__ = ["configure"]


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
        from spanwise import distro
    except Exception as error:  # an OpenTelemetry package of a version that does not fit, or half installed
        from spanwise.log import Log

        Log("spanwise").error("no telemetry: spanwise cannot be imported: %r", error)
        return
    distro.launch(**settings)
