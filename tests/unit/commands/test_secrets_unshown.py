"""No command shows a handler's secret address: what they print ends up in the logs of a build."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from spanwise.commands.group import cli
from spanwise.errors import ThresholdsError

SECRET = "S3CRET"
GOOD = """\
version: 1
alerts:
  handlers:
    chat: {slack: 'https://hooks.slack.com/services/T0/S3CRET'}
    hook: {webhook: 'https://ops.example/S3CRET?token=S3CRET'}
    pd: {pagerduty: S3CRETKEY}
    disk: {file: alerts.jsonl}
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("SPANWISE_PROFILE", "SPANWISE_THRESHOLDS"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "thresholds.yaml").write_text(GOOD, "utf-8")
    return tmp_path


def run(*arguments: str) -> str:
    return CliRunner().invoke(cli, list(arguments), catch_exceptions=False).output


def test_show() -> None:
    found = run("thresholds", "show")
    assert SECRET not in found
    for said in ("https://hooks.slack.com/…", "https://ops.example/…", "pagerduty: …", "alerts.jsonl"):
        assert said in found


def test_the_difference_of_a_stale_file(folder: Path) -> None:
    run("generate", "--out", "out")
    (folder / "thresholds.yaml").write_text(GOOD.replace(SECRET, SECRET + "2"), "utf-8")
    written = (folder / "out" / "alertmanager.yaml").read_text("utf-8")
    assert SECRET in written, "or there is nothing to hide"
    found = run("generate", "--out", "out", "--check")
    assert SECRET not in found
    lines = found.splitlines()
    for sign in "-+":
        for said in ("https://hooks.slack.com/…", "routing_key: …"):
            assert any(line.startswith(sign) and said in line for line in lines)


@pytest.mark.parametrize(
    "handlers",
    [
        "{a: {slack: 'https://hooks.slack.com/S3CRET{X}'}}",
        "{a: {webhook: 'https://user:S3CRET@ops.example/x'}}",
        "{a: {slack: {file: 'https://hooks.slack.com/S3CRET'}}}",
        "{a: {pagerduty: 'S3CRET KEY'}}",
        "{a: 'https://hooks.slack.com/S3CRET'}",
        "'https://hooks.slack.com/S3CRET'",
        "['https://hooks.slack.com/S3CRET']",
    ],
)
def test_an_address_that_cannot_be_used(folder: Path, handlers: str) -> None:
    (folder / "bad.yaml").write_text(f"version: 1\nalerts: {{handlers: {handlers}}}\n", "utf-8")
    with pytest.raises(ThresholdsError) as caught:
        run("thresholds", "check", "bad.yaml")
    assert SECRET not in str(caught.value)
    assert "bad.yaml:2:" in str(caught.value)
