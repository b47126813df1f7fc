"""A thresholds file that cannot be used costs the application a line in its log, and nothing else."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from spanwise import distro
from spanwise.rating import shipped
from spanwise.thresholds import load as file


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SPANWISE_THRESHOLDS", "SPANWISE_PROFILE", "OTEL_CONFIG_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("scalar", ["0x_", "0b_", "9" * 5000])
def test_a_number_that_is_none_leaves_the_shipped_thresholds_in_force(
    tmp_path: Path, scalar: str, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "thresholds.yaml").write_text(f"version: 1\nsettings: {{a: {scalar}}}\n", "utf-8")
    with caplog.at_level(logging.ERROR):
        launched = distro._read({})
    assert launched.edges == shipped.EDGES
    assert "thresholds.yaml:2:15" in caplog.text
    assert "cannot be read as a number" in caplog.text


def test_a_fault_of_ours_in_reading_them_does_so_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError

    (tmp_path / "thresholds.yaml").write_text("version: 1\n", "utf-8")
    monkeypatch.setattr(file, "load", broken)
    with caplog.at_level(logging.ERROR):
        assert distro._read({}).edges == shipped.EDGES
    assert "Please report this" in caplog.text
