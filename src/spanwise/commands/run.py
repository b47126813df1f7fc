"""``spanwise run``: runs a Python program with telemetry, unchanged."""

from __future__ import annotations

import os

import click

from spanwise.commands.execute import command_line, execute

__all__ = ["run"]


@click.command(
    # What follows the program is the program's own; before it, an option that is not ours is a mistake.
    context_settings={"allow_interspersed_args": False},
    # Each a paragraph of its own: click would break the lines in the middle of a command.
    epilog="Examples:\n\n"
    "spanwise run python app.py\n\nspanwise run -m package\n\nspanwise run gunicorn app:app",
)
@click.option("--service", metavar="NAME", help="The service's name (OTEL_SERVICE_NAME).")
@click.option("--endpoint", metavar="URL", help="Where data goes (OTEL_EXPORTER_OTLP_ENDPOINT).")
@click.option("--report", is_flag=True, help="Print what was instrumented and where data goes.")
@click.option("-m", "module", is_flag=True, help="Run a module, as python -m does.")
@click.argument("command", nargs=-1, type=click.UNPROCESSED, required=True)
def run(
    command: tuple[str, ...], service: str | None, endpoint: str | None, report: bool, module: bool
) -> None:
    """Run COMMAND with telemetry, no code changed.

    COMMAND is a program (python, gunicorn, flask, …) with its arguments, or a .py file.
    Python programs that it starts are observed too.
    """
    given = {
        "OTEL_SERVICE_NAME": service,
        "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint,
        "SPANWISE_STARTUP_REPORT": "1" if report else None,
    }
    overrides = {name: value for name, value in given.items() if value}
    execute(command_line(command, module=module), {**os.environ, **overrides})
