"""``spanwise demo``: the example store under load, watched by the console, in one command."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from spanwise.commands.execute import environment
from spanwise.console.server import RunningConsole, start
from spanwise.errors import SpanwiseError

if TYPE_CHECKING:
    from rich.console import RenderableType

__all__ = ["demo"]

DATABASE = "demo.duckdb"
LISTENING = "store listening on "
# Seeding 10,000 tracks takes some 3 s; a slow machine gets ten times that.
START_SECONDS = 60.0
# The store has SPANWISE_EXIT_TIMEOUT to deliver what it still holds, and its requests to end.
STOP_SECONDS = 15.0
ENDLESS = 100_000


@click.command()
@click.option("--once", is_flag=True, help="A bounded load; status 0 only if every recorded span arrived.")
@click.option("--rate", default=20.0, show_default=True, help="Requests a second.")
@click.option("--requests", type=click.IntRange(1), help="How many. [default: 300 with --once, else no end]")
@click.option("--port", default=0, help="The console's port. [default: a free one]")
@click.option("--keep", type=click.Path(file_okay=False, path_type=Path), help="Folder for the data.")
@click.option(
    "--store",
    "folder",
    default=Path("examples/store"),
    show_default=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="The example application.",
)
def demo(once: bool, rate: float, requests: int | None, port: int, keep: Path | None, folder: Path) -> None:
    """Run the example store under load, with telemetry, and watch it arrive.

    Starts the console, the store under `spanwise run`, and the load generator, all on this machine.
    Ctrl-C ends them.
    """
    if not (folder / "app.py").is_file():
        raise SpanwiseError(
            "the example store is not here",
            where=str(folder),
            fix="Run this in the source folder, or use --store",
        )
    count = requests or (300 if once else ENDLESS)
    # SIGTERM, as a supervisor sends it, ends all of it as Ctrl-C does.
    ended = _ends_by_signal()
    with contextlib.ExitStack() as stack:
        data = keep or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="spanwise-demo-")))
        data.mkdir(parents=True, exist_ok=True)
        console = stack.enter_context(start(data / DATABASE, port=port))
        store = stack.enter_context(
            _program(_store_command(folder), _store_environment(console, data), data / "store.log")
        )
        address = _address(store, data / "store.log")
        click.echo(f"Console  {console.url}")
        click.echo(f"Store    {address}")
        load = stack.enter_context(
            _program(_load_command(folder, address, rate, count), dict(os.environ), data / "load.log")
        )
        try:
            _watch(console, load, store, ended, once=once)
        except KeyboardInterrupt:
            click.echo("\nEnding …")
        _end(load)
        _end(store)
        arrived = _account(console)
    if keep is None:
        click.echo(
            "The console has ended and its data is gone. With --keep FOLDER it stays, "
            f"and `spanwise console --database FOLDER/{DATABASE}` shows it"
        )
    if once and not arrived:
        sys.exit(1)


def _store_command(folder: Path) -> list[str]:
    return [sys.executable, "-m", "spanwise", "run", sys.executable, str(folder / "app.py")]


def _store_environment(console: RunningConsole, data: Path) -> dict[str, str]:
    given = {
        "PORT": "0",
        "STORE_DATA_DIR": str(data),
        "OTEL_EXPORTER_OTLP_ENDPOINT": console.otlp_endpoint,
        "OTEL_SERVICE_NAME": "store",
        # The page should follow what happens, not trail it by the default 5 s and 60 s.
        "OTEL_BSP_SCHEDULE_DELAY": "500",
        "OTEL_METRIC_EXPORT_INTERVAL": "2000",
        "PYTHONUNBUFFERED": "1",
    }
    return environment({**os.environ, **given})


def _load_command(folder: Path, address: str, rate: float, count: int) -> list[str]:
    return [
        sys.executable, str(folder / "load.py"), "--url", address, "--rate", str(rate),
        "--requests", str(count), "--quiet",
    ]  # fmt: skip


@contextlib.contextmanager
def _program(command: list[str], environ: dict[str, str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A child whose output goes to a file, ended with the block whatever happens in it."""
    with log.open("wb") as output:
        # A session of its own: Ctrl-C reaches us alone, and the order of ending is ours.
        child = subprocess.Popen(
            command, env=environ, stdout=output, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
            start_new_session=True,
        )  # fmt: skip
    try:
        yield child
    finally:
        _end(child)


def _end(child: subprocess.Popen[bytes]) -> None:
    if child.poll() is None:
        child.send_signal(signal.SIGTERM)
        try:
            child.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


def _address(store: subprocess.Popen[bytes], log: Path) -> str:
    """Where the store listens, once it says so."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        text = log.read_text("utf-8", "replace")
        for line in text.splitlines():
            if line.startswith(LISTENING):
                return line.removeprefix(LISTENING).strip()
        if store.poll() is not None:
            raise SpanwiseError(
                f"the store ended at once:\n{text[-2000:]}", fix="Run examples/store/app.py by hand"
            )
        time.sleep(0.05)
    raise SpanwiseError(f"the store does not answer after {START_SECONDS:.0f} s", where=str(log))


def _ends_by_signal() -> threading.Event:
    """Set by SIGINT and SIGTERM, which raise KeyboardInterrupt too: that is lost where a finalizer runs."""
    ended = threading.Event()

    def end(_number: int, _frame: object) -> None:
        ended.set()
        raise KeyboardInterrupt

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, end)
    return ended


def _watch(
    console: RunningConsole,
    load: subprocess.Popen[bytes],
    store: subprocess.Popen[bytes],
    ended: threading.Event,
    *,
    once: bool,
) -> None:
    """Shows what arrives until the load ends (``once``) or forever."""
    from rich.console import Console
    from rich.live import Live

    screen = Console()
    started = time.monotonic()
    if not screen.is_terminal:
        while load.poll() is None and store.poll() is None and not ended.is_set():
            with contextlib.suppress(subprocess.TimeoutExpired):
                load.wait(5)
            summary = console.summary()
            click.echo(
                f"{time.monotonic() - started:4.0f} s  {summary.traces} traces, {summary.spans} spans, "
                f"{summary.errors} failed"
            )
        return
    with Live(console=screen, refresh_per_second=2, get_renderable=lambda: _table(console, started)):
        while store.poll() is None and not ended.is_set() and not (once and load.poll() is not None):
            time.sleep(0.2)


def _table(console: RunningConsole, started: float) -> RenderableType:
    from rich.table import Table

    summary = console.summary()
    table = Table(title=f"arrived after {time.monotonic() - started:.0f} s", title_justify="left")
    table.add_column("slowest traces")
    table.add_column("ms", justify="right")
    for trace in summary.slowest:
        table.add_row(trace.name, f"{trace.duration_ms:,.1f}")
    table.caption = (
        f"{summary.traces:,} traces · {summary.spans:,} spans · {summary.errors:,} failed spans · "
        f"{summary.points:,} metric points · {summary.logs:,} log records"
    )
    return table


def _account(console: RunningConsole) -> bool:
    """Prints what was recorded and what arrived; tells whether they are the same."""
    summary = console.summary()
    click.echo(
        f"\n{summary.traces} traces, {summary.spans} spans, {summary.errors} failed spans "
        "(the load asks for routes that fail and that are slow)"
    )
    for trace in summary.slowest:
        click.echo(f"  {trace.duration_ms:9.1f} ms  {trace.name}")
    accounts = console.accounting()
    complete = bool(accounts)
    for account in accounts:
        dropped = sum(account.dropped.values())
        whole = account.recorded is not None and account.stored == account.recorded and not dropped
        complete = complete and whole
        recorded = "unknown" if account.recorded is None else account.recorded
        click.echo(
            f"{account.service} ({account.instance}): {recorded} spans recorded, {account.stored} arrived, "
            f"{dropped} dropped: {'complete' if whole else 'INCOMPLETE'}"
        )
    if not accounts:
        click.echo("nothing arrived")
    return complete
