"""The commands work by the thresholds that the process rates by: option, variable, file here, shipped."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from spanwise.commands.chosen import chosen
from spanwise.commands.group import cli
from spanwise.gate import gate as asking

MINE = """\
version: 1
metrics: {memory: {warning: 1MB, critical: 7MB}}
gate: {memory: off}
profiles: {tiny: {metrics: {memory: {critical: 3MB}}}}
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SPANWISE_PROFILE", raising=False)
    (tmp_path / "mine.yaml").write_text(MINE, "utf-8")
    monkeypatch.setenv("SPANWISE_THRESHOLDS", "mine.yaml")
    return tmp_path


def run(*arguments: str) -> str:
    done = CliRunner().invoke(cli, list(arguments), catch_exceptions=False)
    return done.output


def test_the_order(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "thresholds.yaml").write_text("version: 1\n", "utf-8")
    monkeypatch.setenv("SPANWISE_PROFILE", "tiny")
    assert chosen(Path("given.yaml"), "other") == (Path("given.yaml"), "other")
    assert chosen(None, None) == (Path("mine.yaml"), "tiny")
    monkeypatch.delenv("SPANWISE_THRESHOLDS")
    monkeypatch.delenv("SPANWISE_PROFILE")
    assert chosen(None, None) == (Path("thresholds.yaml"), None)
    (folder / "thresholds.yaml").unlink()
    assert chosen(None, None) == (None, None)


def test_show(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "7MB" in run("thresholds", "show")
    monkeypatch.setenv("SPANWISE_PROFILE", "tiny")
    found = run("thresholds", "show")
    assert "profile: tiny" in found
    assert "3MB" in found


def test_generate(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "from mine.yaml" in run("generate", "--out", "out")
    written = "".join(each.read_text("utf-8") for each in (folder / "out").rglob("*") if each.is_file())
    assert "7000000" in written or "7e+06" in written
    monkeypatch.setenv("SPANWISE_PROFILE", "tiny")
    assert "stale" in run("generate", "--out", "out", "--check")


def test_gate(monkeypatch: pytest.MonkeyPatch) -> None:
    limits: list[float] = []

    def ask(asked: Any, *_: object) -> Any:
        limits.extend(each.rule.limit for each in asked if each.rule.name == "memory")
        raise ZeroDivisionError

    monkeypatch.setattr(asking, "ask", ask)
    monkeypatch.setenv("SPANWISE_PROFILE", "tiny")
    run("gate", "--prometheus", "http://127.0.0.1:9", "--ignore", "http_errors")
    assert 3e6 in limits
