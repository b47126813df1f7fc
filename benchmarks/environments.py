"""A virtual environment for each arm, made once and remade when what goes into it changes."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.arms import APPLICATION, Arm

__all__ = ["ROOT", "ensure", "versions"]

ROOT = Path(__file__).resolve().parents[1]
# Read by `python -c` in the arm's environment.
_VERSIONS = (
    "import json, importlib.metadata as m;"
    "print(json.dumps({d.metadata['Name'].lower(): d.version for d in m.distributions()}))"
)


def ensure(arm: Arm, cache: Path) -> Path:
    """The arm's environment, made if need be.

    Raises:
        subprocess.CalledProcessError: it cannot be installed; the error's ``stderr`` says why.
    """
    requirements = [*APPLICATION, *(each.format(root=ROOT) for each in arm.requirements)]
    folder = cache / f"{arm.name}-{_stamp(requirements)}"
    if (folder / ".done").exists():
        return folder
    # Older ones of this arm, and what an interrupted run left.
    for old in cache.glob(f"{arm.name}-*"):
        shutil.rmtree(old, ignore_errors=True)
    cache.mkdir(parents=True, exist_ok=True)
    _run([sys.executable, "-m", "venv", *(["--without-pip"] if _uv() else []), str(folder)])
    python = str(folder / "bin" / "python")
    if uv := _uv():
        # Ours is built anew: uv would reuse the wheel of an earlier state of the folder.
        own = ["--reinstall-package", "spanwise", "--refresh-package", "spanwise"]
        _run([uv, "pip", "install", "--quiet", "--python", python, *own, *requirements])
    else:
        _run([python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *requirements])
    # Else the first measurement would pay for compiling, and the wheel's installer decides whether.
    subprocess.run([python, "-m", "compileall", "-q", str(folder / "lib")], capture_output=True)
    (folder / ".done").touch()
    return folder


def versions(folder: Path) -> dict[str, str]:
    """What is installed there: version by lower-case name."""
    found: dict[str, str] = json.loads(_run([str(folder / "bin" / "python"), "-c", _VERSIONS]))
    return found


def _uv() -> str | None:
    beside = Path(sys.executable).parent / "uv"
    return str(beside) if beside.exists() else shutil.which("uv")


def _stamp(requirements: Sequence[str]) -> str:
    digest = hashlib.sha256(f"{sys.version}\n{requirements}".encode())
    if str(ROOT) in requirements:
        for path in [ROOT / "pyproject.toml", *sorted((ROOT / "src").rglob("*"))]:
            if path.is_file() and path.suffix != ".pyc":
                digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def _run(command: Sequence[str]) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=600).stdout
