"""The kinds of operation. A new one is a line in KINDS; a rule in thresholds/defaults.yaml rates it."""

from __future__ import annotations

from typing import Final

from opentelemetry.trace import SpanKind

from spanwise import names
from spanwise.manual.told import shown, suggestion, tell

__all__ = ["KINDS", "kind_of"]

KINDS: Final[dict[str, SpanKind]] = {
    "http": SpanKind.SERVER,  # a request that this process answers, by a server that nobody instruments
    "external_api": SpanKind.CLIENT,
    "database": SpanKind.CLIENT,
    "ai_generation": SpanKind.CLIENT,
    "file": SpanKind.INTERNAL,
    "auth": SpanKind.INTERNAL,
    "custom": SpanKind.INTERNAL,
    "system_resource": SpanKind.INTERNAL,
    "plugin": SpanKind.INTERNAL,
    names.OPERATION_KIND_PLUGIN_LOAD: SpanKind.INTERNAL,
    "component.render": SpanKind.INTERNAL,
    "component.action": SpanKind.INTERNAL,
}
"""Value of ``spanwise.operation.kind`` -> kind of the span."""

_DEFAULT: Final = "custom"


def kind_of(kind: object) -> tuple[str, SpanKind]:
    """A kind as its attribute's value and its span's kind; an unknown one is told, and is ``custom``."""
    if isinstance(kind, str) and kind in KINDS:
        return kind, KINDS[kind]
    tell(f"{shown(kind)} is no kind of operation, so it is rated as {_DEFAULT}. {suggestion(kind, KINDS)}")
    return _DEFAULT, KINDS[_DEFAULT]
