"""SQL made safe to export: literals out of statements and messages, and a summary of low cardinality.

One pass over the statement's tokens yields all three things a span needs: the text without literals,
the summary (``SELECT tracks``) and the single table. It is no SQL parser and needs none: every dialect
agrees on quotes, comments and the few words that come before a table's name, and where one doesn't,
`describe` is told the system. What it doesn't understand it leaves out of the summary; it never guesses.

Rules: OpenTelemetry semantic conventions, "Sanitization of db.query.text" and "Generating a summary of
the query text" (https://opentelemetry.io/docs/specs/semconv/db/database-spans/).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from spanwise.privacy.sql_messages import redact_message
from spanwise.privacy.sql_summary import Summary

__all__ = ["TEXT_LIMIT", "Statement", "describe", "redact_message"]

TEXT_LIMIT: Final = 8192
"""Characters of a statement that are looked at and kept; a longer one is cut and ends in ``…``. With the
memo's 512 entries this bounds the memory to some 8 MB at worst; a thousand-row INSERT would else be
parsed anew, in milliseconds, each time."""
_MEMO: Final = 512

# Where a backslash escapes a quote inside '…', and where "…" is a string, not a name. Read the other way
# round, the rest of the literal would be exported.
_BACKSLASH_SYSTEMS: Final = frozenset({"mysql", "mariadb", "clickhouse", "snowflake", "databricks", "hive"})
_DOUBLE_QUOTED_STRINGS: Final = frozenset({"mysql", "mariadb", "databricks", "hive"})
_BRACKETED_NAMES: Final = frozenset({"microsoft.sql_server", "sqlite"})


_COMMON: Final = r"""
    (?P<name>"[^"]*(?:""[^"]*)*(?:"|\Z)|`[^`]*(?:``[^`]*)*(?:`|\Z))
  | (?P<mark>::|%\([^)]*\)s|%s|\$\d+|:\w+|\?\d*|@@?\w+)
  | (?P<number>\.?\d[\w.]*(?:(?<=[eE])[+-]\d+)?)
  | (?P<word>[^\W\d][\w$\#]*)
  | (?P<sign>[(),.;])
"""


@dataclass(frozen=True, slots=True)
class Statement:
    """What may be said about a statement.

    Attributes:
        text: the statement with every literal replaced by ``?`` and comments left out.
        summary: operations and their targets in order, ``SELECT artists albums``; empty if unknown.
        operation: the main operation as written, ``SELECT``, ``CREATE TABLE``; empty if unknown.
        collection: the table, if the statement names exactly one; else empty.
    """

    text: str
    summary: str
    operation: str
    collection: str


def describe(statement: str, system: str = "") -> Statement:
    """Sanitise and summarise one SQL statement. Remembered for the 512 most recent ones.

    Args:
        statement: the SQL as given to the driver; placeholders of any DB-API style stay as they are.
        system: value of ``db.system.name``; decides what quotes mean.
    """
    if len(statement) > TEXT_LIMIT:
        return _describe(statement[:TEXT_LIMIT], system, True)
    return _describe(statement, system, False)


@lru_cache(maxsize=_MEMO)
def _describe(statement: str, system: str, cut: bool) -> Statement:
    text: list[str] = []
    tokens: list[tuple[str, str]] = []
    end = 0
    for match in _lexer(system).finditer(statement):
        kind = match.lastgroup or ""
        found = match.group()
        text.append(statement[end : match.start()])
        end = match.end()
        if kind == "comment":
            # A comment can hold anything; sqlcommenter's trace ids would make each text unique.
            text.append(" ")
            continue
        if kind in ("string", "number", "dollar"):
            text.append("?")
            tokens.append(("literal", "?"))
            continue
        text.append(found)
        tokens.append((kind, found))
    text.append(statement[end:])
    summary = Summary()
    summary.read(tokens)
    operation, collection = summary.main, summary.collection()
    return Statement("".join(text).strip() + ("…" if cut else ""), summary.text(), operation, collection)


@lru_cache(maxsize=32)
def _lexer(system: str) -> re.Pattern[str]:
    """The token pattern of one system. Anything unterminated runs to the end: better cut than leaked."""
    mysql = system in ("mysql", "mariadb")
    escaped = system in _BACKSLASH_SYSTEMS
    plain = r"'[^']*(?:''[^']*)*(?:'|\Z)"
    with_backslash = r"'[^'\\]*(?:(?:''|\\.)[^'\\]*)*(?:'|\\?\Z)"
    strings = [r"[eE]" + with_backslash]
    if system == "oracle.db":
        strings.append(
            r"[nN]?[qQ]'(?:\[.*?(?:\]'|\Z)|\{.*?(?:\}'|\Z)|\(.*?(?:\)'|\Z)|<.*?(?:>'|\Z)"
            r"|(?P<delimiter>[^\s\[{(<]).*?(?:(?P=delimiter)'|\Z))"
        )
    strings.append(r"(?:[nNbBxX]|[uU]&|_[a-z0-9]+)?" + (with_backslash if escaped else plain))
    if system in _DOUBLE_QUOTED_STRINGS:
        strings.append(with_backslash.replace("'", '"'))
    comments = [r"--(?=\s|\Z)[^\n]*" if mysql else r"--[^\n]*", r"/\*.*?(?:\*/|\Z)"]
    if mysql:
        comments.append(r"\#[^\n]*")
    parts = [
        f"(?P<comment>{'|'.join(comments)})",
        f"(?P<string>{'|'.join(strings)})",
        r"(?P<dollar>\$(?P<tag>(?:[^\W\d]\w*)?)\$.*?(?:\$(?P=tag)\$|\Z))",
    ]
    if system in _BRACKETED_NAMES:
        parts.append(r"(?P<bracketed>\[[^\]]*(?:\]\][^\]]*)*(?:\]|\Z))")
    return re.compile("|".join([*parts, _COMMON]), re.DOTALL | re.VERBOSE)
