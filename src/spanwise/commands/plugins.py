"""``spanwise plugins``: what each plugin costs, as the console has it."""

from __future__ import annotations

import http.client
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qs, urlsplit

import click

from spanwise.console.server import DEFAULT_HOST, DEFAULT_PORT
from spanwise.errors import MissingExtraError, SpanwiseError
from spanwise.shown import figure, printable

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["plugins"]

_SECONDS: Final = 30.0
_ABSENT: Final = object()
_NAMES: Final = ("service", "project", "plugin")
_TITLES: Final = ("calls", "errors", "mean", "max", "load", "memory")
_WIDEST: Final = 10_000  # columns; no terminal has more
_NUMBER: Final = (int, float, type(None))
_FIELDS: Final[dict[str, tuple[type, ...]]] = {
    **dict.fromkeys(("service", "project", "plugin"), (str,)),
    **dict.fromkeys(("calls", "errors"), (int,)),
    **dict.fromkeys(("mean_ms", "max_ms", "load_ms", "memory_bytes"), _NUMBER),
}
_START: Final = "Start one with 'spanwise console', or name the file of one that has ended with --database"


@click.command()
@click.option(
    "--console",
    "address",
    default=f"http://{DEFAULT_HOST}:{DEFAULT_PORT}/",
    show_default=True,
    help="The running console's page, as it printed it: with its token.",
)
@click.option(
    "--database",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Read this file instead, of a console that has ended.",
)
def plugins(address: str, database: Path | None) -> None:
    """Show calls, errors, durations, load time and memory of each plugin.

    From the spans that the console has received; needs an application that uses pluggy.
    """
    found = _from_file(database) if database is not None else _from_console(address)
    if not found:
        click.echo("No plugin has been seen. They are in the telemetry of applications that use pluggy.")
        return
    _show(found)


def _from_file(database: Path) -> list[dict[str, Any]]:
    try:
        from spanwise.console.queries.plugins import plugin_costs
        from spanwise.console.schema import open_for_reading

        connection = open_for_reading(database)
    except ModuleNotFoundError:
        raise MissingExtraError("console", "Reading the console's file") from None
    try:
        return [cost._asdict() for cost in plugin_costs(connection)]
    finally:
        connection.close()


def _from_console(address: str) -> list[dict[str, Any]]:
    parts = urlsplit(address)
    try:
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if parts.scheme != "http" or not host:
        raise SpanwiseError(
            "this is no console's address", where=address, fix="Copy the page's, with its token"
        )
    token = parse_qs(parts.query).get("token", [""])[0]
    connection = http.client.HTTPConnection(host, port or DEFAULT_PORT, timeout=_SECONDS)
    try:
        connection.request(
            "GET", "/api/plugins", headers={"authorization": f"Bearer {token}"} if token else {}
        )
        answer = connection.getresponse()
        body = answer.read()
        status = answer.status
        found = json.loads(body) if status == 200 else {}
    except (OSError, http.client.HTTPException, ValueError) as error:
        place = f"{host}:{port or DEFAULT_PORT}"
        raise SpanwiseError(f"no console answers: {error}", where=place, fix=_START) from None
    finally:
        connection.close()
    if status == 401:
        raise SpanwiseError(
            "the console wants its token",
            where=host,
            fix="Give --console the page's address as it printed it",
        )
    lines = found.get("plugins") if isinstance(found, dict) else None
    if status != 200 or not isinstance(lines, list) or not all(map(_is_line, lines)):
        raise SpanwiseError(
            f"this is no console of this version: it answered {status}, and not with plugins",
            where=address,
            fix=_START,
        )
    return lines


def _is_line(line: object) -> bool:
    return isinstance(line, dict) and all(
        type(line.get(field, _ABSENT)) in types for field, types in _FIELDS.items()
    )


def _show(lines: list[dict[str, Any]]) -> None:
    from rich.console import Console

    console = Console()
    shared = [name for name in _NAMES[:-1] if len({line[name] for line in lines}) == 1]
    for aside, narrow in (([], False), (shared, True)):
        table = _table(lines, [name for name in _NAMES if name not in aside], narrow=narrow)
        # As wide as it wants to be: rich itself would cut what is too long, names first.
        if console.measure(table, options=console.options.update(width=_WIDEST)).maximum <= console.width:
            for name in aside:
                click.echo(f"{name} {printable(lines[0][name])}")
            console.print(table)
            return
    for line in lines:
        click.echo(
            f"{printable(line['plugin'])}  ({printable(line['project'])}, {printable(line['service'])})"
        )
        figures = zip(_TITLES, _figures(line), strict=True)
        click.echo("    " + "  ".join(f"{title} {text}" for title, text in figures))


def _table(lines: list[dict[str, Any]], names: Sequence[str], *, narrow: bool) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table(header_style="bold", box=None, pad_edge=False) if narrow else Table(header_style="bold")
    for title in names:
        table.add_column(title, no_wrap=True)
    for title in _TITLES:
        table.add_column(title, justify="right", no_wrap=True)
    for line in lines:
        calls, errors, *others = _figures(line)
        style = "red" if line["errors"] else ""
        # Neither as markup nor as what moves a terminal's cursor: names are data.
        texts = (Text(printable(line[name])) for name in names)
        table.add_row(*texts, calls, Text(errors, style=style), *others)
    return table


def _figures(line: dict[str, Any]) -> tuple[str, ...]:
    """What :data:`_TITLES` are the titles of."""
    durations = (_duration(line[name]) for name in ("mean_ms", "max_ms", "load_ms"))
    return (str(line["calls"]), str(line["errors"]), *durations, _size(line["memory_bytes"]))


def _duration(milliseconds: float | None) -> str:
    if milliseconds is None:
        return "–"
    return f"{milliseconds / 1e3:.2f} s" if milliseconds >= 1_000 else f"{figure(milliseconds, 3)} ms"


def _size(count: int | None) -> str:
    return "–" if count is None else f"{count / 1e6:.1f} MB"
