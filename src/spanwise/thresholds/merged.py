"""The layers of the thresholds put together by name, and the rules they come to."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from spanwise.errors import ThresholdsError
from spanwise.rules.model import Objective, Rule, SpanRule
from spanwise.thresholds import sections
from spanwise.thresholds.document import Node, suggestion
from spanwise.thresholds.kinds.table import KINDS
from spanwise.thresholds.model import Entry, Field, Kind, Thresholds
from spanwise.thresholds.problems import Problems

__all__ = ["Merged", "known_keys"]

# Section -> the sections about its entries, with the key that names one; without it, the own name does.
_DEPENDENTS: Final = {"spans": (("objectives", "spans"),), "metrics": (("gate", "metric"),)}

# Names are written on spans, shown in terminals and used as alerts' names.
MAX_NAME = 100


def known_keys(node: Node, what: str, keys: Iterable[str], problems: Problems) -> dict[str, Node]:
    """The mapping's known keys; a problem for each other one, and for what is no mapping."""
    keys = tuple(keys)
    found = {}
    with problems.noted():
        for key, value in node.mapping(f"{what} as a mapping").items():
            if key in keys:
                found[key] = value
                continue
            problems.note(
                ThresholdsError(f"unknown key {key!r}", where=value.key_place, fix=suggestion(key, keys))
            )
    return found


class Merged:
    """The layers so far: fields by entry by section, as nodes, so that each keeps its place.

    Args:
        problems: where mistakes are noted.
    """

    def __init__(self, problems: Problems) -> None:
        self._problems = problems
        self._entries: dict[str, dict[str, dict[str, Node]]] = {kind.section: {} for kind in KINDS.values()}
        self._places: dict[tuple[str, str], str] = {}
        self._broken: set[tuple[str, str]] = set()
        self._single: dict[str, dict[str, Node]] = {"settings": {}, **{each: {} for each in sections.SINGLE}}

    def add(self, layer: Mapping[str, Node]) -> None:
        """Puts a layer's fields over what is there."""
        for section, entries in self._entries.items():
            if section in layer:
                with self._problems.noted():
                    for name, node in layer[section].mapping(f"{section} by name").items():
                        with self._problems.noted():
                            self._entry(section, entries, name, node)
        for section, fields in self._single.items():
            if section in sections.SINGLE and section in layer:
                known = sections.SINGLE[section].fields
                fields.update(known_keys(layer[section], section, known, self._problems))
            elif section in layer:
                with self._problems.noted():
                    fields.update(layer[section].mapping(f"{section} as a mapping"))

    def _entry(self, section: str, entries: dict[str, dict[str, Node]], name: str, node: Node) -> None:
        if not name.strip() or len(name) > MAX_NAME or not name.isprintable():
            raise ThresholdsError(
                f"{name[:MAX_NAME]!r} cannot be a name",
                where=node.key_place,
                fix=f"Use up to {MAX_NAME} printable characters",
            )
        if node.scalar == "bool" and str(node.value).lower() in ("off", "false", "no"):
            entries.pop(name, None)
            self._forget_dependents(section, name)
            return
        node.mapping("an entry as a mapping, or off")
        before_this = len(self._problems.found)
        given = known_keys(node, name, _fields_of(section), self._problems)
        if len(self._problems.found) > before_this:
            # What was misspelt is also missing: one mistake, told once.
            self._broken.add((section, name))
        before = entries.get(name, {})
        keys = [kind.key for kind in KINDS.values() if kind.section == section and kind.key]
        if any(key in given and key not in before for key in keys):
            before = {}  # another kind of the same name: nothing of the old one is meant
        entries[name] = {**before, **given}
        self._places[section, name] = node.key_place

    def _forget_dependents(self, section: str, rule: str) -> None:
        """What earlier layers said about an entry that is off: without it nothing can be said of it."""
        for dependent, key in _DEPENDENTS.get(section, ()):
            about = self._entries[dependent]
            for name, fields in list(about.items()):
                if (fields[key].value if key in fields else name) == rule:
                    del about[name]

    def thresholds(self, profile: str, source: str) -> Thresholds:
        """What the layers come to.

        Raises:
            ThresholdsError: something in them cannot be used; ThresholdsErrors for several such things.
        """
        found: list[Entry] = []
        rules: list[Rule] = []
        related: list[tuple[Entry, Callable[[Entry, Sequence[Rule]], tuple[Rule, ...]]]] = []
        for section, entries in self._entries.items():
            for name, fields in sorted(entries.items()):
                if (section, name) in self._broken:
                    continue
                with self._problems.noted():
                    place = self._places[section, name]
                    kind = _kind(section, name, fields, place)
                    entry = _read_entry(name, kind.name, kind.fields, fields, place)
                    lowered = kind.lower(entry)
                    found.append(entry)
                    rules += lowered
                    if kind.relate is not None:
                        related.append((entry, kind.relate))
        if not self._problems.found:
            # What another entry lacks would be told a second time here.
            for entry, relate in related:
                with self._problems.noted():
                    rules += relate(entry, tuple(rules))
        for section, single in sections.SINGLE.items():
            with self._problems.noted():
                entry = _read_entry(section, section, single.fields, self._single[section], "")
                rules.append(single.lower(entry))
                found.append(entry)
        if not self._problems.found:
            _check_objectives(found, rules, self._problems)
        settings: dict[str, object] = {}
        for key, node in self._single["settings"].items():
            with self._problems.noted():
                settings[key] = node.plain()
        self._problems.settle()
        return Thresholds(profile, tuple(found), tuple(rules), settings, source)


def _check_objectives(entries: list[Entry], rules: list[Rule], problems: Problems) -> None:
    """An objective about spans that nothing rates would be met for ever."""
    known = [rule.name for rule in rules if isinstance(rule, SpanRule)]
    wanted = {rule.name: rule.rule for rule in rules if isinstance(rule, Objective)}
    for entry in entries:
        if entry.kind == "objective" and wanted[entry.name] not in known:
            missing = wanted[entry.name]
            key = "spans" if "spans" in entry.values else ""
            problems.note(entry.error(key, f"no entry of spans: is {missing!r}", suggestion(missing, known)))


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
    problems = Problems()
    for key, node in fields.items():
        if key not in known:
            problems.note(
                ThresholdsError(
                    f"{name}: a {kind} has no {key!r}", where=node.key_place, fix=suggestion(key, known)
                )
            )
            continue
        with problems.noted():
            values[key] = known[key].read(node)
    for key, each in known.items():
        if each.required and key not in fields:
            problems.note(
                ThresholdsError(f"{name}: {key!r} is missing", where=place, fix=f"It is {each.meaning}")
            )
    problems.settle()
    places = {key: node.place for key, node in fields.items()}
    written = {key: known[key].written(node) for key, node in fields.items()}
    return Entry(name, kind, values, places, place, written)
