"""The ``spanwise`` command's entry."""

from __future__ import annotations

import sys

from spanwise.errors import SpanwiseError

__all__ = ["main"]


def main() -> None:
    """Runs the command: errors of ours become one line on standard error and exit status 2."""
    try:
        if len(sys.argv) > 2 and sys.argv[1] == "run" and not sys.argv[2].startswith("-"):
            _run(sys.argv[2:])
        else:
            from spanwise.commands.group import cli

            cli()
    except SpanwiseError as error:
        print(f"spanwise: {error}", file=sys.stderr)
        sys.exit(2)


def _run(command: list[str]) -> None:
    """`spanwise run` without options of its own: reading a command line by click costs a start 20 ms."""
    import os

    from spanwise.commands.execute import command_line, execute

    execute(command_line(command), os.environ)
