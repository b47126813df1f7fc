"""`spanwise thresholds check` finds what would not hold at run time, settings included."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from spanwise.commands.thresholds import thresholds
from spanwise.errors import ConfigurationError, ThresholdsError


def check(folder: Path, text: str) -> str:
    file = folder / "thresholds.yaml"
    file.write_text(text, encoding="utf-8")
    return CliRunner().invoke(thresholds, ["check", str(file)], catch_exceptions=False).output


def test_it_counts_the_file_s_own_entries(tmp_path: Path) -> None:
    mine = "{match: {name: x}, good: 1s, acceptable: 2s, poor: 3s}"
    text = f"version: 1\nspans:\n  http.server: {{good: 2s}}\n  mine: {mine}\n"
    assert "good. 2 entries of its own" in check(tmp_path, text)


def test_without_a_file_it_is_the_one_that_holds_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run = CliRunner().invoke
    with pytest.raises(ConfigurationError, match=r"there is no thresholds\.yaml"):
        run(thresholds, ["check"], catch_exceptions=False)
    (tmp_path / "thresholds.yaml").write_text("version: 1\n", encoding="utf-8")
    assert run(thresholds, ["check"]).output.startswith("thresholds.yaml: good")
    (tmp_path / "other.yaml").write_text("version: 1\nprofile: nowhere\n", encoding="utf-8")
    monkeypatch.setenv("SPANWISE_THRESHOLDS", "other.yaml")
    with pytest.raises(ThresholdsError, match="there is no profile 'nowhere'"):
        run(thresholds, ["check"], catch_exceptions=False)


@pytest.mark.parametrize(("said", "meant"), [("chek", "check"), ("CHECK", "check"), ("shcema", "schema")])
def test_a_misspelt_command_is_told_the_nearest(said: str, meant: str) -> None:
    found = CliRunner().invoke(thresholds, [said])
    assert found.exit_code == 2
    assert f"No such command {said!r}. Did you mean {meant!r}?" in found.output


@pytest.mark.parametrize(
    ("settings", "said"),
    [("{span_batsh: 1}", "Did you mean 'span_batch'"), ("{span_batch: many}", "'many' cannot be used")],
)
def test_a_setting_that_would_not_hold_is_an_error(tmp_path: Path, settings: str, said: str) -> None:
    with pytest.raises(ThresholdsError, match=said):
        check(tmp_path, f"version: 1\nsettings: {settings}\n")
