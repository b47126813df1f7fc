"""YAML with the line and column of every key and value, and nothing of YAML that could surprise.

Refused: duplicate keys (YAML lets the last win in silence), anchors and aliases (a few lines can grow
to gigabytes), tags, several documents, keys that are not text, text that is no valid Unicode.
"""

from __future__ import annotations

import contextlib
import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import yaml

from spanwise.errors import ThresholdsError

__all__ = ["MAX_CHARACTERS", "Node", "parse", "suggestion"]

# Far above any file a person writes; a bound on the time that a wrong path can cost at start-up.
MAX_CHARACTERS = 1_000_000
"""Longer documents are refused; no reader need read on."""
MAX_DEPTH = 16

_TAGS = "tag:yaml.org,2002:"

# libyaml's loader where PyYAML was built with it: the pure one takes 20 times as long at every start.
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True)
class Node:
    """A value with its place.

    Attributes:
        value: the text of a scalar as written; a dict of Nodes by key; or a list of Nodes.
        place: file:line:column, counted from 1.
        scalar: how YAML understands a plain scalar: ``str``, ``int``, ``float``, ``bool`` or ``null``;
            empty for mappings and lists.
        key_place: where the key stands that leads here, if one does.
    """

    value: str | dict[str, Node] | list[Node]
    place: str
    scalar: str = ""
    key_place: str = ""

    def text(self, what: str) -> str:
        """The scalar's text. Raises ThresholdsError where there is none."""
        if isinstance(self.value, str) and self.scalar != "null":
            return self.value
        raise self.error(f"expected {what}, found {self.found}")

    def mapping(self, what: str) -> dict[str, Node]:
        """The mapping; an empty one for nothing. Raises ThresholdsError for anything else."""
        if isinstance(self.value, dict):
            return self.value
        if self.scalar == "null":
            return {}
        raise self.error(f"expected {what}, found {self.found}")

    def sequence(self, what: str) -> list[Node]:
        """The list. Raises ThresholdsError for anything else."""
        if isinstance(self.value, list):
            return self.value
        raise self.error(f"expected {what}, found {self.found}")

    def plain(self) -> object:
        """The value as YAML's own types, for settings.

        Raises:
            ThresholdsError: what YAML takes for a number is none that Python can read.
        """
        if isinstance(self.value, dict):
            return {key: each.plain() for key, each in self.value.items()}
        if isinstance(self.value, list):
            return [each.plain() for each in self.value]
        if self.scalar == "str":
            return self.value
        try:
            return yaml.safe_load(self.value)
        except (ValueError, OverflowError):
            # YAML 1.1 takes `0x_` for a number, and numbers may be as long as one likes.
            raise self.error(f"{self.found} cannot be read as a number", "Quote it if it is text") from None

    @property
    def written(self) -> str:
        """The value on one line, as YAML's flow style has it."""
        if isinstance(self.value, dict):
            return f"{{{', '.join(f'{key}: {each.written}' for key, each in self.value.items())}}}"
        if isinstance(self.value, list):
            return f"[{', '.join(each.written for each in self.value)}]"
        return self.value

    def error(self, what: str, fix: str = "") -> ThresholdsError:
        """An error about this value."""
        return ThresholdsError(what, where=self.place, fix=fix)

    @property
    def found(self) -> str:
        """The value in words."""
        if isinstance(self.value, dict):
            return "a mapping"
        if isinstance(self.value, list):
            return "a list"
        return "nothing" if self.scalar == "null" else repr(self.value[:60])


def suggestion(word: str, known: Iterable[str]) -> str:
    """`Did you mean …?`, or the list of what is known."""
    known = sorted(known)
    near = difflib.get_close_matches(word, known, 1)
    return f"Did you mean {near[0]!r}?" if near else f"Known: {', '.join(known)}"


def parse(text: str, file: str) -> Node:
    """Reads a YAML document.

    Args:
        text: the document.
        file: the file's name, for messages.

    Raises:
        ThresholdsError: it is not YAML, or holds what is refused (see the module).
    """
    if len(text) > MAX_CHARACTERS:
        raise ThresholdsError(f"{file} is longer than {MAX_CHARACTERS:,} characters", where=file)
    try:
        _refuse_unwanted(text, file, _Loader)
        root = yaml.compose(text, _Loader)
    except yaml.MarkedYAMLError as error:
        if "nesting depth" in (error.problem or ""):
            # PyYAML's libyaml since 6.0.4 has a limit of its own, a thousand levels. Its scanner runs ahead
            # and meets it before we are given the level that is too deep for us. The pure loader has none.
            with contextlib.suppress(yaml.YAMLError):
                _refuse_unwanted(text, file, yaml.SafeLoader)
        problem = f"not YAML: {error.problem or error.context}"
        mark = error.problem_mark or error.context_mark
        tab = _tab(text, mark.line) if mark else None
        if mark and tab is not None:
            raise ThresholdsError(
                "a tab stands where YAML wants blanks",
                where=f"{file}:{mark.line + 1}:{tab + 1}",
                fix="Indent with blanks; most editors can turn tabs into them",
            ) from error
        raise ThresholdsError(problem, where=_place(file, mark) if mark else file) from error
    except yaml.YAMLError as error:
        raise ThresholdsError(f"not YAML: {' '.join(str(error).split())}", where=file) from error
    if root is None:
        return Node({}, f"{file}:1:1")
    return _node(root, file)


def _refuse_unwanted(text: str, file: str, loader: Any) -> None:
    # Before anything is built: the events come one by one, whatever the nesting.
    depth = 0
    for event in yaml.parse(text, loader):
        if getattr(event, "anchor", None) is not None:
            raise ThresholdsError(
                "anchors and aliases are not allowed",
                where=_place(file, event.start_mark),
                fix="Write the value out",
            )
        tag = getattr(event, "tag", None)
        if tag is not None:
            raise ThresholdsError(
                f"the tag {tag.replace(_TAGS, '!!', 1)[:60]!r} is not allowed",
                where=_place(file, event.start_mark),
                fix="Leave it out; quote a value that is to be text",
            )
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > MAX_DEPTH:
            raise ThresholdsError("nested too deep", where=_place(file, event.start_mark))


def _tab(text: str, line: int) -> int | None:
    """The column of a tab before a line's first word, where the line has one."""
    # Lines as YAML counts them: other separators of Unicode stay within a line.
    lines = re.split(r"\r\n|[\n\r\x85\u2028\u2029]", text)
    said = lines[line] if line < len(lines) else ""
    # After a dash or a colon a tab is as wrong as at the beginning.
    found = re.match(r"[ ]*(?:-[ ]*)*(?:[^\s:#]+:[ ]*)?(?=\t)", said)
    return found.end() if found else None


def _place(file: str, mark: Any) -> str:
    return f"{file}:{mark.line + 1}:{mark.column + 1}"


def _node(node: yaml.Node, file: str, key_place: str = "") -> Node:
    place = _place(file, node.start_mark)
    if isinstance(node, yaml.ScalarNode):
        _valid(node.value, place)
        kind = node.tag.removeprefix(_TAGS)
        if kind not in ("str", "int", "float", "bool", "null"):
            kind = "str"  # a date, `=` or `<<`: as it was written
        return Node(node.value, place, kind, key_place)
    if isinstance(node, yaml.SequenceNode):
        return Node([_node(each, file) for each in node.value], place, "", key_place)
    found: dict[str, Node] = {}
    for key, value in node.value:
        where = _place(file, key.start_mark)
        if not isinstance(key, yaml.ScalarNode):
            raise ThresholdsError("a key must be text", where=where)
        _valid(key.value, where)
        if key.value in found:
            first = found[key.value].key_place
            raise ThresholdsError(f"{key.value!r} stands here twice", where=where, fix=f"First: {first}")
        found[key.value] = _node(value, file, where)
    return Node(found, place, "", key_place)


def _valid(text: str, place: str) -> None:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise ThresholdsError("the text is not valid Unicode", where=place) from None
