"""What a thresholds file holds once it is read, merged and checked."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from spanwise.errors import ThresholdsError
from spanwise.rules.model import Rule
from spanwise.thresholds.document import Node

__all__ = ["SHIPPED", "Entry", "Field", "Kind", "Thresholds"]

SHIPPED = "defaults.yaml"
"""The shipped defaults' file, as places name it."""


class Field(NamedTuple):
    """One key of an entry.

    Attributes:
        read: makes the value; raises ThresholdsError with the value's place. What it reads is said in
            :mod:`spanwise.thresholds.shapes`.
        required: the entry is incomplete without it.
        meaning: one line for messages and editors.
        written: the value as it is shown to people: without what is secret in it.
    """

    read: Callable[[Node], Any]
    required: bool = False
    meaning: str = ""
    written: Callable[[Node], str] = lambda node: node.written


@dataclass(frozen=True)
class Entry:
    """A named entry of a section after defaults, profile and the user's file.

    Attributes:
        name: its name in the file.
        kind: the kind's name.
        values: what its fields say, by key; absent ones are missing.
        places: where each value was written (file:line:column), by key.
        place: where the entry's last layer begins.
        written: each value as it was written, without what is secret in it, by key.
    """

    name: str
    kind: str
    values: Mapping[str, Any]
    places: Mapping[str, str]
    place: str
    written: Mapping[str, str] = field(default_factory=dict)

    def error(self, key: str, what: str, fix: str = "") -> ThresholdsError:
        """An error about one of its values, at the place where that was written."""
        return ThresholdsError(f"{self.name}: {what}", where=self.places.get(key, self.place), fix=fix)

    def said(self, key: str) -> str:
        """A field with its value as it was written, and whether that is a shipped one, for messages."""
        default = ", the shipped default" if self.places[key].startswith(f"{SHIPPED}:") else ""
        return f"{key} ({self.written[key]}{default})"


class Kind(NamedTuple):
    """A kind of entry: what it may say, and the neutral rules it comes to.

    Attributes:
        name: the kind's name.
        section: the section of the file it stands in: ``spans``, ``metrics``, ``objectives`` or ``gate``.
        key: the field that tells it from the section's other kinds; empty where there is only one.
        fields: its fields, by key.
        lower: makes the neutral rules; raises ThresholdsError where the values do not go together.
        relate: the same for a kind about others' rules: it is called with all that ``lower`` made.
    """

    name: str
    section: str
    key: str
    fields: Mapping[str, Field]
    lower: Callable[[Entry], tuple[Rule, ...]]
    relate: Callable[[Entry, Sequence[Rule]], tuple[Rule, ...]] | None = None


@dataclass(frozen=True)
class Thresholds:
    """The thresholds that hold.

    Attributes:
        profile: the profile in force; empty for none.
        entries: those of the spans, metrics and objectives by name, then the alerts' and the sampling's.
        rules: the neutral rules they come to.
        settings: the ``settings:`` mapping, for :func:`spanwise.sources.load`.
        source: the user's file; empty for the shipped defaults alone.
    """

    profile: str
    entries: tuple[Entry, ...]
    rules: tuple[Rule, ...]
    settings: dict[str, object] = field(default_factory=dict)
    source: str = ""
