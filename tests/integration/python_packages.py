"""Packages in folders of their own in the user's cache: fetched once, never part of the repository."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from environments import cache

__all__ = ["installed_into", "installed_together", "sources_of"]


def installed_into(name: str, version: str) -> Path:
    """The folder with this version of a package (the newest, if empty), without what it depends on."""
    folder = cache() / "packages" / f"{name}-{version or 'newest'}"
    with _alone(folder):
        if not folder.exists():
            with tempfile.TemporaryDirectory(dir=folder.parent) as made:
                wanted = f"{name}=={version}" if version else name
                _pip("install", "--no-deps", "--target", f"{made}/it", wanted)
                Path(made, "it").rename(folder)
    return folder


def installed_together(*wanted: str) -> Path:
    """The folder with these packages and what they depend on."""
    folder = cache() / "packages" / "-".join([*wanted, f"{sys.version_info[0]}.{sys.version_info[1]}"])
    with _alone(folder):
        if not folder.exists():
            with tempfile.TemporaryDirectory(dir=folder.parent) as made:
                _pip("install", "--target", f"{made}/it", *wanted)
                Path(made, "it").rename(folder)
    return folder


def sources_of(name: str, version: str) -> Path:
    """A package's source distribution, unpacked: it carries the tests."""
    folder = cache() / "sources" / f"{name}-{version}"
    with _alone(folder):
        if not folder.exists():
            with tempfile.TemporaryDirectory(dir=folder.parent) as made:
                _pip("download", "--no-deps", "--no-binary", name, "--dest", made, f"{name}=={version}")
                (archive,) = Path(made).glob("*.tar.gz")
                shutil.unpack_archive(archive, Path(made, "unpacked"))
                (unpacked,) = Path(made, "unpacked").iterdir()
                unpacked.rename(folder)
    return folder


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_name(f"{folder.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _pip(*arguments: str) -> None:
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet", *arguments]
    env = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "OTEL_"))}
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=env, check=False)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stderr}"
