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


def _run(command: list[str]) -> None:
    """Runs a program under telemetry; imports click, which takes 20 ms, only if there are options to read."""
    if not command or command[0].startswith("-"):
        from spanwise.commands.group import cli

        cli()  # which exits
    import os

    from spanwise.commands.execute import command_line, execute

    execute(command_line(command), os.environ)
