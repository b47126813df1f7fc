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
from itertools import islice
from typing import Final

from spanwise.privacy.sql_messages import redact_message
from spanwise.privacy.sql_places import Places
from spanwise.privacy.sql_summary import Summary

__all__ = ["TEXT_LIMIT", "Statement", "collapse", "describe", "redact_message"]

_GOOGLE: Final = ("bigquery", "gcp.bigquery", "gcp.spanner")

TEXT_LIMIT: Final = 8192
"""Characters of a statement that are looked at and kept; a longer one is cut and ends in ``…``. With the
memo's 512 entries this bounds the memory to some 8 MB at worst."""
_TOKENS: Final = 1500
"""Words, literals and signs likewise, 1 µs each. A SELECT of `TEXT_LIMIT` characters has some 1,200; an
INSERT of literals five times as many, which say no more than the first."""
_MEMO: Final = 512

# Where a backslash escapes a quote inside '…', and where "…" is a string, not a name. Read the other way
# round, the rest of the literal would be exported.
_BACKSLASH_SYSTEMS: Final = frozenset(
    (*("mysql", "mariadb", "clickhouse", "clickhousedb", "snowflake", "databricks", "hive"), *_GOOGLE)
)
_DOUBLE_QUOTED_STRINGS: Final = frozenset(("mysql", "mariadb", "databricks", "hive", *_GOOGLE))
# Where it escapes nothing. In a system of neither kind, a quote after a backslash may end the literal or not.
_PLAIN_SYSTEMS: Final = frozenset(
    (
        *(
            "sqlite",
            "postgresql",
            "cockroachdb",
            "aws.redshift",
            "oracle.db",
            "microsoft.sql_server",
            "mssql",
        ),
        *(
            "ibm.db2",
            "sap.hana",
            "firebirdsql",
            "h2database",
            "hsqldb",
            "derby",
            "duckdb",
            "trino",
            "teradata",
        ),
    )
)
# Where "…" is never a string. Elsewhere it is one in a value's place: SQLite takes it so where no column has
# that name, SQL Server by a setting.
_STANDARD_NAMES: Final = frozenset(
    ("postgresql", "cockroachdb", "aws.redshift", "oracle.db", "ibm.db2", "snowflake", "trino")
)
_BRACKETED_NAMES: Final = frozenset({"microsoft.sql_server", "sqlite"})


# One value of a list as drivers write it; asyncpg's has its type.
_PLACE: Final = (
    r"(?:%\(\w+\)s|%s|\?\d*|[:$@]\w+|-?\d[\w.]*|(?:NULL|TRUE|FALSE|DEFAULT)\b)"
    r"(?:::[a-z]\w*(?: [a-z]+)*(?:\(\d+\))?(?:\[\])?)?"
)
_SEVERAL: Final = rf"{_PLACE}(?:\s*,\s*{_PLACE})*"
_LIST: Final = re.compile(rf"(\bIN\s*\(\s*){_SEVERAL}(?=\s*[,)]|\s*\Z)", re.IGNORECASE)
_ROWS: Final = re.compile(rf"(\(\s*{_SEVERAL}\s*\))(?:\s*,\s*\(\s*{_SEVERAL}\s*\))+", re.IGNORECASE)
_IDENTIFIED: Final = re.compile(r"\bIDENTIFIED\s", re.IGNORECASE)

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


def collapse(statement: str) -> str:
    """The statement with one ``?`` for an IN's list, and with the first of many rows of values.

    SQLAlchemy writes a list's parameters out, so that each length of it is a statement of its own. Only
    placeholders and numbers are taken together here, which have no quote in them: what is a literal and what
    is not stays the same. Some 5 µs for a statement of 120 characters, 130 for one of `TEXT_LIMIT`.
    """
    return _ROWS.sub(r"\1, ...", _LIST.sub(r"\1?", statement))


def describe(statement: str, system: str = "") -> Statement:
    """Sanitise and summarise one SQL statement. Remembered for the 512 most recent ones.

    Args:
        statement: the SQL as given to the driver; placeholders of any DB-API style stay as they are, but
            for those that `collapse` takes together.
        system: value of ``db.system.name``; decides what quotes mean.
    """
    cut = len(statement) > TEXT_LIMIT
    return _describe(collapse(statement[:TEXT_LIMIT] if cut else statement), system, cut)


@lru_cache(maxsize=_MEMO)
def _describe(statement: str, system: str, cut: bool) -> Statement:
    text: list[str] = []
    tokens: list[tuple[str, str]] = []
    end = 0
    places = None
    if _IDENTIFIED.search(statement) or ('"' in statement and system not in _STANDARD_NAMES):
        places = Places(system not in _STANDARD_NAMES)
    gap = ""  # between two tokens: operators
    for match in islice(_lexer(system).finditer(statement), _TOKENS):
        kind = match.lastgroup or ""
        found = match.group()
        gap += statement[end : match.start()]
        text.append(statement[end : match.start()])
        end = match.end()
        if kind == "comment":
            # A comment can hold anything; sqlcommenter's trace ids would make each text unique.
            text.append(" ")
            continue
        if places is not None and places.holds_value(kind, found, gap, statement[end : end + 1] == "."):
            kind = "string"
        gap = ""
        if kind in ("string", "number", "dollar"):
            text.append("?")
            tokens.append(("literal", "?"))
            continue
        text.append(found)
        tokens.append((kind, found))
    if len(text) == 2 * _TOKENS:
        cut = True
    else:
        text.append(statement[end:])
    summary = Summary()
    summary.read(tokens)
    operation, collection = summary.main, summary.collection()
    shown = collapse("".join(text).strip())
    return Statement(shown + ("…" if cut else ""), summary.text(), operation, collection)


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
    if system in _GOOGLE:
        strings += [r"[rRbB]{0,2}\'\'\'.*?(?:\'\'\'|\Z)", r'[rRbB]{0,2}""".*?(?:"""|\Z)']
    if escaped:
        usual = with_backslash
    elif system in _PLAIN_SYSTEMS:
        usual = plain
    else:
        # With a quote after a backslash, all that follows may be in the literal.
        usual = r"'(?:[^'\\]+|''|\\(?!'))*(?:'|\\'.*\Z|\Z)"
    strings.append(r"(?:[nNbBxX]|[uU]&|_[a-z0-9]+)?" + usual)
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
