"""``alerts: {handlers: …}``: who is told. A list of names, or what each needs by its name."""

from __future__ import annotations

import dataclasses
import ipaddress
import re
from collections.abc import Callable
from typing import Any, Final

from spanwise.errors import ThresholdsError
from spanwise.rules.alerting import SEVERITIES, Handler
from spanwise.thresholds.document import Node, suggestion
from spanwise.thresholds.shapes import shape

__all__ = ["read_handlers", "written_handlers"]

# Nothing that any reader of the address could take for more than an address: no quotes, no blanks, no
# braces (Alertmanager reads some addresses as templates), no `$`, no user. A per cent sign begins an escape:
# Alertmanager refuses a whole file for one that does not (Go's net/url).
_CHARACTER = r"(?:[A-Za-z0-9.\-_~!&()*+,;=:@/{}]|%[0-9A-Fa-f]{{2}})*"
_URL = re.compile(
    rf"(?i:https?)://(?P<host>[A-Za-z0-9.\-_]+|\[[0-9A-Fa-f:.]+\])(?::(?P<port>[0-9]*))?"
    rf"(?:/{_CHARACTER.format('')})?(?:\?{_CHARACTER.format('?')})?"
)
# Of a name's part between two dots (RFC 1035, section 2.3.4).
_LONGEST_LABEL = 63
_LAST_PORT = 65535
_KEY = re.compile(r"[A-Za-z0-9_-]{1,128}")
_FILE = re.compile(r"[A-Za-z0-9._/@+-][A-Za-z0-9._/@+ -]{0,254}")


def _url(node: Node) -> str:
    text = node.text("a URL")
    found = _URL.fullmatch(text)
    if not found or not _is_host(found["host"]) or int(found["port"] or 0) > _LAST_PORT:
        # Not the text: the path of such a URL is the secret, and errors go into logs.
        raise node.error(
            "this is no URL that can be called",
            "Write it as https://host/path; percent-encode what is not a letter, a digit or one of -._~/",
        )
    return text


def _is_host(text: str) -> bool:
    if text.startswith("["):
        try:
            ipaddress.IPv6Address(text[1:-1])
        except ValueError:
            return False
        return True
    return all(0 < len(label) <= _LONGEST_LABEL for label in text.removesuffix(".").split("."))


def _key(node: Node) -> str:
    text = node.text("an integration key")
    if not _KEY.fullmatch(text):
        raise node.error("an integration key has letters, digits, - and _ only")
    return text


def _path(node: Node) -> str:
    path = node.text("a file's path")
    if not _FILE.fullmatch(path):
        # Not the text: an address that was put in the wrong place is secret all the same.
        raise node.error("this is no path", "Use letters, digits, blanks and ._/@+-")
    return path


_ADDRESSES: Final[dict[str, Callable[[Node], str] | None]] = {
    "log": None,
    "event": None,
    "file": _path,
    "webhook": _url,
    "slack": _url,
    "pagerduty": _key,
}
"""By a handler's type: what reads its address; None where it has none. A new type is a line here."""

_TELLERS: Final = ("process", "alertmanager")

_ADDRESS: Final = {
    "anyOf": [
        {"type": "string"},
        {
            "type": "object",
            "properties": {"file": {"type": "string", "description": "the file that holds the address"}},
            "required": ["file"],
            "additionalProperties": False,
        },
    ]
}


def _schema_of(reader: Callable[[Node], str] | None) -> dict[str, Any]:
    if reader is _path:
        return {"type": "string"}
    return _ADDRESS if reader else {"type": ["object", "null"]}


_SCHEMA_OF_ONE: Final[dict[str, Any]] = {
    "type": ["object", "null"],
    "properties": {
        **{each: _schema_of(reader) for each, reader in _ADDRESSES.items()},
        "severities": {"type": "array", "items": {"enum": list(SEVERITIES)}},
        "by": {"enum": list(_TELLERS)},
    },
    "additionalProperties": False,
}


@shape(
    anyOf=[
        {"type": "array", "items": {"enum": [each for each, reader in _ADDRESSES.items() if not reader]}},
        {"type": "object", "additionalProperties": _SCHEMA_OF_ONE},
    ]
)
def read_handlers(node: Node) -> tuple[Handler, ...]:
    """The handlers, by name.

    Raises:
        ThresholdsError: one is not known, lacks its address, or has one that cannot be used.
    """
    if isinstance(node.value, list):
        found = {}
        for each in node.value:
            name = each.text("a handler's name")
            if name not in _ADDRESSES:
                raise each.error(f"there is no handler {_hidden(name)!r}", suggestion(name, _ADDRESSES))
            if _ADDRESSES[name]:
                raise each.error(
                    f"{name} needs an address",
                    f"Write handlers: {{{name}: {{{name}: …}}}}, a mapping by name",
                )
            found[name] = Handler(name, name)
        return tuple(found[name] for name in sorted(found))
    if isinstance(node.value, str) and node.scalar != "null":
        raise node.error("handlers is a text", "Write a list of names, or what each needs by its name")
    handlers = node.mapping("handlers as a list or by name")
    return tuple(_one(name, each) for name, each in sorted(handlers.items()))


def written_handlers(node: Node) -> str:
    """The handlers as they were written, of each secret address no more than scheme and host."""
    return _without_secrets(node).written


def _without_secrets(node: Node, key: str = "") -> Node:
    if isinstance(node.value, dict):
        rest = {name: _without_secrets(each, name) for name, each in node.value.items()}
        return dataclasses.replace(node, value=rest)
    if isinstance(node.value, str) and _ADDRESSES.get(key) in (_url, _key):
        return dataclasses.replace(node, value=_hidden(node.value) if "://" in node.value else "…")
    return node


def _hidden(text: str) -> str:
    """A URL without what may be secret in it; another text as it is."""
    scheme, separator, rest = text.partition("://")
    if not separator:
        return text[:60]
    return f"{scheme[:10]}://{re.split('[/?#]', rest, maxsplit=1)[0].rpartition('@')[2][:100]}/…"


def _one(name: str, node: Node) -> Handler:
    if not re.fullmatch(r"[A-Za-z0-9_.-]{1,60}", name):
        raise node.error(f"{name[:60]!r} cannot be a handler's name", "Use letters, digits, - . and _")
    if isinstance(node.value, str) and node.scalar != "null":
        raise node.error(f"{name} is a text", "Write what the handler needs, such as {webhook: https://…}")
    given = node.mapping("what the handler needs, such as {webhook: https://…}")
    for key, each in given.items():
        if key not in ("severities", "by") and key not in _ADDRESSES:
            raise ThresholdsError(
                f"{name}: a handler has no {key!r}",
                where=each.key_place,
                fix=suggestion(key, [*_ADDRESSES, "severities", "by"]),
            )
    types = [key for key in given if key in _ADDRESSES] or ([name] if name in _ADDRESSES else [])
    if len(types) != 1:
        raise node.error(
            f"{name} does not say what it is" if not types else f"{name} is two things",
            f"Give one of: {', '.join(_ADDRESSES)}",
        )
    severities = _severities(given["severities"]) if "severities" in given else SEVERITIES
    (kind,) = types
    read = _ADDRESSES[kind]
    by = _teller(given["by"], kind) if "by" in given else ""
    if read is None:
        return Handler(name, kind, severities=severities, by=by)
    if kind not in given:
        raise node.error(f"{name} needs an address", f"Write {name}: {{{kind}: …}}")
    address = given[kind]
    if not isinstance(address.value, dict):
        return Handler(name, kind, read(address), severities=severities, by=by)
    if list(address.value) != ["file"]:
        raise address.error(f"{name}: expected an address, or {{file: where it is}}, found {address.found}")
    if read is _path:
        raise address.error(f"{name}: a path is no secret", "Write it here")
    return Handler(name, kind, file=_path(address.value["file"]), severities=severities, by=by)


def _teller(node: Node, kind: str) -> str:
    word = node.text("process or alertmanager")
    if word not in _TELLERS:
        raise node.error(f"nobody called {word!r} tells of alerts", suggestion(word, _TELLERS))
    if word == "alertmanager" and kind in ("log", "event", "file"):
        raise node.error(f"only the process tells a {kind}", "Leave it out, or write by: process")
    return word


def _severities(node: Node) -> tuple[str, ...]:
    said = []
    for each in node.sequence("a list such as [critical]"):
        word = each.text("a severity")
        if word not in SEVERITIES:
            raise each.error(f"{word!r} is no severity", suggestion(word, SEVERITIES))
        said.append(word)
    if not said:
        raise node.error("a handler that is told of nothing", "Remove it, or name a severity")
    return tuple(each for each in SEVERITIES if each in said)
