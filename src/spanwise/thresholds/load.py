"""Reads the thresholds: the shipped defaults, then a profile, then a user's file, merged by name.

A later layer replaces single fields of an entry of the same name, and ``off`` removes the entry.
Order: defaults, the defaults' profile, the user's file, the user's profile.
"""

from __future__ import annotations

import stat
from importlib import resources
from pathlib import Path

from spanwise.errors import ThresholdsError
from spanwise.rules.model import Rule
from spanwise.thresholds import sections
from spanwise.thresholds.describe import describe, summary
from spanwise.thresholds.document import MAX_CHARACTERS, Node, parse, suggestion
from spanwise.thresholds.merged import Merged, known_keys
from spanwise.thresholds.model import SHIPPED, Thresholds
from spanwise.thresholds.problems import Problems

__all__ = ["describe", "load", "lower", "read", "summary"]

VERSION = "1"


def load(path: Path | None = None, profile: str | None = None) -> Thresholds:
    """The thresholds that hold.

    Args:
        path: the user's file; None for the shipped defaults alone.
        profile: the profile, over the file's ``profile:``; None for what the file says.

    Raises:
        ThresholdsError: the file cannot be read, or something in it cannot be used; ``where`` tells
            file, line and column. ThresholdsErrors where several things cannot.
    """
    if path is None:
        return read(None, profile)
    try:
        # A pipe would never end, and the application never start. Of a folder the system's error says it.
        if not (stat.S_ISREG(mode := path.stat().st_mode) or stat.S_ISDIR(mode)):
            raise ThresholdsError("the thresholds are no regular file", where=str(path))
        with path.open(encoding="utf-8") as file:
            text = file.read(MAX_CHARACTERS + 1)  # one more is refused
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
    problems = Problems()
    layers = [_document(parse(shipped, SHIPPED), problems)]
    if text is not None:
        layers.append(_document(parse(text, file), problems))
    chosen = ""
    with problems.noted():
        chosen = _profile(layers, profile)
    merged = Merged(problems)
    for layer in layers:
        merged.add(layer)
        profiles = _profiles(layer, problems)
        if chosen in profiles:
            merged.add(known_keys(profiles[chosen], "a profile", sections.SECTIONS, problems))
    return merged.thresholds(chosen, file if text is not None else "")


def _document(root: Node, problems: Problems) -> dict[str, Node]:
    # What is no mapping has no entries to be told about.
    root.mapping("the thresholds as a mapping")
    found = known_keys(root, "the thresholds", sections.TOP_LEVEL, problems)
    version = found.get("version")
    if version is None:
        problems.note(root.error("the file does not say its version", f"Begin it with version: {VERSION}"))
    elif version.value != VERSION:
        # Another version may mean anything: nothing else of it can be judged.
        raise version.error(f"version {version.found} is not known", f"This spanwise reads version {VERSION}")
    # Each is checked, chosen or not: a mistake shows when it is made.
    for profile in _profiles(found, problems).values():
        Merged(problems).add(known_keys(profile, "a profile", sections.SECTIONS, problems))
    return found


def _profiles(layer: dict[str, Node], problems: Problems) -> dict[str, Node]:
    with problems.noted():
        return layer["profiles"].mapping("profiles by name") if "profiles" in layer else {}
    return {}


def _profile(layers: list[dict[str, Node]], given: str | None) -> str:
    known = {name for layer in layers for name in _profiles(layer, Problems())}
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
