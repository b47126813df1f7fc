"""A statement's summary: its operations and their targets, of low cardinality (``SELECT tracks``).

No parser: it walks the tokens that `spanwise.privacy.sql` finds, and leaves out what it does not
understand. Rules: "Generating a summary of the query text",
https://opentelemetry.io/docs/specs/semconv/db/database-spans/.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

__all__ = ["Summary"]

_SUMMARY_LIMIT: Final = 255  # Characters: the convention's own bound on db.query.summary.


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_VERBS: Final = _words(
    """
    SELECT INSERT UPDATE DELETE MERGE REPLACE UPSERT CREATE ALTER DROP TRUNCATE RENAME COMMENT CALL EXEC
    EXECUTE BEGIN START COMMIT ROLLBACK SAVEPOINT RELEASE PREPARE DEALLOCATE DECLARE FETCH CLOSE SET
    RESET SHOW USE DESCRIBE EXPLAIN PRAGMA ATTACH DETACH VACUUM ANALYZE REINDEX OPTIMIZE GRANT REVOKE
    LOCK UNLOCK COPY LOAD REFRESH LISTEN NOTIFY UNLISTEN DO VALUES TABLE KILL CHECKPOINT DISCARD CLUSTER
    FLUSH
    """
)
_DEFINING: Final = frozenset({"CREATE", "ALTER", "DROP", "TRUNCATE", "RENAME", "COMMENT", "REFRESH", "LOCK"})
_OBJECTS: Final = _words(
    """
    TABLE VIEW INDEX SEQUENCE SCHEMA DATABASE TYPE DOMAIN EXTENSION FUNCTION PROCEDURE TRIGGER ROLE USER
    """
)
_ROUTINES: Final = frozenset({"CALL", "EXEC", "EXECUTE"})
# Words between a keyword and the name it announces.
_BEFORE_NAME: Final = _words(
    """
    ONLY LATERAL IF NOT EXISTS IGNORE LOW_PRIORITY QUICK CONCURRENTLY TABLE OVERWRITE OR ROLLBACK ABORT
    FAIL REPLACE
    """
)
_AFTER_FROM: Final = _words(
    """
    WHERE GROUP HAVING ORDER LIMIT OFFSET FETCH WINDOW UNION INTERSECT EXCEPT MINUS SET RETURNING FOR
    VALUES
    """
)


class _Level:
    """One pair of parentheses: whether it holds a query, and whether commas in it separate tables."""

    __slots__ = ("first", "in_from", "query")

    def __init__(self, query: bool) -> None:
        self.query = query
        self.in_from = False
        self.first = True


class Summary:
    """Collects operations and targets from the tokens."""

    def __init__(self) -> None:
        self.main = ""
        self._parts: list[str] = []
        self._operation_targets: set[str] = set()
        self._tables: dict[str, None] = {}
        self._ctes: set[str] | None = None  # None until a WITH is met
        self._aside: list[str] = []  # parts of WITH's bodies: they follow the main statement's

    def text(self) -> str:
        """The summary, cut at a whole part as the convention asks."""
        kept: list[str] = []
        size = -1
        for part in [*self._parts, *self._aside]:
            size += 1 + len(part)
            if size > _SUMMARY_LIMIT:
                break
            kept.append(part)
        return " ".join(kept)

    def collection(self) -> str:
        """The one table, or nothing."""
        return next(iter(self._tables)) if len(self._tables) == 1 else ""

    def read(self, tokens: list[tuple[str, str]]) -> None:
        """Walk the tokens once."""
        levels = [_Level(False)]
        awaiting = ""  # the keyword that announced a name
        leading_with = False
        verb = previous = ""
        position = 0
        while position < len(tokens):
            kind, found = tokens[position]
            level = levels[-1]
            upper = found.upper() if kind == "word" else ""
            starts, level.first = level.first, False
            position += 1
            if found == "(" and kind == "sign":
                levels.append(_Level(awaiting in ("FROM", "JOIN")))
                levels[-1].in_from = awaiting in ("FROM", "JOIN")
                # A name or a subquery may follow: FROM (a JOIN b) and FROM (SELECT …) both occur.
                awaiting = awaiting if levels[-1].in_from else ""
            elif found == ")" and kind == "sign":
                if len(levels) > 1:
                    levels.pop()
                awaiting = ""
            elif found == ";" and kind == "sign":
                levels, awaiting, verb, leading_with = [_Level(False)], "", "", False
            elif found == "," and kind == "sign":
                awaiting = "FROM" if level.in_from and not awaiting else ""
            elif upper == "WITH" and starts:
                level.query, level.first = True, len(levels) > 1
                leading_with = leading_with or len(levels) == 1
                self._ctes = set(_cte_names(tokens)) if self._ctes is None else self._ctes
            elif upper == "SELECT" or (
                upper in _VERBS and (starts or (leading_with and len(levels) == 1 and not verb))
            ):
                level.query, level.in_from, awaiting = True, False, ""
                inside_with = leading_with and len(levels) > 1 and not verb
                operation = found
                if upper in _DEFINING:
                    position, operation, awaiting = _definition(tokens, position, found)
                self._add(operation, inside_with)
                self._operation_targets = set()
                if not inside_with and len(levels) == 1 and not verb:
                    verb = upper
                    self.main = self.main or operation
                if upper == "UPDATE" or upper in _ROUTINES:
                    awaiting = upper
                if upper == "EXPLAIN":
                    level.first = True
            elif upper in ("FROM", "JOIN", "INTO") and level.query and previous != "DISTINCT":
                awaiting = upper
                level.in_from = upper != "INTO" if upper != "JOIN" else level.in_from
            elif upper == "USING" and verb in ("DELETE", "MERGE") and len(levels) == 1:
                awaiting, level.in_from = "FROM", True
            elif upper == "ON" and awaiting == "INDEX":
                awaiting = "TABLE"
            elif awaiting and upper in _BEFORE_NAME:
                pass
            elif awaiting and kind in ("word", "name", "bracketed"):
                position, name = _dotted(tokens, position, found)
                called = position < len(tokens) and tokens[position][1] == "("
                if not (called and awaiting in ("FROM", "JOIN")):  # else a table function
                    self._target(name, awaiting, leading_with and len(levels) > 1 and not verb)
                # CREATE INDEX i ON t (…): the table is still to come.
                awaiting = "INDEX" if awaiting == "INDEX" else ""
            elif upper in _AFTER_FROM:
                level.in_from, awaiting = False, ""
            elif awaiting:
                awaiting = ""
            previous = upper

    def _add(self, part: str, aside: bool) -> None:
        (self._aside if aside else self._parts).append(part)

    def _target(self, name: str, announced_by: str, aside: bool) -> None:
        bare = _unquoted(name)
        if (self._ctes and bare.upper() in self._ctes) or bare in self._operation_targets:
            return
        self._operation_targets.add(bare)
        # A name with spaces keeps its quotes, or the summary's parts could not be told apart.
        self._add(name if any(char.isspace() for char in bare) else bare, aside)
        if announced_by in ("FROM", "JOIN", "INTO", "UPDATE", "TABLE", "VIEW"):
            self._tables[bare] = None


def _definition(tokens: list[tuple[str, str]], position: int, verb: str) -> tuple[int, str, str]:
    """``CREATE [OR REPLACE] [UNIQUE …] TABLE``: the object's kind belongs to the operation's name."""
    for ahead in range(position, min(position + 6, len(tokens))):
        kind, found = tokens[ahead]
        if kind == "word" and found.upper() in _OBJECTS:
            return ahead + 1, f"{verb} {found}", found.upper()
        if kind != "word":
            break
    return position, verb, "TABLE" if verb.upper() in ("TRUNCATE", "LOCK") else ""


def _dotted(tokens: list[tuple[str, str]], position: int, first: str) -> tuple[int, str]:
    """``schema.table`` from its tokens."""
    parts = [first]
    while (
        position + 1 < len(tokens)
        and tokens[position] == ("sign", ".")
        and tokens[position + 1][0] in ("word", "name", "bracketed")
    ):
        parts.append(tokens[position + 1][1])
        position += 2
    return position, ".".join(parts)


def _cte_names(tokens: list[tuple[str, str]]) -> Iterator[str]:
    """The names that WITH defines, ``name [(columns)] AS [NOT MATERIALIZED] (query``, upper case."""
    opened: list[int] = []
    closed: dict[int, int] = {}
    for position, (kind, found) in enumerate(tokens):
        if kind == "sign" and found == "(":
            opened.append(position)
        elif kind == "sign" and found == ")" and opened:
            closed[position] = opened.pop()
        elif kind == "word" and found.upper() == "AS":
            ahead = [text.upper() for _, text in tokens[position + 1 : position + 5]]
            while ahead and ahead[0] in ("NOT", "MATERIALIZED"):
                del ahead[0]
            if len(ahead) > 1 and ahead[0] == "(" and (ahead[1] in _VERBS or ahead[1] == "WITH"):
                name = position - 1
                yield _unquoted(tokens[closed.get(name, name + 1) - 1][1]).upper()


def _unquoted(name: str) -> str:
    """A name without its quotes, dots kept."""
    return re.sub(r'["`\[\]]', "", name)
