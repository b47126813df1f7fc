"""``spanwise generate``: writes the Collector's, Prometheus's, Alertmanager's and Grafana's files."""

from __future__ import annotations

import difflib
import os
import shutil
import sys
from pathlib import Path

import click

from spanwise.artefacts.alertmanager import without_secrets
from spanwise.artefacts.table import ARTEFACTS
from spanwise.commands.chosen import PROFILE_HELP, THRESHOLDS_HELP, chosen
from spanwise.errors import ConfigurationError, MissingExtraError
from spanwise.thresholds.load import load, lower

__all__ = ["generate"]


@click.command()
@click.option(
    "--thresholds",
    type=click.Path(path_type=Path),
    help=THRESHOLDS_HELP,
)
@click.option("--profile", help=PROFILE_HELP)
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("collector"),
    show_default=True,
    help="The folder to write to.",
)
@click.option(
    "--check",
    is_flag=True,
    help="Write nothing; exit 1 with a diff if a file is stale, 2 if that cannot be told.",
)
def generate(thresholds: Path | None, profile: str | None, out: Path, check: bool) -> None:
    """Write the files of Collector, Prometheus, Alertmanager and Grafana from the thresholds file.

    A file that needs an extra which is not installed is left as it is, and named; where there is one,
    --check cannot tell whether it is stale, and exits 2.
    """
    thresholds, profile = chosen(thresholds, profile)
    rules = lower(load(thresholds, profile))
    stale = lacking = False
    for name, render in sorted(ARTEFACTS.items()):
        path = out / name
        try:
            text = render(rules)
        except MissingExtraError as error:
            click.echo(f"left out: {path}: {error}", err=True)
            # What is not there is not stale: it is what `generate` itself leaves here.
            lacking = lacking or _read(path) is not None
            continue
        before = _read(path)
        if before == text:
            continue
        if not stale:
            click.echo(f"from {thresholds or 'the shipped defaults: there is no thresholds.yaml here'}")
        stale = True
        if not check:
            _write(path, text)
            click.echo(f"wrote {path}")
        elif before is None:
            click.echo(f"missing: {path}")
        else:
            diff = difflib.unified_diff(
                before.splitlines(keepends=True),
                text.splitlines(keepends=True),
                f"{path} (on disk)",
                f"{path} (from the thresholds)",
            )
            # Compared first: an address that changed is a line, and what it is stays out of the log.
            click.echo("".join(map(without_secrets, diff) if name == "alertmanager.yaml" else diff), nl=False)
    if check and stale:
        click.echo("stale: run `spanwise generate`", err=True)
        sys.exit(1)
    if check and lacking:
        sys.exit(2)


def _read(path: Path) -> str | None:
    try:
        return path.read_bytes().decode("utf-8", "replace")
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ConfigurationError(
            f"cannot read {path}: {error.strerror}", fix="Choose another --out"
        ) from error


def _write(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Beside it first: half a file of rules, on a disk that is full, would be what Prometheus reloads.
        # A link stays a link.
        target = path.resolve()
        beside = target.with_name(f".{target.name}.{os.getpid()}")
        try:
            # Bytes: the same file on every system, whatever its line ends.
            beside.write_bytes(text.encode("utf-8"))
            if target.exists():
                shutil.copymode(target, beside)
            os.replace(beside, target)
        finally:
            beside.unlink(missing_ok=True)
    except OSError as error:
        raise ConfigurationError(
            f"cannot write {path}: {error.strerror}", fix="Choose another --out"
        ) from error
