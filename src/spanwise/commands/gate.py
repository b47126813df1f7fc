"""``spanwise gate``: whether a deployment may go on, by its exit status."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from spanwise.commands.chosen import PROFILE_HELP, THRESHOLDS_HELP, chosen

if TYPE_CHECKING:
    from spanwise.gate.gate import Verdict
    from spanwise.gate.questions import Question, Scope
    from spanwise.gate.server import Headers

__all__ = ["gate"]

HEADERS: Final = "SPANWISE_PROMETHEUS_HEADERS"
_CANNOT_TELL: Final = 2
_INTERRUPTED: Final = 130


def _duration(_ctx: click.Context, _param: click.Parameter, value: str | None) -> int | None:
    """A duration as the thresholds file has it, in nanoseconds."""
    from spanwise.errors import ThresholdsError
    from spanwise.thresholds import units
    from spanwise.thresholds.document import Node

    try:
        return None if value is None else units.duration(Node(value, "", "str"))
    except ThresholdsError as error:
        raise click.BadParameter(f"{error.what}. {error.fix}".strip(". ")) from None


def _pairs(
    _ctx: click.Context, _param: click.Parameter, values: tuple[str, ...]
) -> tuple[tuple[str, str], ...]:
    found = []
    for each in values:
        label, separator, text = each.partition("=")
        # Those of Prometheus's data model.
        if not separator or not label.isascii() or not label.isidentifier():
            raise click.BadParameter(f"{each!r} is no label=value")
        found.append((label, text))
    return tuple(found)


@click.command()
@click.option("--prometheus", "address", required=True, metavar="URL", help="The Prometheus that is asked.")
@click.option("--service", default="", metavar="NAME", help="Only what this service sends (service.name).")
@click.option(
    "--version", "release", default="", metavar="V", help="Only this version of it (service.version)."
)
@click.option(
    "--match",
    multiple=True,
    callback=_pairs,
    metavar="LABEL=VALUE",
    help="Only series with this label, by Prometheus's name. May be given more than once.",
)
@click.option(
    "--window",
    callback=_duration,
    default="10m",
    show_default=True,
    help="How far back: 90s, 10m, 1h.",
)
@click.option(
    "--severity",
    type=click.Choice(["critical", "warning"]),
    default="critical",
    show_default=True,
    help="The mildest limits that count.",
)
@click.option("--ignore", multiple=True, metavar="RULE", help="A rule that does not count. May be repeated.")
@click.option(
    "--thresholds",
    "file",
    type=click.Path(path_type=Path),
    help=THRESHOLDS_HELP,
)
@click.option("--profile", help=PROFILE_HELP)
@click.option(
    "--wait",
    callback=_duration,
    help="Go on looking for so long: a breach ends it at once, else the last look decides.",
)
@click.option(
    "--every",
    callback=_duration,
    default="30s",
    show_default=True,
    help="Between two looks, with --wait.",
)
@click.option(
    "--headers",
    type=click.Path(path_type=Path),
    help=f"File of headers to send, a line each: 'Authorization: Bearer …'. Else {HEADERS}=key=value,…",
)
@click.option("--timeout", callback=_duration, default="10s", show_default=True, help="Wait for one answer.")
@click.option("--json", "as_json", is_flag=True, help="Print the verdict as JSON.")
def gate(as_json: bool, **options: Any) -> None:
    """Say whether a deployment may go on: exit 0 if no limit was passed, 1 if one was, 2 if it cannot tell.

    Every critical limit of the thresholds' metrics: counts, and every objective's quickest burn rate. An
    entry of gate: takes the place of the limit of its name, and must be measured. Limits are judged over the
    window with their for:, as Prometheus would have.

    Only a passed limit is 1. A Prometheus that does not answer, a service that sends nothing, too little
    traffic: all of that is 2.
    """
    try:
        status = _run(as_json, **options)
    except KeyboardInterrupt:
        status = _INTERRUPTED
    except click.ClickException:
        raise  # of a wrong option; it exits with 2
    except Exception as error:
        # Python's own status for an error is 1, and would roll back a deployment that nothing is wrong with.
        from spanwise.errors import SpanwiseError

        status = _CANNOT_TELL
        said = str(error) if isinstance(error, SpanwiseError) else f"{type(error).__name__}: {error}"
        _tell(f"spanwise: cannot tell: {said}")
        if as_json:
            _print(json.dumps({"verdict": "unknown", "exit": status, "reason": said}, indent=2))
    sys.exit(status)


def _run(
    as_json: bool,
    *,
    address: str,
    service: str,
    release: str,
    match: tuple[tuple[str, str], ...],
    window: int,
    severity: str,
    ignore: tuple[str, ...],
    file: Path | None,
    profile: str | None,
    wait: int | None,
    every: int,
    headers: Path | None,
    timeout: int,
) -> int:
    from spanwise.gate.gate import EXIT, ask
    from spanwise.gate.questions import Scope, questions
    from spanwise.gate.server import Server
    from spanwise.thresholds.load import load

    rules = load(*chosen(file, profile)).rules
    scope = Scope(service, release, match)
    asked = _without(questions(rules, scope, window, severity), ignore)
    server = Server(address, _headers(headers), timeout / 1e9)
    verdict = _watch(lambda: ask(asked, scope, server, window / 1e9), (wait or 0) / 1e9, every / 1e9)
    if as_json:
        said = {**verdict.as_dict(), "window_seconds": window / 1e9, "scope": dict(_labels(scope))}
        _print(json.dumps(said, indent=2, ensure_ascii=False))
    else:
        from spanwise.commands.gate_shown import show

        _guarded(lambda: show(verdict, scope))
    return EXIT[verdict.verdict]


def _without(asked: list[Question], ignored: tuple[str, ...]) -> list[Question]:
    from spanwise.thresholds.document import suggestion

    names = {each.rule.name for each in asked}
    for name in ignored:
        if name not in names:
            raise click.UsageError(f"--ignore {name}: no such rule counts. {suggestion(name, names)}")
    return [each for each in asked if each.rule.name not in ignored]


def _headers(file: Path | None) -> Headers:
    from spanwise import values
    from spanwise.errors import ConfigurationError
    from spanwise.gate.server import check_headers

    if file is None:
        try:
            return check_headers(values.headers(os.environ.get(HEADERS, "")), HEADERS)
        except ValueError as error:  # it does not show the text
            raise ConfigurationError("the headers cannot be read", where=HEADERS, fix=str(error)) from None
    try:
        lines = file.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise ConfigurationError(f"cannot read the headers: {reason}", where=str(file)) from None
    found = []
    for number, line in enumerate(lines, 1):
        name, separator, value = line.partition(":")
        if line.strip() and not separator:
            raise ConfigurationError(
                "this line is no header", where=f"{file}:{number}", fix="Write it as Name: value"
            )
        if separator:
            found.append((name.strip(), value.strip()))
    return check_headers(tuple(found), str(file))


def _watch(look: Callable[[], Verdict], wait: float, every: float) -> Verdict:
    """Looks until a breach, or until the time has passed; what the last look, at its end, says holds.

    Raises:
        SpanwiseError: of the last look. One before it is told, and passed over.
    """
    from spanwise.errors import SpanwiseError
    from spanwise.gate.judge import BREACHED

    end = time.monotonic() + wait
    while True:
        last = time.monotonic() >= end
        try:
            verdict = look()
            if last or verdict.verdict == BREACHED:
                return verdict
            _tell(f"spanwise: {verdict.verdict}; looking on for {max(0.0, end - time.monotonic()):.0f} s")
        except SpanwiseError as error:
            if last:
                raise
            _tell(f"spanwise: cannot tell yet: {error}")
        time.sleep(max(0.0, min(every, end - time.monotonic())))


def _labels(scope: Scope) -> list[tuple[str, str]]:
    from spanwise.artefacts.prometheus_names import label

    return [(label(key), value) for key, value in scope.labels]


def _print(text: str) -> None:
    _guarded(lambda: print(text, flush=True))


def _tell(text: str) -> None:
    _guarded(lambda: print(text, file=sys.stderr, flush=True))


def _guarded(write: Callable[[], object]) -> None:
    """Writes, if anybody reads: the exit status is what counts, and must not depend on it."""
    try:
        write()
    except (OSError, ValueError, SystemExit):  # rich ends the process with 1 where a pipe is closed
        # What is left in the buffer is written at the end of Python, and would fail again.
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115
