"""``spanwise thresholds``: checks a thresholds file, shows what holds, tells what it would have done."""

from __future__ import annotations

from pathlib import Path

import click

from spanwise import sources
from spanwise.commands.replay import replay
from spanwise.errors import ThresholdsError
from spanwise.thresholds.load import describe, load

__all__ = ["thresholds"]

_PROFILE = click.option("--profile", help="A profile, over the file's own.")


@click.group()
def thresholds() -> None:
    """Check a thresholds file; show what holds; replay recorded traces."""


thresholds.add_command(replay)


@thresholds.command()
@click.argument("file", type=click.Path(path_type=Path))
@_PROFILE
def check(file: Path, profile: str | None) -> None:
    """Check FILE: exit 0 if it can be used, else 2 with file, line and column."""
    found = load(file, profile)
    problems = sources.load({}, {}, found.settings).problems
    if problems:
        raise ThresholdsError("; ".join(problems), where=str(file))
    own = sum(entry.place.startswith(f"{file}:") for entry in found.entries)
    click.echo(
        f"{file}: good. {own} entries of its own over the defaults come to {len(found.rules)} rules, "
        f"profile {found.profile or 'none'}"
    )
    if found.objectives:
        click.echo("note: objectives are checked, and acted upon by nothing yet")


@thresholds.command()
@click.option(
    "--thresholds",
    "file",
    type=click.Path(path_type=Path),
    help="The thresholds file; else ./thresholds.yaml.",
)
@_PROFILE
def show(file: Path | None, profile: str | None) -> None:
    """Show the rules that hold after profile and overrides, and where each entry was last said."""
    default = Path("thresholds.yaml")
    found = load(file or (default if default.is_file() else None), profile)
    click.echo(f"profile: {found.profile or 'none'}")
    places = {entry.name: entry.place for entry in found.entries}
    for line in describe(found):
        place = next((place for name, place in places.items() if line.startswith(f"{name}: ")), "")
        click.echo(f"{line}  [{place}]" if place else line)
