"""The ``spanwise`` command's entry."""

from __future__ import annotations

import sys

from spanwise.errors import SpanwiseError

__all__ = ["main"]


def main() -> None:
    """Runs the command: errors of ours become one line on standard error and exit status 2."""
    try:
        if sys.argv[1:2] == ["run"]:
            from spanwise.interrupts import deadly

            with deadly:  # click would make Ctrl-C status 1
                _run(sys.argv[2:])
        else:
            from spanwise.commands.group import cli

            cli()
    except SpanwiseError as error:
        print(f"spanwise: {error}", file=sys.stderr)
        sys.exit(2)
    except OSError as error:
        if error.filename is not None or not _is_unwritable(error):
            raise
        print(f"spanwise: the output cannot be written: {error.strerror}", file=sys.stderr)
        _forget_output()
        sys.exit(2)


def _is_unwritable(error: OSError) -> bool:
    """Whether a standard stream took no more, as with ``> FILE`` on a disk that is full."""
    import errno

    return error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EBADF)


def _forget_output() -> None:
    """Keeps the interpreter's end from trying to write again what could not be written."""
    import os

    empty = os.open(os.devnull, os.O_WRONLY)
    os.dup2(empty, 1)
    os.close(empty)


def _run(command: list[str]) -> None:
    """Runs a program under telemetry; imports click, which takes 20 ms, only if there are options to read."""
    if not command or command[0].startswith("-"):
        from spanwise.commands.group import cli

        cli()  # which exits
    import os

    from spanwise.commands.execute import command_line, execute

    execute(command_line(command), os.environ)
