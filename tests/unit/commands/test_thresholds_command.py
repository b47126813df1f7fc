"""`spanwise thresholds check` finds what would not hold at run time, settings included."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from spanwise.commands.thresholds import thresholds
from spanwise.errors import ThresholdsError


def check(folder: Path, text: str) -> str:
    file = folder / "thresholds.yaml"
    file.write_text(text, encoding="utf-8")
    return CliRunner().invoke(thresholds, ["check", str(file)], catch_exceptions=False).output


def test_it_counts_the_file_s_own_entries(tmp_path: Path) -> None:
    mine = "{match: {name: x}, good: 1s, acceptable: 2s, poor: 3s}"
    text = f"version: 1\nspans:\n  http.server: {{good: 2s}}\n  mine: {mine}\n"
    assert "good. 2 entries of its own" in check(tmp_path, text)


@pytest.mark.parametrize(
    ("settings", "said"),
    [("{span_batsh: 1}", "Did you mean 'span_batch'"), ("{span_batch: many}", "'many' cannot be used")],
)
def test_a_setting_that_would_not_hold_is_an_error(tmp_path: Path, settings: str, said: str) -> None:
    with pytest.raises(ThresholdsError, match=said):
        check(tmp_path, f"version: 1\nsettings: {settings}\n")
