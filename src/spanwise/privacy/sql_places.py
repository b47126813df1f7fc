"""Where in a statement a word or a double-quoted text is a value, though it looks like a name."""

from __future__ import annotations

from typing import Final

__all__ = ["Places"]

_OPERATORS: Final = tuple("=<>~!|+")  # the last sign of each comparison, and of what joins texts
_BEFORE_VALUE: Final = frozenset(
    ("LIKE", "ILIKE", "RLIKE", "REGEXP", "GLOB", "MATCH", "BETWEEN", "ESCAPE", "THEN", "ELSE", "PASSWORD")
)


class Places:
    """Follows a statement's tokens and says which of them stand in a value's place.

    Args:
        quoted_values: whether the system may take a double-quoted text for a string.
    """

    __slots__ = ("_between", "_identified", "_lists", "_previous", "_row", "_values")

    def __init__(self, quoted_values: bool) -> None:
        self._values = quoted_values
        self._previous = ""  # the token before, in upper case if it is a word
        self._lists = [False]  # for each open parenthesis, whether values are in it
        self._row = False  # a list of values was closed: after a comma comes the next row
        self._between = False
        self._identified = ""  # IDENTIFIED, then BY; a password follows

    def holds_value(self, kind: str, found: str, gap: str, qualifies: bool) -> bool:
        """Whether a token is a value.

        Args:
            kind: the token's.
            found: its text.
            gap: the text between it and the one before, which has the operators.
            qualifies: a dot follows, so that it is a table's or a schema's name.
        """
        previous, self._previous = self._previous, found.upper() if kind == "word" else found
        upper = self._previous
        if found == "(" and kind == "sign":
            # "IN ((…" and "VALUES (…), (…": rows.
            of_rows = self._lists[-1] and previous in ("(", ",")
            self._lists.append(previous in ("IN", "VALUES", "VALUE") or of_rows or self._row)
            self._row = False
        elif found == ")" and kind == "sign":
            self._row = self._lists.pop() if len(self._lists) > 1 else False
        elif kind != "sign":
            self._row = False
        if self._is_password(kind, upper):
            return True
        last = previous == "AND" and self._between
        if upper == "BETWEEN" and kind == "word":
            self._between = True
        elif last:
            self._between = False
        if kind != "name" or found[0] != '"' or not self._values or qualifies:
            return False
        if gap.rstrip().endswith(_OPERATORS) or previous in _BEFORE_VALUE:
            return True
        return last or (self._lists[-1] and previous in ("(", ","))

    def _is_password(self, kind: str, upper: str) -> bool:
        """``IDENTIFIED BY tiger [REPLACE lion]``: Oracle's passwords are written as names are."""
        state = self._identified
        if upper == "IDENTIFIED" and kind == "word":
            self._identified = "IDENTIFIED"
        elif state == "IDENTIFIED":
            self._identified = "BY" if upper == "BY" else ""
        elif state == "BY" and upper not in ("VALUES", "PASSWORD"):
            self._identified = "TOLD"
            return kind in ("word", "name")
        elif state == "TOLD" and upper == "REPLACE":
            self._identified = "BY"
        return False
