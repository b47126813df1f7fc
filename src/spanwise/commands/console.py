"""``spanwise console``: receive telemetry on this machine and look at it in the browser."""

from __future__ import annotations

import signal
import sys
import threading
from pathlib import Path
from types import FrameType

import click

from spanwise.console.server import (
    DEFAULT_DATABASE,
    DEFAULT_HOST,
    DEFAULT_PORT,
    NO_TOKEN,
    TOKEN_SHAPE,
    start,
)
from spanwise.errors import SpanwiseError

__all__ = ["console"]


@click.command()
@click.option("--host", default=DEFAULT_HOST, show_default=True, help="Where to listen.")
@click.option(
    "--port",
    default=DEFAULT_PORT,
    show_default=True,
    type=click.IntRange(0, 65535),
    help="Port for telemetry (OTLP/HTTP) and page; 0 for a free one.",
)
@click.option(
    "--database",
    default=DEFAULT_DATABASE,
    show_default=True,
    type=click.Path(dir_okay=False, path_type=Path),
    help="DuckDB file that keeps what arrives; ':memory:' keeps nothing.",
)
@click.option("--token", help=f"What opens the page: {TOKEN_SHAPE}. [default: a random one, printed]")
@click.option("--no-token", is_flag=True, help="Let everyone on this machine read.")
def console(host: str, port: int, database: Path, token: str | None, no_token: bool) -> None:
    """Receive traces, metrics and logs on this machine and show them in the browser.

    Applications that send OTLP/HTTP to the default address need no setting: start this, then
    'spanwise run python app.py'. Ctrl-C ends it; what has arrived is kept in the file.
    """
    if token is not None and no_token:
        raise click.UsageError("--token and --no-token exclude each other.")
    try:
        running = start(database, host, port, NO_TOKEN if no_token else token)
    except SpanwiseError as error:
        raise click.ClickException(str(error)) from None
    ended = threading.Event()

    def end(_signal: int, _frame: FrameType | None) -> None:
        ended.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, end)
    click.echo(f"Page      {running.url}")
    click.echo(f"Receives  {running.otlp_endpoint}  (OTLP/HTTP: traces, metrics, logs)")
    click.echo(f"Keeps in  {database}")
    click.echo("Ctrl-C ends it.")
    # The address must reach a pipe at once: scripts read it from there.
    sys.stdout.flush()
    ended.wait()
    click.echo("Writing what has arrived …", err=True)
    running.stop()
