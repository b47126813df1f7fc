"""Database drivers' error messages made safe to export: what may be a value becomes ``?``.

A database quotes names and values alike. Only a quoted text that a noun announces as the name of a thing
in the database's schema stays; any other may be data.
"""

from __future__ import annotations

import re
from typing import Final

__all__ = ["redact_message"]

_LIMIT: Final = 500  # Characters; a first line is far shorter, a driver's dump far longer.

# Drivers that show an error's arguments: MySQL's and pymssql's number or ODBC's SQLSTATE, then the message.
_ARGUMENTS: Final = re.compile(r"\((-?\d+|'\w{5}'), b?(['\"])(.*)\2\)", re.DOTALL)

# Never "value", "key" or "parameter": what they announce is data.
_NOUNS: Final = (
    r"column|table|view|relation|constraint|schema|database|role|user|type|domain|function|procedure"
    r"|operator|aggregate|index|sequence|extension|trigger|policy|rule|language|collation|tablespace"
    r"|publication|subscription|savepoint|statement|cursor|portal|server\ at|host\ name"
)
_VALUE: Final = re.compile(
    rf"""
    (?P<name>\b(?:{_NOUNS})\ "[^"]*")
  | '[^']*(?:''[^']*)*(?:'|\Z)
  | "[^"]*(?:"|\Z)
    # (email)=(bob@example.org); "The duplicate key value is (…)"
  | (?:(?<==)|(?<=value\ is\ ))\([^)]*(?:\)|\Z)
    # asyncpg, with a repr: "invalid input for query argument $1: {{'card': …}} (expected str)"
  | (?<=query\ argument\ )\$\d+:.*
    # What is no error's number, line, position or port: ORA-00942, [42S22], port 5432
  | (?<![\w.])-?\d{{6,}}(?:[.,]\d+)*
  | (?<==)\ ?-?\d+(?:[.,]\d+)*
    """,
    re.VERBOSE | re.IGNORECASE,
)


def redact_message(message: str) -> str:
    """A driver's error message without what may be a value in it.

    Only the first line is kept, since PostgreSQL's DETAIL and CONTEXT lines quote whole rows. In it,
    ``?`` stands for text in quotes, unless a noun before it (``column "email"``) says that it is a name,
    and for numbers of six digits and more. A value that a message tells without quotes, and that is no such
    number, cannot be told from the message's own words, and stays.
    """
    message = message.strip()
    found = _ARGUMENTS.fullmatch(message)
    if found is not None:
        # Within it a line's end is written out.
        return f"({found[1]}, {found[2]}{_redacted(found[3].partition(chr(92) + 'n')[0])}{found[2]})"
    return _redacted(message)


def _redacted(message: str) -> str:
    return _VALUE.sub(_instead, message.strip().partition("\n")[0][:_LIMIT])


def _instead(found: re.Match[str]) -> str:
    return found["name"] or "?"
