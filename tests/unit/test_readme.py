"""The README is true: its snippets run, its commands exist, its table and links are right."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from spanwise.instrumentors.table import INSTRUMENTORS
from spanwise.settings import documentation
from spanwise.thresholds.load import load, lower

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text("utf-8")
COMMANDS = re.findall(r"^\$ (.+)$", README, re.MULTILINE)
QUIET = {f"OTEL_{signal}_EXPORTER": "none" for signal in ("TRACES", "METRICS", "LOGS")}


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def test_the_table_of_instrumentations_is_what_there_is() -> None:
    table = README.split("| name | what is told |\n|---|---|\n")[1].split("\n\n")[0]
    named = {name for row in table.splitlines() for name in re.findall(r"`([a-z0-9_]+)`", row.split("|")[1])}
    assert named == set(INSTRUMENTORS)


def test_the_table_of_settings_is_the_settings() -> None:
    rows = re.findall(r"^\| `(\w+)` \| `(\w+)` \| (?:`(.*?)`)? ?\| (.*) \|$", README, re.MULTILINE)
    assert rows == documentation(), "run scripts/settings-table"


@pytest.mark.parametrize("snippet", blocks("python"))
def test_python_snippets_run(snippet: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", snippet],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=tmp_path,
        env={**os.environ, **QUIET},
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("snippet", blocks("yaml"))
def test_thresholds_snippets_load(snippet: str, tmp_path: Path) -> None:
    file = tmp_path / "thresholds.yaml"
    file.write_text(snippet)
    assert {getattr(rule, "name", "") for rule in lower(load(file))} >= {"http.server", "checkout"}


# What is run by another test, and by which.
ELSEWHERE = {
    "scripts/demo": "tests/integration/test_demo.py",
    "scripts/test": "this very run",
    "pip install 'spanwise[console]'": "tests/integration/test_wheel.py",
    "spanwise run python app.py": "tests/integration/test_launch.py",
    "spanwise console": "tests/unit/console/test_console_server.py",
    "spanwise thresholds replay thresholds.yaml --traces traces.jsonl": (
        "tests/unit/commands/test_replay_command.py"
    ),
    "spanwise gate --prometheus http://localhost:9090 --service shop --version 2.1.0": (
        "tests/integration/test_gate_rollout.py"
    ),
    "docker compose up --build": "tests/integration/test_compose.py",
    "benchmarks/run": "tests/unit/benchmarks",
}


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_work(command: str) -> None:
    if command in ELSEWHERE:
        program = command.split()[0]
        assert "/" not in program or os.access(ROOT / program, os.X_OK)
        return
    program, *arguments = command.split()
    assert program == "spanwise", f"no test runs {command!r}"
    done = subprocess.run(
        [sys.executable, "-m", "spanwise", *arguments], capture_output=True, text=True, timeout=60, cwd=ROOT
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_commands_run_elsewhere_are_still_in_the_readme() -> None:
    assert ELSEWHERE.keys() - set(COMMANDS) == set()
    assert all((ROOT / test).exists() for test in ELSEWHERE.values() if "/" in test)


def test_links_lead_to_files() -> None:
    targets = re.findall(r"\]\((?!http)([^)#]+)\)", README)
    assert len(targets) > 4
    assert [target for target in targets if not (ROOT / target).exists()] == []


@pytest.mark.parametrize("command", ["run", "demo", "console", "gate", "generate", "thresholds"])
def test_every_command_has_help(command: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "spanwise", command, "--help"], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0
    assert len(done.stdout.splitlines()) > 5


def test_the_figures_are_those_of_the_newest_run() -> None:
    """Every line of the README's tables, and every version, stands in the results that it names."""
    block = re.search(r"<!-- figures -->\n(.*?)<!-- /figures -->", README, re.DOTALL)
    assert block is not None
    results = sorted((ROOT / "benchmarks" / "results").glob("*.md"))
    measured = "\n".join(each.read_text("utf-8") for each in results if f"results/{each.name}" in block[1])
    rows = [line for line in block[1].splitlines() if line.startswith("|")]
    assert len(rows) > 7
    assert [row for row in rows if row not in measured.splitlines()] == []
    assert f"results/{results[-1].name}" in block[1]
    for version in re.findall(r"\w+ \d+\.\d+\.\d+", block[1]):
        assert version in measured
