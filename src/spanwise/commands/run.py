"""``spanwise run``: runs a Python program with telemetry, unchanged."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import click

import spanwise
from spanwise.errors import SpanwiseError

__all__ = ["command_line", "environment", "run"]

BOOTSTRAP = Path(spanwise.__file__).parent / "bootstrap"


@click.command(
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
    epilog="Examples:  spanwise run python app.py   spanwise run -m package   spanwise run gunicorn app:app",
)
@click.option("--service", metavar="NAME", help="The service's name (OTEL_SERVICE_NAME).")
@click.option("--endpoint", metavar="URL", help="Where data goes (OTEL_EXPORTER_OTLP_ENDPOINT).")
@click.option("--report", is_flag=True, help="Print what was instrumented and where data goes.")
@click.option("-m", "module", is_flag=True, help="Run a module, as python -m does.")
@click.argument("command", nargs=-1, type=click.UNPROCESSED, required=True)
def run(
    command: tuple[str, ...], service: str | None, endpoint: str | None, report: bool, module: bool
) -> None:
    """Run COMMAND with telemetry: traces, metrics and logs, no code changed.

    COMMAND is a program (python, gunicorn, flask, …) with its arguments, or a .py file.
    Python programs that it starts are observed too.
    """
    arguments = command_line(command, module=module)
    given = {
        "OTEL_SERVICE_NAME": service,
        "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint,
        "SPANWISE_STARTUP_REPORT": "1" if report else None,
    }
    overrides = {name: value for name, value in given.items() if value}
    # exec, not a child: signals, exit status and process id stay the program's own.
    os.execve(arguments[0], arguments, environment({**os.environ, **overrides}))


def command_line(command: Sequence[str], *, module: bool = False) -> list[str]:
    """The program to run, by its full path, and its arguments.

    Raises:
        SpanwiseError: there is no such program.
    """
    if module:
        return [sys.executable, "-m", *command]
    if command[0].endswith(".py") and Path(command[0]).is_file():
        return [sys.executable, *command]
    program = shutil.which(command[0])
    if program is None:
        raise SpanwiseError(
            f"no program {command[0]!r} on PATH",
            fix="Check the name; `spanwise run python app.py` runs a file",
        )
    return [program, *command[1:]]


def environment(environ: Mapping[str, str]) -> dict[str, str]:
    """``environ`` with our bootstrap folder first on PYTHONPATH, once."""
    here = str(BOOTSTRAP)
    rest = [entry for entry in environ.get("PYTHONPATH", "").split(os.pathsep) if entry and entry != here]
    return {**environ, "PYTHONPATH": os.pathsep.join([here, *rest])}
