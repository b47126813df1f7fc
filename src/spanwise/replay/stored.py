"""Spans as the console stores them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, Final

from spanwise.replay.spans import ERROR, KINDS, Batch, Span

__all__ = ["batch"]

_KINDS: Final = {kind: number for number, kind in enumerate(KINDS)}
_STATUSES: Final = {"ok": 1, "error": ERROR}


def batch(
    resource: Mapping[str, Any], rows: Iterable[tuple[str, str, str, int, int, str, str, int]]
) -> Batch:
    """The spans of stored rows.

    The store keeps attributes as a browser can show them: an integer beyond 2^53 is text there, and equals
    no number of a rule; nor does it keep which of two equal keys came first.

    Args:
        resource: the resource's attributes.
        rows: trace id in hexadecimal, name, kind, start, end, status, attributes as JSON, bytes.
    """
    return Batch(
        resource,
        [
            Span(
                bytes.fromhex(trace_id),
                name,
                _KINDS.get(kind, 0),
                start,
                end,
                _STATUSES.get(status, 0),
                json.loads(attributes),
                size,
            )
            for trace_id, name, kind, start, end, status, attributes, size in rows
        ],
    )
