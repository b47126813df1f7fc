"""The encoders run in the application's process: nothing heavy may come with them."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = ("google.protobuf", "opentelemetry.proto", "opentelemetry.exporter", "grpc", "requests", "urllib3")

SCRIPT = """
import importlib, sys
importlib.import_module({module!r})
heavy = {heavy!r}
print(*(name for name in sys.modules if name in heavy or name.startswith(tuple(h + "." for h in heavy))))
"""


def heavy_after(module: str) -> list[str]:
    """The heavy modules that a new interpreter holds after importing ``module``."""
    command = [sys.executable, "-c", SCRIPT.format(module=module, heavy=HEAVY)]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout.split()


@pytest.mark.parametrize("module", ["spans", "metrics", "logs"])
def test_nothing_heavy_is_imported(module: str) -> None:
    assert heavy_after(f"spanwise.encode.{module}") == []


def test_the_check_sees_a_heavy_module() -> None:
    assert "google.protobuf" in heavy_after("google.protobuf")
