"""Becoming the program that ``spanwise run`` is given. Imports little: it is on every start's way."""

from __future__ import annotations

import os
import sys

from spanwise.errors import SpanwiseError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["command_line", "environment", "execute", "working_folder"]

BOOTSTRAP = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "bootstrap")


def execute(arguments: Sequence[str], environ: Mapping[str, str]) -> None:
    """Replaces this process by the program; does not return.

    Not a child: signals, exit status and process id stay the program's own.

    Raises:
        SpanwiseError: there is no such program, or it cannot be run.
    """
    program = arguments[0]
    if not program:
        raise SpanwiseError("the program's name is empty", fix="`spanwise run python app.py` runs a file")
    try:
        os.execvpe(program, list(arguments), environment(environ))
    except OSError as error:
        if isinstance(error, (FileNotFoundError, NotADirectoryError)):
            if program.endswith(".py"):
                raise SpanwiseError(
                    f"no file {program!r} here", where=working_folder(), fix="Check its name and folder"
                ) from None
            place = "there" if os.path.dirname(program) else "on PATH"
            raise SpanwiseError(
                f"no program {program!r} {place}",
                fix="Check the name; `spanwise run python app.py` runs a file",
            ) from None
        raise SpanwiseError(
            f"{program!r} cannot be run: {error.strerror}", fix="Is it a program, and executable?"
        ) from None


def working_folder() -> str:
    """The working folder, for messages: it may have been deleted."""
    try:
        return os.getcwd()
    except OSError:
        return "the working folder, which is gone"


def command_line(command: Sequence[str], *, module: bool = False) -> list[str]:
    """The program to run and its arguments; a file of Python is run by this Python."""
    if module:
        return [sys.executable, "-m", *command]
    if command[0].endswith(".py") and os.path.isfile(command[0]):
        return [sys.executable, *command]
    return list(command)


def environment(environ: Mapping[str, str]) -> dict[str, str]:
    """``environ`` with our bootstrap folder first on PYTHONPATH, once."""
    rest = [
        entry for entry in environ.get("PYTHONPATH", "").split(os.pathsep) if entry and entry != BOOTSTRAP
    ]
    return {**environ, "PYTHONPATH": os.pathsep.join([BOOTSTRAP, *rest])}
