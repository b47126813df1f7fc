"""Exceptions made safe to export, whichever span tells of them.

A database's or an HTTP client's error goes up through the spans of its request, and each one tells of it:
what the innermost redacts, no other may tell. Only what holds data of others is redacted: messages of known
libraries, what an application's own message repeats of one, and secrets of URLs in any message.
"""

from __future__ import annotations

import re
import traceback
from collections.abc import Callable, Iterator
from itertools import islice
from types import TracebackType
from typing import Final

from spanwise.privacy import redis, sql, url
from spanwise.privacy.described import message_of, type_name

__all__ = ["Redacted", "redacted", "told_message"]

# Exceptions that are looked through, some 2 µs each. A longer chain is told without message and stack trace.
_CHAIN: Final = 100

_FRAMES: Final = 1000  # of each: Python's own limit of recursion

# Characters of a message from which on another message repeats it by no accident.
_REPEATED: Final = 8

# What SQLAlchemy adds to any message that it repeats: the statement, and what was sent with it.
_STATEMENT: Final = re.compile(r"\s*\[(?:SQL|parameters): .*", re.DOTALL)


def _document(message: str) -> str:
    """MongoDB's messages end in a document: the key that is there already, or the whole answer."""
    head, brace, _ = sql.redact_message(message).partition("{")
    return f"{head}?" if brace else head


def _nothing(_message: str) -> str:
    """Where nothing but the value tells what is wrong with it."""
    return ""


_Redact = Callable[[str], str]

# The package whose class an exception is or derives from, to what is done to its message. A name with a dot
# is a module of a package whose other exceptions are about the program, not about data.
_LIBRARIES: Final[dict[str, _Redact]] = {
    **dict.fromkeys(
        (
            *("sqlite3", "pysqlite3", "sqlcipher3", "apsw", "aiosqlite", "duckdb"),
            *("psycopg", "psycopg2", "psycopg_pool", "asyncpg", "pg8000", "redshift_connector"),
            *("MySQLdb", "pymysql", "aiomysql", "asyncmy", "mysql", "_mysql_connector", "mariadb"),
            *("pyodbc", "aioodbc", "pymssql", "pytds", "mssql_python"),
            *("oracledb", "cx_Oracle", "ibm_db", "ibm_db_dbi", "hdbcli", "snowflake", "clickhouse_driver"),
            *("clickhouse_connect", "trino", "cassandra", "neo4j"),
            *("peewee", "tortoise", "django.db.utils"),
        ),
        sql.redact_message,
    ),
    **dict.fromkeys(("redis", "valkey", "redis_om", "rediscluster"), redis.redact_message),
    **dict.fromkeys(("pymongo", "bson", "motor"), _document),
    **dict.fromkeys(("pymemcache", "pylibmc", "bmemcached"), _nothing),  # its messages quote the key
}
_WRAPPERS: Final = frozenset(("StatementError", "PendingRollbackError"))  # of sqlalchemy.exc


class Redacted:
    """What may be told of an exception that holds data.

    Attributes:
        message: its own, without the data.
        stacktrace: the frames of it and of its causes, with their messages redacted alike.
    """

    __slots__ = ("message", "stacktrace")

    def __init__(self, message: str, stacktrace: str) -> None:
        self.message = message
        self.stacktrace = stacktrace


def redacted(error: BaseException) -> Redacted | None:
    """What may be told instead of an exception's message and stack trace.

    A stack trace has the messages of all exceptions that led to it, so that all are looked through: causes,
    those that were handled meanwhile, and an exception group's.

    Args:
        error: what was raised.

    Returns:
        None where neither holds data: then both may be told as they are.
    """
    links = list(_chain(error))
    if len(links) == _CHAIN:
        return Redacted("", "")
    swaps: dict[str, str] = {}
    messages: dict[int, str] = {}
    changed = False
    # The innermost first: an outer message may repeat an inner one.
    for link, redact in reversed(links):
        raw = message_of(link)
        if redact is not None:
            safe = url.redact_text(redact(raw))
        else:
            safe = raw
            for found, instead in swaps.items():
                safe = safe.replace(found, instead)
            safe = url.redact_text(_STATEMENT.sub("", safe) if "[" in safe else safe)
        changed = changed or safe != raw
        if safe != raw and len(raw) >= _REPEATED:
            swaps[raw] = safe
        messages[id(link)] = safe
    if not changed:
        return None
    return Redacted(messages[id(error)], _stacktrace(error, messages))


def told_message(error: BaseException) -> str:
    """What may be told of an exception's message where its stack trace is not."""
    found = redacted(error)
    return message_of(error) if found is None else found.message


def _chain(error: BaseException) -> Iterator[tuple[BaseException, _Redact | None]]:
    """The exception and all that its stack trace tells of, each with what redacts its message."""
    waiting: list[tuple[BaseException, _Redact | None]] = [(error, None)]
    seen: set[int] = set()
    while waiting and len(seen) < _CHAIN:
        link, inherited = waiting.pop(0)
        if id(link) in seen:
            continue
        seen.add(id(link))
        found = _redactor(type(link))
        yield link, found or inherited
        # The cause of a wrapped error may be a ValueError that quotes what could not be converted.
        passed = found if found is sql.redact_message and _is_wrapper(type(link)) else None
        each = (link.__cause__, link.__context__, getattr(link, "orig", None) if passed else None)
        more = [(below, passed) for below in each if isinstance(below, BaseException)]
        inside = getattr(link, "exceptions", None)
        if isinstance(inside, (tuple, list)):
            more += [(below, None) for below in inside if isinstance(below, BaseException)]
        waiting += more


def _redactor(kind: type) -> _Redact | None:
    """By the names of the class and of those it derives from: nothing is imported."""
    for base in kind.__mro__:
        module = base.__module__
        if module in ("builtins", "__main__"):
            continue
        if module == "sqlalchemy.exc" and base.__name__ in _WRAPPERS:
            return sql.redact_message
        found = _LIBRARIES.get(module) or _LIBRARIES.get(module.partition(".")[0])
        if found is not None:
            return found
    return None


def _is_wrapper(kind: type) -> bool:
    return any(base.__module__ == "sqlalchemy.exc" and base.__name__ in _WRAPPERS for base in kind.__mro__)


def _stacktrace(error: BaseException, messages: dict[int, str]) -> str:
    """As `traceback.format_exception` tells it, with these messages, and without lines of source."""
    parts: list[str] = []
    each: BaseException | None = error
    told: set[int] = set()
    while each is not None and id(each) in messages and id(each) not in told:
        told.add(id(each))
        message = messages[id(each)]
        said = f"{type_name(each)}: {message}" if message else type_name(each)
        parts.append(f"{_frames(each.__traceback__)}{said}\n")
        if each.__cause__ is not None:
            parts.append(
                "\nThe above exception was the direct cause of the following exception:\n\n",
            )
            each = each.__cause__
        elif each.__context__ is not None and not each.__suppress_context__:
            parts.append("\nDuring handling of the above exception, another exception occurred:\n\n")
            each = each.__context__
        else:
            break
    if len(parts) % 2 == 0:  # what comes before is not told
        parts.pop()
    return "".join(reversed(parts))


def _frames(trace: TracebackType | None) -> str:
    """Without the lines of source, which may have the secret in them, and need files to be read."""
    if trace is None:
        return ""
    places = [
        f'  File "{frame.f_code.co_filename}", line {line}, in {frame.f_code.co_name}\n'
        for frame, line in islice(traceback.walk_tb(trace), _FRAMES)
    ]
    return "".join(("Traceback (most recent call last):\n", *places))
