"""Reads the settings from their sources: argument, environment, thresholds file, default."""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from spanwise.settings import OTLP, SIGNALS, Exporter, Settings, documentation, fields

__all__ = ["load", "thresholds_file"]


def _known_names() -> list[str]:
    general = [field.name for field in fields(Exporter)]
    of_signals = [f"{signal}_{name}" for signal in SIGNALS for name in general]
    return [field.name for field in fields(Settings)] + general + of_signals


def _hint(name: str) -> str:
    """What somebody may have meant: the name in code of a variable, or of something close."""
    meant = {each: each for each in _known_names()}
    for variable, field, _, _ in documentation():
        for prefix in ("", "otel_", "spanwise_"):
            meant.setdefault(variable.lower().removeprefix(prefix), field)
    close = difflib.get_close_matches(name.lower(), meant, n=1, cutoff=0.75)
    return f"Did you mean {meant[close[0]]!r}?" if close else "The README's table of settings has all names"


def _as_text(value: object) -> str:
    """A value of an argument or of the file, written as a variable would have it."""
    if isinstance(value, Mapping):
        return ",".join(f"{quote(str(key))}={quote(str(each))}" for key, each in value.items())
    return ",".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)


class _Reader:
    """Looks a setting up in its sources, lowest first, and keeps what could not be used."""

    def __init__(
        self, arguments: Mapping[str, object], environ: Mapping[str, str], file: Mapping[str, object]
    ) -> None:
        self.arguments, self.environ, self.file = arguments, environ, file
        self.problems: list[str] = []

    def read(self, name: str, variable: str, parse: Callable[[str], Any]) -> Any:
        """The value that holds, or None where no source has one that can be used."""
        found = None
        for place, value in (
            (f"thresholds file, settings: {name}", self.file.get(name)),
            # The specification: an empty variable counts as not set.
            (variable, self.environ.get(variable, "").strip() or None),
            (f"argument {name}", self.arguments.get(name)),
        ):
            if value is None:
                continue
            text = _as_text(value)
            try:
                found = parse(text)
            except ValueError as error:
                # Headers carry tokens: a mistyped one must not end up in a log.
                shown = "the value" if name.endswith("headers") else repr(text)
                problem = f"{shown} cannot be used ({place}): {error}. The next source or the default holds"
                self.problems.append(problem)
        return found


def thresholds_file(settings: Settings) -> Path | None:
    """The thresholds file that holds: the setting's, else that of the working folder; None for neither."""
    path = Path(settings.thresholds or "thresholds.yaml")
    return path if settings.thresholds or path.is_file() else None


def load(
    arguments: Mapping[str, object] | None = None,
    environ: Mapping[str, str] | None = None,
    file: Mapping[str, object] | None = None,
) -> Settings:
    """Reads all settings.

    Args:
        arguments: by field name, for example ``{"endpoint": "http://collector:4318"}``.
        environ: environment variables; the process's own by default.
        file: the ``settings:`` mapping of the thresholds file, by field name.

    Returns:
        One frozen object. What could not be used is told in its ``problems``.
    """
    reader = _Reader(arguments or {}, os.environ if environ is None else environ, file or {})
    known = _known_names()
    for label, source in (("thresholds file, settings", reader.file), ("argument", reader.arguments)):
        for name in source:
            if name not in known:
                reader.problems.append(f"unknown setting {name!r} ({label}). {_hint(name)}")

    values: dict[str, Any] = {}
    for field in fields(Settings):
        value = reader.read(field.name, field.metadata["env"], field.metadata["parse"])
        if value is not None:
            values[field.name] = value
    general = {
        field.name: reader.read(field.name, f"{OTLP}{field.metadata['env']}", field.metadata["parse"])
        for field in fields(Exporter)
    }
    for signal in SIGNALS:
        chosen: dict[str, Any] = {name: value for name, value in general.items() if value is not None}
        for field in fields(Exporter):
            variable = f"{OTLP}{signal.upper()}_{field.metadata['env']}"
            value = reader.read(f"{signal}_{field.name}", variable, field.metadata["parse"])
            if value is not None:
                chosen[field.name] = value
                if field.name == "endpoint":
                    chosen["endpoint_is_whole"] = True
        values[signal] = Exporter(**chosen)
    return Settings(**values, problems=tuple(reader.problems))
