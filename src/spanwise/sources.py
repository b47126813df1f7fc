"""Reads the settings from their sources: argument, environment, thresholds file, default."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from spanwise import values
from spanwise.settings import OTLP, SIGNALS, Exporter, Settings, documentation, fields
from spanwise.shown import short_repr

__all__ = ["load", "thresholds_file"]


class _Found(NamedTuple):
    """A setting's value, and where it came from."""

    value: Any
    place: str


def _known_names() -> list[str]:
    general = [field.name for field in fields(Exporter)]
    of_signals = [f"{signal}_{name}" for signal in SIGNALS for name in general]
    return [field.name for field in fields(Settings)] + general + of_signals


def _hint(name: str) -> str:
    """The nearest setting's name in code, for a variable's name or a misspelt one."""
    import difflib  # nobody's start needs it but that of who misspells

    meant = {each: each for each in _known_names()}
    for variable, field, _, _ in documentation():
        for prefix in ("", "otel_", "otel_exporter_", "spanwise_"):
            meant.setdefault(variable.lower().removeprefix(prefix), field)
    close = difflib.get_close_matches(name.lower(), meant, n=1, cutoff=0.75)
    return f"Did you mean {meant[close[0]]!r}?" if close else "The README lists all settings"


def _as_text(value: object) -> str:
    """A value of an argument or of the file, written as a variable would have it.

    Raises:
        ValueError: it is of a type that no setting is given by.
    """
    if isinstance(value, (list, tuple, set, frozenset)):
        return ",".join(map(_as_text, value))
    if isinstance(value, os.PathLike):
        value = os.fspath(value)
    if not isinstance(value, (str, int, float)):
        raise ValueError(f"a setting cannot be of type {type(value).__name__}")
    return str(value)


def _given(value: object, parse: Callable[[Any], Any]) -> Any:
    """What the parser reads: text, or headers as the mapping or the pairs that they are."""
    if parse is values.headers:
        if isinstance(value, Mapping):
            return value
        if isinstance(value, (list, tuple)) and any(isinstance(each, (list, tuple)) for each in value):
            return [each if _is_pair(each) else (None, "") for each in value]
    return _as_text(value)


def _is_pair(value: object) -> bool:
    return isinstance(value, (list, tuple)) and len(value) == 2


class _Reader:
    """Looks a setting up in its sources, lowest first, and keeps what could not be used."""

    def __init__(
        self, arguments: Mapping[str, object], environ: Mapping[str, str], file: Mapping[str, object]
    ) -> None:
        self.arguments, self.environ, self.file = arguments, environ, file
        self.problems: list[str] = []

    def note(self, problem: str) -> None:
        """Notes what is wrong for several signals once."""
        if problem not in self.problems:
            self.problems.append(problem)

    def read(self, name: str, variable: str, parse: Callable[[Any], Any], otherwise: object) -> _Found | None:
        """The value that holds, or None where no source has one that can be used.

        Args:
            name: the setting's, in code.
            variable: its environment variable.
            parse: makes the value from text.
            otherwise: what holds where None is found, for messages.
        """
        found = None
        unusable: list[tuple[str, str]] = []
        for place, value in (
            (f"thresholds file, settings: {name}", self.file.get(name)),
            # The specification: an empty variable counts as not set.
            (variable, self.environ.get(variable, "").strip() or None),
            (f"argument {name}", self.arguments.get(name)),
        ):
            if value is None:
                continue
            try:
                found = _Found(parse(_given(value, parse)), place)
            except values.Partly as error:
                found = _Found(error.value, place)
                rest = "The others are sent" if parse is values.headers else f"{error.value} is used"
                told = values.sentences(str(error), rest)
                self.problems.append(f"{_shown(name, value)} ({place}): {told}")
            except ValueError as error:
                unusable.append((place, f"{_shown(name, value)} cannot be used ({place}): {error}"))
            except Exception as error:  # an object of the application's that raises where it is read
                unusable.append(
                    (place, f"a value that raises {type(error).__name__} cannot be used ({place})")
                )
        for _, problem in unusable:
            used = otherwise if found is None else found.value
            self.problems.append(f"{problem}. {_used(name, used)}")
        return found


def _shown(name: str, value: object) -> str:
    """A value in a message: escaped, cut, and without what may be secret in it."""
    # Headers carry tokens: a mistyped one must not end up in a log.
    if name.endswith("headers"):
        return "the headers"
    try:
        text = _as_text(value)
    except Exception:
        text = type(value).__name__
    if name.endswith("endpoint"):
        text = values.without_secrets(text)
    return short_repr(text)


def _used(name: str, value: object) -> str:
    if name.endswith("headers"):
        return "Those of the next source are sent" if value else "They are ignored"
    text = ",".join(map(str, value)) if isinstance(value, tuple) else str("" if value is None else value)
    return f"{text.lower() if isinstance(value, bool) else text} is used" if text else "It is ignored"


def thresholds_file(settings: Settings) -> Path | None:
    """The thresholds file that holds: the setting's, else that of the working folder; None for neither."""
    path = Path(settings.thresholds or "thresholds.yaml")
    # Not Path.is_file, which raises where the working folder may not be searched, as under sudo -u.
    return path if settings.thresholds or os.path.isfile(path) else None


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

    chosen: dict[str, Any] = {}
    for field in fields(Settings):
        found = reader.read(field.name, field.metadata["env"], field.metadata["parse"], field.default)
        if found is not None:
            chosen[field.name] = found.value
    general: dict[str, _Found] = {}
    for field in fields(Exporter):
        variable = f"{OTLP}{field.metadata['env']}"
        found = reader.read(field.name, variable, field.metadata["parse"], field.default)
        if found is not None:
            general[field.name] = found
    for signal in SIGNALS:
        chosen[signal] = _exporter(reader, signal, general)
    settings = Settings(**chosen)
    for batch, queue in (("span_batch", "span_queue"), ("log_batch", "log_queue")):
        most = getattr(settings, queue)
        if getattr(settings, batch) > most:
            if batch in chosen:
                variables = {field.name: field.metadata["env"] for field in fields(Settings)}
                reader.problems.append(
                    f"{chosen[batch]} cannot be used ({variables[batch]}): a request cannot hold more"
                    f" than the queue ({variables[queue]}). {most} is used"
                )
            chosen[batch] = most
    return dataclasses.replace(settings, **chosen, problems=tuple(reader.problems))


def _exporter(reader: _Reader, signal: str, general: Mapping[str, _Found]) -> Exporter:
    """How a signal is sent: by its own settings, else by the general ones."""
    chosen = dict(general)
    for field in fields(Exporter):
        variable = f"{OTLP}{signal.upper()}_{field.metadata['env']}"
        otherwise = chosen[field.name].value if field.name in chosen else field.default
        found = reader.read(f"{signal}_{field.name}", variable, field.metadata["parse"], otherwise)
        if found is not None:
            chosen[field.name] = found
    own = chosen.get("endpoint") is not general.get("endpoint")
    made = Exporter(
        **{name: found.value for name, found in chosen.items()},
        endpoint_is_whole=own,
        places={name: found.place for name, found in chosen.items()},
    )
    if made.protocol != "grpc" and _has_no_scheme(made.endpoint):
        # What gRPC takes, and what is most often written. Whoever wrote it meant this address.
        scheme = "https" if made.endpoint.partition("/")[0].endswith(":443") else "http"
        made = dataclasses.replace(made, endpoint=f"{scheme}://{made.endpoint}")
        shown = values.without_secrets(made.endpoint)
        reader.note(f"the endpoint has no scheme ({made.place('endpoint')}): {shown} is used")
    lone = made.client_key and not made.client_certificate
    if lone:
        reader.note(
            f"{_shown('client_key', made.client_key)} has no effect ({made.place('client_key')}): no client"
            " certificate is set"
        )
    for name in ("certificate", "client_certificate", *([] if lone else ["client_key"])):
        path = getattr(made, name)
        # Where it is used, the delivery finds out, and says what it costs.
        if path and not made.encrypted and values.unreadable(path):
            reader.note(
                f"{_shown(name, path)} cannot be read ({made.place(name)}). It has no effect: the connection"
                " does not use TLS"
            )
    return made


def _has_no_scheme(endpoint: str) -> bool:
    """Whether it is ``host:port``, perhaps with a path."""
    host, _, port = endpoint.partition("/")[0].rpartition(":")
    return "://" not in endpoint and bool(host) and "@" not in host and port.isascii() and port.isdigit()
