"""Redis commands and error messages made safe to export: no key, no value, no argument.

A command's text is its name with a ``?`` for each argument, as contrib's instrumentor writes it: which
argument is a key and which a field's name differs from command to command, and either may be personal data.
"""

from __future__ import annotations

import re
from typing import Final

__all__ = ["TEXT_LIMIT", "Command", "describe", "redact_message"]

TEXT_LIMIT: Final = 1000
"""Characters of one command's text, as with contrib's: ``MSET`` of a thousand keys says nothing more."""

# A name as Redis and its modules have them. Anything else is data in the command's place.
_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9._-]{0,63}")

# Commands whose first argument is a part of the name (https://redis.io/docs/latest/commands/): redis-py
# gives "CONFIG GET" in one string. After any other name a blank is followed by data: "SET key value".
_CONTAINERS: Final = frozenset(
    (
        *(
            "ACL",
            "CLIENT",
            "CLUSTER",
            "COMMAND",
            "CONFIG",
            "DEBUG",
            "FUNCTION",
            "HIMPORT",
            "HOTKEYS",
            "LATENCY",
        ),
        *("MEMORY", "MODULE", "OBJECT", "PUBSUB", "SCRIPT", "SENTINEL", "SLOWLOG", "XGROUP", "XINFO"),
    )
)

_ANNOTATED: Final = re.compile(r"Command # (\d+) \((\w*).*\) of pipeline caused error: ", re.DOTALL)
# From the first opening quote to the last closing one: what is between them may hold quotes itself.
_QUOTED: Final = re.compile(r"(?<!\w)(['\"`]).*\1", re.DOTALL)
# After these words Redis and its modules repeat what the client sent; a value in it may hold any quote. What
# follows a colon is the reason for what is before it, or what was wrong; not so in "[SSL: CERTIFICATE_…]".
_REPEATED: Final = re.compile(
    r"(unknown \w+|no such \w+|could not parse(?: \w+)?|near|but got|(?<!\[SSL):)(?=\s)(?!\s*\Z).*",
    re.DOTALL | re.I,
)
_NUMBER: Final = re.compile(r"(?<![\w.:-])-?\d{6,}(?:\.\d+)?")  # longer than an error's number or a port
# Redis names the place in a script after the script's own text, which is the application's.
_SCRIPT: Final = re.compile(r"user_script\b|\bscript: ?[0-9a-f]{40}|\bf_[0-9a-f]{40}")


class Command:
    """What may be said about a command.

    Attributes:
        name: as the application wrote it, ``GET``, ``CONFIG GET``; empty where it is no command's name.
        text: the name with a ``?`` for each argument, at most `TEXT_LIMIT` characters.
    """

    __slots__ = ("name", "text")

    def __init__(self, name: str, text: str) -> None:
        self.name = name
        self.text = text


def describe(command: object, arguments: int) -> Command:
    """Name and text of one command.

    Args:
        command: the first argument of ``execute_command``: text or bytes.
        arguments: how many others there are.
    """
    if isinstance(command, (bytes, bytearray)):
        command = bytes(command).decode("ascii", "replace")
    # redis-py splits the first argument at blanks: "SET key value" is a whole command.
    words = command.split() if isinstance(command, str) else []
    name = words[0] if words and _NAME.fullmatch(words[0]) else ""
    named = 1
    if name.upper() in _CONTAINERS and len(words) > 1 and _NAME.fullmatch(words[1]):
        name, named = f"{name} {words[1]}", 2
    arguments += max(len(words) - named, 0)
    # No more of them than can be seen: a million keys would make a text of 2 MB, to be cut.
    text = " ".join([name or "?", *["?"] * min(arguments, TEXT_LIMIT)])
    return Command(name, text if len(text) <= TEXT_LIMIT else text[: TEXT_LIMIT - 3] + "...")


def redact_message(message: str) -> str:
    """An error's message without what it quotes: Redis and redis-py repeat arguments in theirs."""
    found = _ANNOTATED.match(message)
    prefix = ""
    if found:
        prefix, message = f"Command # {found[1]} of pipeline caused error: ", message[found.end() :]
        if found[2].upper().startswith(("EVAL", "FCALL")):
            message = "?"  # a script's message is the application's own text
    if _SCRIPT.search(message):
        return f"{prefix}?"
    return prefix + _NUMBER.sub("?", _QUOTED.sub("?", _REPEATED.sub(r"\1 ?", message)))
