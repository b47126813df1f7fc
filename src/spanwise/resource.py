"""The resource: which service, version, process, host and runtime the telemetry comes from.

https://opentelemetry.io/docs/specs/semconv/resource/
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spanwise import installed, names

if TYPE_CHECKING:
    from concurrent.futures import Future

    from opentelemetry.sdk.resources import Resource

__all__ = ["detect", "import_sdk", "pools_at_exit"]

# The SDK's own detectors, by name. It runs those that depend on the process (process, and the
# instance id it always adds) again in every forked child, so each worker is an instance of its own.
DETECTORS = "process,os,host"
_DETECTORS = "OTEL_EXPERIMENTAL_RESOURCE_DETECTORS"
_MACHINE_ID = ("/etc/machine-id", "/var/lib/dbus/machine-id")  # as the conventions name them


def detect(service_name: str | None = None) -> Resource:
    """The resource of this process.

    ``OTEL_RESOURCE_ATTRIBUTES`` goes before what is found out, and ``OTEL_EXPERIMENTAL_RESOURCE_DETECTORS``
    replaces the list of detectors.

    Args:
        service_name: goes before all of these; None for what they say.
    """
    sdk = import_sdk()
    given = {
        names.TELEMETRY_DISTRO_NAME: "spanwise",
        names.TELEMETRY_DISTRO_VERSION: installed.version("spanwise") or "unknown",
    }
    if service_name:
        given[names.SERVICE_NAME] = service_name
    if os.environ.get(_DETECTORS) or sys.platform != "linux":
        os.environ.setdefault(_DETECTORS, DETECTORS)
        found: Resource = sdk.Resource.create(given)
    else:
        # Without a list the SDK asks no entry points, of all packages, and starts no threads.
        found = sdk.Resource.create(given)
        found = _own(sdk).merge(found)
        os.environ[_DETECTORS] = DETECTORS
    project = _project_version(Path("pyproject.toml"))
    return sdk.Resource({names.SERVICE_VERSION: project}).merge(found) if project else found


@contextlib.contextmanager
def pools_at_exit() -> Iterator[None]:
    """Lets the SDK find out resources while the process exits, as it does where it is imported.

    It asks its detectors on a pool of threads, which nobody can have any more then: within, such a pool calls
    at once. Before the exit, it changes nothing.
    """
    import threading

    if threading.main_thread().is_alive():
        yield
        return
    from concurrent import futures

    before = vars(futures).get("ThreadPoolExecutor")
    futures.ThreadPoolExecutor = _AtOnce  # type: ignore[misc, assignment]
    try:
        yield
    finally:
        del futures.ThreadPoolExecutor
        if before is not None:
            futures.ThreadPoolExecutor = before  # type: ignore[misc]


class _AtOnce:
    """As much of a ThreadPoolExecutor as the SDK uses, without threads."""

    def __init__(self, **_: Any) -> None:
        pass

    def submit(self, function: Callable[..., Any], *arguments: Any) -> Future[Any]:
        from concurrent.futures import Future

        future: Future[Any] = Future()
        try:
            future.set_result(function(*arguments))
        except Exception as error:
            future.set_exception(error)
        return future

    def shutdown(self, **_: Any) -> None:
        """Nothing is under way."""


def import_sdk() -> Any:
    """The SDK's module of resources, without psutil, which it imports for the owner's name alone: 7 ms.

    To be called before anything else imports the SDK.
    """
    if "opentelemetry.sdk.resources" in sys.modules or "psutil" in sys.modules or _threads():
        from opentelemetry.sdk import resources

        return resources
    sys.modules["psutil"] = None  # type: ignore[assignment]
    try:
        from opentelemetry.sdk import resources
    finally:
        del sys.modules["psutil"]
    if hasattr(resources, "psutil"):
        resources.psutil = _Psutil()  # type: ignore[assignment]
    return resources


def _threads() -> bool:
    """Whether other threads run, which could import psutil at the same moment."""
    threading = sys.modules.get("threading")
    return threading is not None and threading.active_count() > 1


class _Psutil:
    """What the SDK finds in psutil's place: the process's owner, and psutil itself for all else."""

    class Process:
        """The process itself."""

        def username(self) -> str:
            """The name of the real user, as psutil has it."""
            import pwd

            user = os.getuid()
            try:
                return pwd.getpwuid(user).pw_name
            except KeyError:
                return str(user)

        def __getattr__(self, name: str) -> Any:
            import psutil

            return getattr(psutil.Process(), name)

    def __getattr__(self, name: str) -> Any:
        import psutil

        return getattr(psutil, name)


def _own(sdk: Any) -> Resource:
    """What :data:`DETECTORS` find, on Linux."""
    found: Resource = sdk.ProcessResourceDetector().detect().merge(sdk.OsResourceDetector().detect())
    name = os.uname()
    host = {sdk.HOST_NAME: name.nodename, sdk.HOST_ARCH: name.machine}
    for path in _MACHINE_ID:
        try:
            with open(path, encoding="utf-8") as file:
                machine = file.read().strip()
        except (OSError, UnicodeDecodeError):
            continue
        if machine:
            host[sdk.HOST_ID] = machine
            break
    return found.merge(sdk.Resource(host))


def _project_version(file: Path) -> str | None:
    """The ``version`` of ``[project]`` in a pyproject.toml; None where there is no plain one.

    A regular expression, since Python 3.10 has no TOML reader and a start-up should not import one
    for a single line.
    """
    try:
        text = file.read_text("utf-8")
    except (OSError, UnicodeDecodeError):
        return None
    import re

    section = re.search(r"^\[project\]\s*$(.*?)(?=^\[|\Z)", text, re.MULTILINE | re.DOTALL)
    match = section and re.search(r"^version\s*=\s*[\"']([^\"']+)[\"']", section[1], re.MULTILINE)
    return match[1] if match else None
