"""What users install: the wheel alone, in an environment of its own, without the sources."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from servers import ROOT

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--outdir", str(folder), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return next(folder.glob("*.whl"))


def test_it_holds_what_is_not_python_too(wheel: Path) -> None:
    held = set(zipfile.ZipFile(wheel).namelist())
    source = ROOT / "src"
    expected = {
        str(file.relative_to(source))
        for file in source.rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    }
    assert "spanwise/thresholds/defaults.yaml" in expected
    assert expected - held == set()


def test_installed_alone_it_works(wheel: Path, tmp_path: Path) -> None:
    """pip, not uv: it is what the README says."""
    python = tmp_path / "venv" / "bin" / "python"
    subprocess.run([sys.executable, "-m", "venv", str(tmp_path / "venv")], check=True, timeout=120)
    install = [
        str(python),
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        f"{wheel}[console]",
    ]
    done = subprocess.run(install, capture_output=True, text=True, timeout=400)
    assert done.returncode == 0, done.stderr
    spanwise = python.with_name("spanwise")
    environ = {
        **os.environ,
        **{f"OTEL_{signal}_EXPORTER": "none" for signal in ("TRACES", "METRICS", "LOGS")},
    }
    environ.pop("PYTHONPATH", None)
    for command, expected in (
        ([spanwise, "thresholds", "show"], "http.server"),
        ([spanwise, "console", "--help"], "OTLP/HTTP"),
        ([spanwise, "run", "--report", "python", "-c", "print('ran')"], "ran"),
    ):
        ran = subprocess.run(
            [*map(str, command)], capture_output=True, text=True, timeout=60, cwd=tmp_path,
            env={**environ, "PATH": f"{python.parent}{os.pathsep}{environ['PATH']}"},
        )  # fmt: skip
        assert ran.returncode == 0, ran.stderr
        assert expected in ran.stdout
    assert ": service unknown_service" in ran.stderr
