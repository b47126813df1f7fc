"""The ``spanwise`` command: a group that imports a subcommand when it is used."""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.metadata import version

import click

from spanwise.errors import SpanwiseError

__all__ = ["COMMANDS", "main"]

# Name -> module:attribute. Imported on use: `spanwise run` must not wait for the console's libraries.
COMMANDS: dict[str, str] = {
    "run": "spanwise.commands.run:run",
    "demo": "spanwise.commands.demo:demo",
    "console": "spanwise.commands.console:console",
    "generate": "spanwise.commands.generate:generate",
    "thresholds": "spanwise.commands.thresholds:thresholds",
}


class _Lazy(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[cmd_name].partition(":")
        command: click.Command = getattr(import_module(module), attribute)
        return command


@click.group(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(version("spanwise"), prog_name="spanwise")
def cli() -> None:
    """OpenTelemetry for Python web applications."""


def main() -> None:
    """The command's entry: errors of ours become one line on standard error and exit status 2."""
    try:
        cli()
    except SpanwiseError as error:
        print(f"spanwise: {error}", file=sys.stderr)
        sys.exit(2)
