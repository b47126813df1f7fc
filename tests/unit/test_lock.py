"""The lock of the tests: all that pyproject.toml asks for, for each Python, and nothing of a machine."""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib.metadata import requires
from pathlib import Path
from typing import Any

import pytest
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

LOCK = Path(__file__).parents[2] / "requirements" / "test.txt"
LINES = [line.partition(" #")[0].strip() for line in LOCK.read_text("utf-8").splitlines()]
PINS = [Requirement(line) for line in LINES if line and not line.startswith("#")]
EXTRAS = ("", "dev", "servers", "test", "console", "config-file", "grafana", "store")


def asked_for(environment: dict[str, Any]) -> Iterator[Requirement]:
    for requirement in map(Requirement, requires("spanwise") or ()):
        if requirement.name != "spanwise" and any(
            requirement.marker is None or requirement.marker.evaluate({**environment, "extra": extra})
            for extra in EXTRAS
        ):
            yield requirement


def test_each_line_is_one_version_and_names_no_index() -> None:
    assert len(PINS) > 100
    for pin in PINS:
        assert re.fullmatch(r"==[\w.!+]+", str(pin.specifier)), pin
    assert all("//" not in line and not line.startswith("-") for line in LINES), "no index of anybody's"


@pytest.mark.parametrize("version", ["3.10.2", "3.10.13", "3.11.7", "3.12.1", "3.13.0", "3.14.0"])
def test_what_is_asked_for_is_locked_in_a_version_that_fits(version: str) -> None:
    environment: dict[str, Any] = {
        **default_environment(),
        "python_version": ".".join(version.split(".")[:2]),
        "python_full_version": version,
    }
    locked: dict[str, str] = {}
    for pin in PINS:
        if pin.marker is None or pin.marker.evaluate(environment):
            name = canonicalize_name(pin.name)
            assert name not in locked, "two versions of one package"
            locked[name] = str(pin.specifier).removeprefix("==")
    for requirement in asked_for(environment):
        found = locked.get(canonicalize_name(requirement.name))
        assert found is not None, f"{requirement.name} is not locked: run scripts/lock"
        assert requirement.specifier.contains(found, prereleases=True), f"{requirement}: run scripts/lock"
