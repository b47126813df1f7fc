"""``spanwise thresholds replay``: what the thresholds would have done with recorded traces."""

from __future__ import annotations

import gc
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from spanwise.errors import ConfigurationError, MissingExtraError

if TYPE_CHECKING:
    from spanwise.replay.spans import Batch, Losses

__all__ = ["replay"]

# How a DuckDB file begins, after eight bytes of checksum: https://duckdb.org/docs/stable/internals/storage
_DUCKDB = (8, b"DUCK")
_SOME_LOST = 1


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--traces",
    "source",
    required=True,
    type=click.Path(path_type=Path),
    help="A file of OTLP (JSON lines or protobuf, as the Collector's file exporter writes them; gzip too), a "
    "folder of such files, or the console's database.",
)
@click.option("--profile", help="A profile, over the file's own.")
@click.option("--suggest", is_flag=True, help="Print limits made of the durations, as a thresholds file.")
@click.option("--json", "as_json", is_flag=True, help="Print the outcome as JSON.")
def replay(file: Path, source: Path, profile: str | None, suggest: bool, as_json: bool) -> None:
    """Tell what FILE would have done with recorded traces: how many spans would have been rated what, which
    alerts would have fired when, and what tail sampling would have kept.

    The traces should be whole, recorded before any sampling. Exit status 1: some of them could not be read.
    With --suggest the proposed limits are printed, and the outcome on standard error.
    """
    from spanwise.artefacts.collector import DIMENSIONS
    from spanwise.replay.replay import Replay
    from spanwise.replay.report import as_plain, as_text
    from spanwise.replay.spans import Losses
    from spanwise.replay.suggest import Suggestions
    from spanwise.rules.model import by_precedence
    from spanwise.thresholds.load import load, lower

    rules, losses = lower(load(file, profile)), Losses()
    suggestions = Suggestions(by_precedence(rules), by_precedence(lower(load()))) if suggest else None
    run = Replay(rules, DIMENSIONS, suggestions)
    # Decoded requests hold no cycles, and looking for some takes a third of the time.
    gc.disable()
    try:
        for batch in _batches(source, losses):
            run.add(batch)
    finally:
        gc.enable()
    outcome = run.outcome()
    if not outcome.spans:
        told = f": {losses.problems[0]}" if losses else ""
        raise ConfigurationError(f"there are no spans to replay{told}", where=str(source))
    if as_json:
        text = {"suggestion": suggestions.text()} if suggestions else {}
        click.echo(json.dumps({**as_plain(outcome, losses), **text}, indent=2))
    else:
        click.echo(as_text(outcome, rules), err=suggest)
        if suggestions:
            click.echo(suggestions.text(), nl=False)
    for problem in losses.problems:
        click.echo(f"lost: {problem}", err=True)
    if losses:
        more = f" in {losses.more:,} more places" if losses.more else ""
        click.echo(f"lost: {losses.spans:,} spans and {losses.size:,} bytes{more}", err=True)
        sys.exit(_SOME_LOST)


def _batches(source: Path, losses: Losses) -> Iterator[Batch]:
    from spanwise.replay.sources import files_of, read_file

    files = files_of(source)
    if len(files) == 1 and _is_database(source):
        yield from _stored(source)
        return
    with _progress(sum(path.stat().st_size for path in files)) as advance:
        for path in files:
            yield from read_file(path, losses, advance)


def _is_database(source: Path) -> bool:
    offset, magic = _DUCKDB
    try:
        with source.open("rb") as opened:
            return opened.read(offset + len(magic))[offset:] == magic
    except OSError:
        return False


def _stored(source: Path) -> Iterator[Batch]:
    from spanwise.console.export import spans_of
    from spanwise.replay.stored import batch

    try:
        total, pages = spans_of(source)
    except ImportError:
        raise MissingExtraError("console", "Reading the console's database") from None
    with _progress(total) as advance:
        for resource, rows in pages:
            yield batch(resource, rows)
            advance(len(rows))


@contextmanager
def _progress(total: int) -> Iterator[Callable[[int], None]]:
    """A progress bar on standard error where that is a terminal."""
    from rich.console import Console
    from rich.progress import Progress

    # Drawn ten times a second whatever is read meanwhile.
    with Progress(console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task("Replaying", total=total)
        yield lambda count: bar.advance(task, count)
