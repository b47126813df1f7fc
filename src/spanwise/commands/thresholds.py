"""``spanwise thresholds``: checks a thresholds file, shows what holds, writes the schema, replays traces."""

from __future__ import annotations

import json
from pathlib import Path

import click

from spanwise import sources
from spanwise.commands.chosen import PROFILE_HELP, THRESHOLDS_HELP, chosen
from spanwise.commands.execute import working_folder
from spanwise.commands.group import Suggesting
from spanwise.commands.replay import replay
from spanwise.errors import ConfigurationError, ThresholdsError
from spanwise.shown import printable
from spanwise.thresholds.load import load
from spanwise.thresholds.model import Entry

__all__ = ["thresholds"]

_PROFILE = click.option("--profile", help="A profile, over the file's own.")


@click.group(cls=Suggesting)
def thresholds() -> None:
    """Check a thresholds file; show what holds; write its schema; replay recorded traces."""


thresholds.add_command(replay)


@thresholds.command()
@click.argument("file", type=click.Path(path_type=Path), required=False)
@_PROFILE
def check(file: Path | None, profile: str | None) -> None:
    """Check FILE: exit 0 if it can be used, else 2 with file, line and column of each mistake.

    Without FILE: that of SPANWISE_THRESHOLDS, else ./thresholds.yaml, by the profile that holds then.
    """
    if file is None:
        file, profile = chosen(None, profile)
    if file is None:
        raise ConfigurationError(
            "there is no thresholds.yaml", where=working_folder(), fix="Name the file that is to be checked"
        )
    found = load(file, profile)
    problems = sources.load({}, {}, found.settings).problems
    if problems:
        raise ThresholdsError("; ".join(problems), where=str(file))
    own = sum(_is_own(entry, str(file)) for entry in found.entries)
    click.echo(
        f"{file}: good. {own} entries of its own over the defaults come to {len(found.rules)} rules, "
        f"profile {found.profile or 'none'}"
    )


def _is_own(entry: Entry, file: str) -> bool:
    return any(place.startswith(f"{file}:") for place in (entry.place, *entry.places.values()))


@thresholds.command()
@click.option(
    "--thresholds",
    "file",
    type=click.Path(path_type=Path),
    help=THRESHOLDS_HELP,
)
@click.option("--profile", help=PROFILE_HELP)
def show(file: Path | None, profile: str | None) -> None:
    """Show every figure that holds after profile and overrides, and the file and line it comes from."""
    found = load(*chosen(file, profile))
    click.echo(f"profile: {found.profile or 'none'}")
    for entry in found.entries:
        click.echo(f"{entry.name}  ({entry.kind.replace('_', ' ')})" if entry.place else entry.name)
        width = max(len(key) for key in entry.written)
        texts = {key: printable(text) for key, text in entry.written.items()}
        longest = max(map(len, texts.values()))
        for key, text in texts.items():
            click.echo(f"  {key:<{width}}  {text:<{min(longest, 40)}}  {entry.places[key]}")


@thresholds.command()
def schema() -> None:
    """Print the JSON Schema of thresholds files, for editors that complete and check by it."""
    from spanwise.thresholds.schema import document

    click.echo(json.dumps(document(), indent=2, ensure_ascii=False))
