"""What a start imports, so that it stays imperceptible: nothing of this may grow unnoticed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest


def _names(text: str) -> set[str]:
    return {f".{name}" for name in text.split()}


FACE = {""} | _names("""
alerts alerts.listeners interrupts launch manual manual.controllers manual.face manual.nothing probes
probes.endpoint snapshot
""")
LAUNCHED = FACE | _names("""
deliver deliver.destinations deliver.lifecycle deliver.segment_file
distro environment errors forks installed
instrumentors instrumentors._base instrumentors._first_record instrumentors._imports instrumentors._patches
instrumentors._traceback instrumentors.functools instrumentors.load instrumentors.reloader instrumentors.table
launched log names notices options pending report settings shown sources telemetry threads values variables
waiting
""")
FLASK = LAUNCHED | {".instrumentors.flask"}

# Of all else that a start could import, what takes long: by the name of the module or its package.
HEAVY = {
    *("opentelemetry", "psutil", "yaml", "click", "rich", "asyncio", "wrapt", "packaging", "google"),
    *("http.client", "ssl", "email.message", "importlib.metadata", "concurrent.futures", "subprocess"),
    *("ctypes", "multiprocessing", "sqlite3", "difflib", "uuid", "json", "socket", "requests"),
}


def imported(command: list[str], folder: Path, **variables: str) -> set[str]:
    """The modules that a program finds."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith(("OTEL_", "SPANWISE_"))}
    done = subprocess.run(
        command,
        env={**plain, "SPANWISE_SPOOL_DIR": str(folder / "spool"), **variables},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stderr == ""
    return set(done.stdout.split())


def run(code: str, folder: Path, **variables: str) -> set[str]:
    """The same under `spanwise run`."""
    launcher = str(Path(sys.executable).parent / "spanwise")
    return imported([launcher, "run", sys.executable, "-c", code], folder, **variables)


def ours(modules: set[str]) -> set[str]:
    return {name.removeprefix("spanwise") for name in modules if f"{name}.".startswith("spanwise.")}


def heavy(modules: set[str]) -> set[str]:
    return {name for name in modules for one in HEAVY if f"{name}.".startswith(f"{one}.")}


# On a busy machine telemetry would start by itself meanwhile.
HOLD = "from spanwise import waiting; waiting._over.set()\n"
SHOW = "import sys; print(*sys.modules)"
# Of the standard library, what a process without telemetry and the launcher do without.
SPARED = {
    "collections",
    "contextlib",
    "dataclasses",
    "enum",
    "functools",
    "inspect",
    "logging",
    "re",
    "signal",
}
SPARED |= {"threading", "typing"}


def test_a_launched_process(tmp_path: Path) -> None:
    found = run(SHOW, tmp_path)
    assert ours(found) <= LAUNCHED
    assert not heavy(found - imported([sys.executable, "-c", SHOW], tmp_path))


def test_a_launched_process_that_imports_flask(tmp_path: Path) -> None:
    code = f"import flask\n{SHOW}"
    found = run(f"{HOLD}{code}", tmp_path)
    assert ours(found) <= FLASK
    assert not heavy(found - imported([sys.executable, "-c", code], tmp_path))


@pytest.mark.parametrize("value", ["true", "True"])
def test_a_process_without_telemetry(value: str, tmp_path: Path) -> None:
    found = run(SHOW, tmp_path, OTEL_SDK_DISABLED=value)
    assert ours(found) <= FACE
    more = found - imported([sys.executable, "-c", SHOW], tmp_path)
    assert not heavy(more)
    assert not SPARED & more


def test_the_launcher_before_it_becomes_the_program(tmp_path: Path) -> None:
    code = (
        "import os, sys\n"
        "os.execvpe = lambda *_: (print(*sys.modules), sys.exit())\n"
        "sys.argv = ['spanwise', 'run', 'true']\n"
        "from spanwise.commands.main import main; main()"
    )
    found = imported([sys.executable, "-c", code], tmp_path)
    assert ours(found) <= FACE | {".commands", ".commands.main", ".commands.execute", ".errors"}
    more = found - imported([sys.executable, "-c", SHOW], tmp_path)
    assert not heavy(more)
    assert not SPARED & more


def test_the_end_of_a_process_that_needed_no_telemetry_imports_nothing(tmp_path: Path) -> None:
    # Registered before ours, so called after it.
    code = (
        "import atexit, sys\n"
        "atexit.register(lambda: print(*(set(sys.modules) - before) or {'nothing'}))\n"
        f"import spanwise; spanwise.configure(); {HOLD}import flask\n"
        "before = set(sys.modules)"
    )
    assert imported([sys.executable, "-c", code], tmp_path) == {"nothing"}
