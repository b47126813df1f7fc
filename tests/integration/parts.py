"""Finding the real parts (Collector, Jaeger, Prometheus, …) that the integration tests run against."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

_CACHE = Path(
    os.environ.get("SPANWISE_CACHE")
    or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "spanwise"
)


def _folders() -> list[str]:
    """Where programs are: what scripts/build-collector built, PATH, Debian's PostgreSQL folders."""
    # Debian keeps the PostgreSQL server's programs off PATH, one folder for each version; newest first.
    postgres = sorted(
        Path("/usr/lib/postgresql").glob("*/bin"), key=lambda folder: int(folder.parent.name), reverse=True
    )
    return [str(_CACHE / "bin"), *os.environ.get("PATH", os.defpath).split(os.pathsep), *map(str, postgres)]


def need(tool: str, how: str) -> str:
    """The path of a real part's program; where it is missing the test ends here.

    Under CI (the environment variable ``CI`` is set) the test fails: a part that silently went missing
    would leave its tests green for ever. Elsewhere it is skipped.

    Args:
        tool: the program's name, for example ``promtool``.
        how: the command that installs it.
    """
    found = shutil.which(tool, path=os.pathsep.join(_folders()))
    if found:
        return found
    message = f"{tool} is not installed. Run: {how}"
    if os.environ.get("CI"):
        pytest.fail(message, pytrace=False)
    pytest.skip(message)
