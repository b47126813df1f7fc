"""Environments with one version of a library each, made once and kept, for tests on several versions."""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import requires
from importlib.metadata import version as installed
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def environment(name: str, *wanted: str) -> str:
    """The Python of an environment with ``wanted`` beside our own dependencies; made if it isn't there.

    Args:
        name: of its folder, before a checksum of what is in it.
        wanted: requirements, for example ``redis==5.*``.
    """
    # The very versions that this process runs on: the environments differ in the library only.
    own = [re.split(r"[^\w.-]", text)[0] for text in requires("spanwise") or () if "extra ==" not in text]
    everything = sorted([*(f"{each}=={installed(each)}" for each in own), *wanted])
    key = hashlib.sha256(repr((everything, sys.version_info[:3], sys.prefix)).encode()).hexdigest()[:16]
    folder = _cache() / "venvs" / f"{name}-{key}"
    python = folder / "bin" / "python"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not ((folder / "ready").exists() and python.exists()):
            shutil.rmtree(folder, ignore_errors=True)
            _make(folder, python, everything)
            (folder / "ready").touch()
    return str(python)


def run(*command: str, env: dict[str, str] | None = None) -> str:
    """What a command prints. It sees none of this process's Python, OTEL and SPANWISE variables.

    Raises AssertionError with the end of its output where it fails.
    """
    own = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith(("PYTHON", "OTEL_", "SPANWISE_", "VIRTUAL_ENV"))
    }
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=300,
        env={**own, "PYTHONPATH": str(ROOT / "src"), **(env or {})},
        check=False,
    )
    assert done.returncode == 0, f"{' '.join(command)[:300]}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
    return done.stdout


def _make(folder: Path, python: Path, wanted: Sequence[str]) -> None:
    uv = _uv()
    if uv:
        run(*uv, "venv", "--quiet", "--python", sys.executable, str(folder))
        run(*uv, "pip", "install", "--quiet", "--python", str(python), *wanted)
    else:
        run(sys.executable, "-m", "venv", str(folder))
        run(str(python), "-m", "pip", "install", "--quiet", *wanted)


def _cache() -> Path:
    home = os.environ.get("SPANWISE_CACHE")
    if home:
        return Path(home)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "spanwise"


def _uv() -> list[str] | None:
    for found in (Path(sys.executable).with_name("uv"), shutil.which("uv")):
        if found and Path(found).exists():
            return [str(found)]
    probe = subprocess.run([sys.executable, "-m", "uv", "--version"], capture_output=True, check=False)
    return [sys.executable, "-m", "uv"] if probe.returncode == 0 else None
