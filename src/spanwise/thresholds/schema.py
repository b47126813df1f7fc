"""The JSON Schema of thresholds files, made of the kinds' fields: what an editor completes and checks by.

It is wider than the reader: a file may be good for the schema and refused by `spanwise thresholds check`,
never the other way round.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from spanwise.thresholds import sections
from spanwise.thresholds.kinds.table import KINDS
from spanwise.thresholds.model import Field, Kind
from spanwise.thresholds.shapes import shape_of

__all__ = ["document"]


def document() -> dict[str, Any]:
    """The schema, as JSON's own types."""
    parts = _sections()
    profile = {"type": "object", "properties": parts, "additionalProperties": False}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "spanwise thresholds",
        "type": "object",
        "required": ["version"],
        "additionalProperties": False,
        "properties": {
            "version": {"enum": [1, "1"]},
            "profile": {"type": "string", "description": "the one of the profiles that holds"},
            "profiles": {
                "type": "object",
                "description": "sets of changes by name",
                "additionalProperties": _or_nothing(profile),
            },
            **parts,
        },
    }


def _sections() -> dict[str, Any]:
    found: dict[str, Any] = {}
    for section in sections.SECTIONS:
        kinds = [kind for kind in KINDS.values() if kind.section == section]
        if kinds:
            found[section] = _or_nothing(
                {
                    "type": "object",
                    # `off` is false for YAML 1.1 and a word for 1.2.
                    "additionalProperties": {"anyOf": [{"enum": [False, "off", "no"]}, _entry(kinds)]},
                }
            )
        elif section in sections.SINGLE:
            found[section] = _or_nothing(_object([sections.SINGLE[section].fields]))
        else:
            found[section] = {"type": ["object", "null"]}
    return found


def _entry(kinds: Iterable[Kind]) -> dict[str, Any]:
    # No field is required: an entry may change single fields of another layer's.
    return _or_nothing(_object([kind.fields for kind in kinds]))


def _object(kinds: Iterable[Mapping[str, Field]]) -> dict[str, Any]:
    properties: dict[str, list[dict[str, Any]]] = {}
    for fields in kinds:
        for key, each in fields.items():
            said = {"description": each.meaning, **shape_of(each.read)}
            if said not in properties.setdefault(key, []):
                properties[key].append(said)
    return {
        "type": "object",
        "properties": {
            key: said[0] if len(said) == 1 else {"anyOf": said} for key, said in sorted(properties.items())
        },
        "additionalProperties": False,
    }


def _or_nothing(schema: dict[str, Any]) -> dict[str, Any]:
    """An empty mapping may be left out after the colon, which YAML reads as null."""
    return {**schema, "type": [schema["type"], "null"]}
