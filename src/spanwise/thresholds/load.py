"""Reads the thresholds: the shipped defaults, then a profile, then a user's file, merged by name.

A later layer replaces single fields of an entry of the same name, and ``off`` removes the entry.
Order: defaults, the defaults' profile, the user's file, the user's profile.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from spanwise.errors import ThresholdsError
from spanwise.rules.model import Rule, Sampling
from spanwise.thresholds import sections
from spanwise.thresholds.describe import describe, summary
from spanwise.thresholds.document import Node, parse, suggestion
from spanwise.thresholds.kinds.table import KINDS
from spanwise.thresholds.model import Entry, Field, Kind, Thresholds

__all__ = ["describe", "load", "lower", "read", "summary"]

VERSION = "1"
SHIPPED = "defaults.yaml"

# Names are written on spans, shown in terminals and used as alerts' names.
MAX_NAME = 100


def load(path: Path | None = None, profile: str | None = None) -> Thresholds:
    """The thresholds that hold.

    Args:
        path: the user's file; None for the shipped defaults alone.
        profile: the profile, over the file's ``profile:``; None for what the file says.

    Raises:
        ThresholdsError: the file cannot be read, or something in it cannot be used; ``where`` tells
            file, line and column.
    """
    if path is None:
        return read(None, profile)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise ThresholdsError(f"cannot read the thresholds: {reason}", where=str(path)) from error
    return read(text, profile, str(path))


def lower(thresholds: Thresholds) -> tuple[Rule, ...]:
    """The neutral rules that the thresholds come to, in a stable order."""
    return thresholds.rules


def read(text: str | None, profile: str | None = None, file: str = "thresholds.yaml") -> Thresholds:
    """As :func:`load`, from a text.

    Args:
        text: the user's document; None for the shipped defaults alone.
        profile: the profile, over the document's own.
        file: the document's name, for messages.

    Raises:
        ThresholdsError: as :func:`load`.
    """
    shipped = resources.files("spanwise.thresholds").joinpath(SHIPPED).read_text(encoding="utf-8")
    layers = [_document(parse(shipped, SHIPPED))]
    if text is not None:
        layers.append(_document(parse(text, file)))
    chosen = _profile(layers, profile)
    merged = _Merged()
    for layer in layers:
        merged.add(layer)
        profiles = layer["profiles"].mapping("profiles by name") if "profiles" in layer else {}
        if chosen in profiles:
            merged.add(_known(profiles[chosen], "a profile", sections.SECTIONS))
    return merged.thresholds(chosen, file if text is not None else "")


def _document(root: Node) -> dict[str, Node]:
    found = _known(root, "the thresholds", sections.TOP_LEVEL)
    version = found.get("version")
    if version is None:
        raise root.error("the file does not say its version", f"Begin it with version: {VERSION}")
    if version.value != VERSION:
        raise version.error(f"version {version.found} is not known", f"This spanwise reads version {VERSION}")
    if "profiles" in found:
        # Each is checked, chosen or not: a mistake shows when it is made.
        for profile in found["profiles"].mapping("profiles by name").values():
            _Merged().add(_known(profile, "a profile", sections.SECTIONS))
    return found


def _profile(layers: list[dict[str, Node]], given: str | None) -> str:
    known = {
        name
        for layer in layers
        if "profiles" in layer
        for name in layer["profiles"].mapping("profiles by name")
    }
    if given:
        if given not in known:
            raise ThresholdsError(f"there is no profile {given!r}", fix=suggestion(given, known))
        return given
    for layer in reversed(layers):
        if "profile" in layer:
            node = layer["profile"]
            chosen = node.text("a profile's name")
            if chosen not in known:
                raise node.error(f"there is no profile {chosen!r}", suggestion(chosen, known))
            return chosen
    return ""


def _known(node: Node, what: str, keys: tuple[str, ...]) -> dict[str, Node]:
    found = node.mapping(f"{what} as a mapping")
    for key, value in found.items():
        if key not in keys:
            raise ThresholdsError(f"unknown key {key!r}", where=value.key_place, fix=suggestion(key, keys))
    return found


class _Merged:
    """The layers so far: fields by entry by section, as nodes, so that each keeps its place."""

    def __init__(self) -> None:
        self.entries: dict[str, dict[str, dict[str, Node]]] = {"spans": {}, "metrics": {}, "objectives": {}}
        self.places: dict[tuple[str, str], str] = {}
        self.single: dict[str, dict[str, Node]] = {
            "alerts": {},
            "sampling": {},
            "history": {},
            "settings": {},
        }

    def add(self, layer: Mapping[str, Node]) -> None:
        for section, entries in self.entries.items():
            if section in layer:
                for name, node in layer[section].mapping(f"{section} by name").items():
                    self._entry(section, entries, name, node)
        for section, fields in self.single.items():
            if section in layer:
                given = layer[section].mapping(f"{section} as a mapping")
                if section != "settings":
                    _known(layer[section], section, tuple(_single_fields(section)))
                fields.update(given)

    def _entry(self, section: str, entries: dict[str, dict[str, Node]], name: str, node: Node) -> None:
        if not name.strip() or len(name) > MAX_NAME or not name.isprintable():
            raise ThresholdsError(
                f"{name[:MAX_NAME]!r} cannot be a name",
                where=node.key_place,
                fix=f"Use up to {MAX_NAME} printable characters",
            )
        if node.scalar == "bool" and str(node.value).lower() in ("off", "false", "no"):
            entries.pop(name, None)
            return
        given = node.mapping("an entry as a mapping, or off")
        allowed = [*sections.OBJECTIVE] if section == "objectives" else _fields_of(section)
        _known(node, name, tuple(allowed))
        before = entries.get(name, {})
        keys = [kind.key for kind in KINDS.values() if kind.section == section and kind.key]
        if any(key in given and key not in before for key in keys):
            before = {}  # another kind of the same name: nothing of the old one is meant
        entries[name] = {**before, **given}
        self.places[section, name] = node.key_place

    def thresholds(self, profile: str, source: str) -> Thresholds:
        found: list[Entry] = []
        rules: list[Rule] = []
        for section in ("spans", "metrics"):
            for name, fields in sorted(self.entries[section].items()):
                place = self.places[section, name]
                kind = _kind(section, name, fields, place)
                entry = _read_entry(name, kind.name, kind.fields, fields, place)
                rules += kind.lower(entry)
                found.append(entry)
        values = {
            section: _read_entry(section, section, _single_fields(section), self.single[section], "")
            for section in ("alerts", "sampling", "history")
        }
        sampling = Sampling(**values["sampling"].values)
        objectives = tuple(
            _read_entry(name, "objective", sections.OBJECTIVE, fields, self.places["objectives", name])
            for name, fields in sorted(self.entries["objectives"].items())
        )
        return Thresholds(
            profile=profile,
            entries=tuple(found),
            rules=(*rules, sampling),
            sampling=sampling,
            objectives=objectives,
            alerts=values["alerts"].values,
            history=values["history"].values,
            settings={key: node.plain() for key, node in self.single["settings"].items()},
            source=source,
        )


def _single_fields(section: str) -> Mapping[str, Field]:
    return {"alerts": sections.ALERTS, "sampling": sections.SAMPLING, "history": sections.HISTORY}[section]


def _fields_of(section: str) -> list[str]:
    return sorted({key for kind in KINDS.values() if kind.section == section for key in kind.fields})


def _kind(section: str, name: str, fields: Mapping[str, Node], place: str) -> Kind:
    kinds = [kind for kind in KINDS.values() if kind.section == section]
    found = [kind for kind in kinds if not kind.key or kind.key in fields]
    if len(found) != 1:
        keys = ", ".join(kind.key for kind in kinds)
        what = "does not say what it watches" if not found else "watches two things"
        raise ThresholdsError(f"{name} {what}", where=place, fix=f"Give one of: {keys}")
    return found[0]


def _read_entry(
    name: str, kind: str, known: Mapping[str, Field], fields: Mapping[str, Node], place: str
) -> Entry:
    values: dict[str, Any] = {}
    for key, node in fields.items():
        if key not in known:
            raise ThresholdsError(
                f"{name}: a {kind} has no {key!r}", where=node.key_place, fix=suggestion(key, known)
            )
        values[key] = known[key].read(node)
    for key, each in known.items():
        if each.required and key not in values:
            raise ThresholdsError(f"{name}: {key!r} is missing", where=place, fix=f"It is {each.meaning}")
    return Entry(name, kind, values, {key: node.place for key, node in fields.items()}, place)
