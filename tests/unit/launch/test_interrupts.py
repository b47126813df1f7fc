"""Signals while a process starts: it ends as without us."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

BIN = Path(sys.executable).parent
LAUNCHERS = {
    "run": [str(BIN / "spanwise"), "run"],
    "run with an option": [str(BIN / "spanwise"), "run", "--service", "shop"],
    "instrument": [str(BIN / "opentelemetry-instrument")],
}
# An instrumentor of a third party, in the middle of whose work the signal comes.
INSTRUMENTOR = """
import sys
from opentelemetry.instrumentation.instrumentor import BaseInstrumentor

class Waiting(BaseInstrumentor):
    def instrumentation_dependencies(self):
        return ()

    def _instrument(self, **_):
        print("starting", flush=True)
        sys.stdin.readline()

    def _uninstrument(self, **_):
        pass
"""
# Says whether Ctrl-C would interrupt it, and waits.
APPLICATION = """
import signal, sys
try:
    print(signal.getsignal(signal.SIGINT) is signal.default_int_handler, flush=True)
    sys.stdin.read()
except KeyboardInterrupt:
    sys.exit(5)
"""


class Starting:
    """A process that waits in the middle of its start."""

    def __init__(self, launcher: str, folder: Path, ignored: bool = False) -> None:
        (folder / "waiting.py").write_text(INSTRUMENTOR)
        about = folder / "waiting-1.dist-info"
        about.mkdir()
        (about / "METADATA").write_text("Metadata-Version: 2.1\nName: waiting\nVersion: 1\n")
        (about / "entry_points.txt").write_text("[opentelemetry_instrumentor]\nwaiting = waiting:Waiting\n")
        plain = {
            name: value for name, value in os.environ.items() if not name.startswith(("OTEL_", "SPANWISE_"))
        }
        self.process = subprocess.Popen(
            [*LAUNCHERS[launcher], sys.executable, "-c", APPLICATION],
            env={**plain, "PYTHONPATH": str(folder), "SPANWISE_SPOOL_DIR": str(folder)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=(lambda: signal.signal(signal.SIGINT, signal.SIG_IGN)) if ignored else None,
        )
        self.said("starting")

    def said(self, line: str) -> None:
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == f"{line}\n"

    def go_on(self) -> None:
        """The start comes to its end, and the application waits."""
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def ended(self) -> tuple[int, str]:
        """Its status and what it said on standard error."""
        _, err = self.process.communicate(timeout=60)
        return self.process.returncode, err

    def close(self) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.fixture(params=list(LAUNCHERS))
def launcher(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_during_the_start_ends_it(launcher: str, number: signal.Signals, tmp_path: Path) -> None:
    starting = Starting(launcher, tmp_path)
    try:
        starting.process.send_signal(number)
        assert starting.ended() == (-number, "")
    finally:
        starting.close()


def test_afterwards_the_application_gets_its_exception(launcher: str, tmp_path: Path) -> None:
    starting = Starting(launcher, tmp_path)
    try:
        starting.go_on()
        starting.said("True")
        starting.process.send_signal(signal.SIGINT)
        assert starting.ended()[0] == 5
    finally:
        starting.close()


def test_an_ignored_interrupt_stays_ignored(launcher: str, tmp_path: Path) -> None:
    starting = Starting(launcher, tmp_path, ignored=True)
    try:
        starting.process.send_signal(signal.SIGINT)
        starting.go_on()
        starting.said("False")
        assert starting.ended()[0] == 0
    finally:
        starting.close()
