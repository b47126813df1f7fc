"""Python environments with other versions of a library than this one has, in the user's cache, made once."""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from importlib.metadata import requires
from importlib.metadata import version as installed
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def environment(name: str, wanted: list[str], *, without: str = "", variant: object = None) -> str:
    """The Python of an environment with spanwise's own requirements, in the versions that run here.

    Args:
        name: begins the folder's name.
        wanted: requirements besides those.
        without: a distribution that is removed again.
        variant: tells environments apart that have the same requirements.
    """
    own = [re.split(r"[^\w.-]", text)[0] for text in requires("spanwise") or () if "extra ==" not in text]
    # The very versions that this process runs on: what is compared differs in what is wanted only.
    wanted = sorted([*(f"{each}=={installed(each)}" for each in own), *wanted])
    # The interpreter is the base's: another checkout's environment need not make this one again.
    made_of = (wanted, variant, sys.version_info[:3], sys.base_prefix)
    key = hashlib.sha256(repr(made_of).encode()).hexdigest()[:16]
    folder = cache() / "venvs" / f"{name}-{key}"
    python = folder / "bin" / "python"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_name(f"{folder.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        ready = folder / "ready"
        if ready.exists() and python.exists():
            return str(python)
        shutil.rmtree(folder, ignore_errors=True)
        uv = _uv()
        if uv:
            run(*uv, "venv", "--quiet", "--python", sys.executable, str(folder))
            pip = [*uv, "pip"]
            target = ["--python", str(python)]
            yes: list[str] = []
        else:
            run(sys.executable, "-m", "venv", str(folder))
            pip, target, yes = [str(python), "-m", "pip"], [], ["--yes"]
        install = (*pip, "install", "--quiet", *target, *wanted)
        try:
            run(*install)
        except AssertionError:
            # uv brings certificates along; where an index has others, the system's know it.
            run(*install, env={"UV_SYSTEM_CERTS": "1"})
        if without and list(folder.glob(f"lib/python*/site-packages/{without}")):
            run(*pip, "uninstall", "--quiet", *yes, *target, without)
        ready.touch()
    return str(python)


def run(*command: str, env: Mapping[str, str] | None = None) -> str:
    """What a command prints. The environment's own packages, and the warnings' default, decide.

    Args:
        command: program and arguments.
        env: variables; OpenTelemetry's and Python's own are unset otherwise.
    """
    plain = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith(("PYTHON", "OTEL_", "SPANWISE_", "VIRTUAL_ENV"))
    }
    plain["PYTHONPATH"] = f"{ROOT / 'src'}{os.pathsep}{ROOT / 'tests'}"
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=300, env={**plain, **(env or {})}, check=False
    )
    assert done.returncode == 0, f"{' '.join(command)[:300]}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
    return done.stdout


def cache() -> Path:
    """The folder for what is fetched or built once."""
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
