"""The group of subcommands: one is imported when it is used."""

from __future__ import annotations

from importlib import import_module

import click

__all__ = ["COMMANDS", "Suggesting", "cli"]

# Name -> module:attribute. Imported on use: one command must not wait for another's libraries.
COMMANDS: dict[str, str] = {
    "run": "spanwise.commands.run:run",
    "demo": "spanwise.commands.demo:demo",
    "console": "spanwise.commands.console:console",
    "generate": "spanwise.commands.generate:generate",
    "gate": "spanwise.commands.gate:gate",
    "plugins": "spanwise.commands.plugins:plugins",
    "thresholds": "spanwise.commands.thresholds:thresholds",
}


class Suggesting(click.Group):
    """A group that names the nearest command for one that it does not have. click does so from 8.4 on."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command that the arguments begin with. Raises UsageError where there is none."""
        name = args[0]
        if self.get_command(ctx, name) is None and not name.startswith("-"):
            import difflib

            close = difflib.get_close_matches(name.lower(), self.list_commands(ctx), n=1)
            hint = (
                f"Did you mean {close[0]!r}?" if close else f"There are {', '.join(self.list_commands(ctx))}."
            )
            ctx.fail(f"No such command {name!r}. {hint}")
        return super().resolve_command(ctx, args)


class _Lazy(Suggesting):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[cmd_name].partition(":")
        command: click.Command = getattr(import_module(module), attribute)
        return command


@click.group(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="spanwise", prog_name="spanwise")
def cli() -> None:
    """OpenTelemetry for Python web applications."""
