"""The comment that tells the database whose statement it runs: driver, framework and trace.

Specification: https://google.github.io/sqlcommenter/spec/
The options are those of OpenTelemetry's SQLAlchemy instrumentor. A statement that has a comment already is
left alone, as the specification asks.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from opentelemetry.propagate import inject

from spanwise.instrumentors._call import Call

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection, ExecutionContext

__all__ = ["Commenter", "with_comment"]

# Under this key OpenTelemetry's web instrumentors put what the framework knows: route, controller.
_FRAMEWORK_TAGS: Final = "SQLCOMMENTER_ORM_TAGS_AND_VALUES"
_PERCENT_STYLES: Final = frozenset(("format", "pyformat"))


class Commenter:
    """Makes comments.

    Args:
        options: ``db_driver``, ``db_framework``, ``opentelemetry_values`` or one key: False leaves it out.
        shown: whether the span's statement has the comment too (``enable_attribute_commenter``).
    """

    def __init__(self, options: Mapping[str, bool], shown: bool) -> None:
        from sqlalchemy import __version__

        self._options = dict(options)
        self._framework = f"sqlalchemy:{__version__}"
        self.shown = shown

    def comment(self, conn: Connection, statement: str, call: Call, context: ExecutionContext | None) -> str:
        """The comment for a statement, empty where there is to be none.

        Args:
            conn: runs the statement.
            statement: as it is.
            call: its span is the one that the comment names.
            context: the execution's.
        """
        if not call.span.is_recording() or "/*" in statement or "--" in statement:
            return ""
        found: dict[str, Any] = {"db_driver": conn.engine.driver, "db_framework": self._framework}
        if self._options.get("opentelemetry_values", True):
            inject(found, call.current)
        found = {key: value for key, value in found.items() if self._options.get(key, True)}
        tags = call.context.get(_FRAMEWORK_TAGS)
        if isinstance(tags, Mapping):
            found.update(tags)
        encoded = {quote(key): quote(str(value)) for key, value in found.items() if value is not None}
        pairs = [f"{key}='{value}'" for key, value in sorted(encoded.items())]
        text = ",".join(pairs)
        # These drivers read a percent sign as the beginning of a parameter, unless there are none.
        options = context.execution_options if context is not None else {}
        if conn.dialect.paramstyle in _PERCENT_STYLES and not options.get("no_parameters"):
            text = text.replace("%", "%%")
        return f"/*{text}*/" if text else ""


def with_comment(statement: str, comment: str) -> str:
    """The statement with a comment at its end, before a semicolon."""
    bare = statement.rstrip()
    if bare.endswith(";"):
        return f"{bare[:-1]} {comment};"
    return f"{bare} {comment}"
