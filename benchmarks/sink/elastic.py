"""Elastic APM's intake v2: lines of JSON, each an object with one key that names its kind.

https://www.elastic.co/guide/en/apm/guide/current/api-events.html
"""

from __future__ import annotations

import json
from collections.abc import Iterator

from benchmarks.sink.model import Span

__all__ = ["decode"]


def decode(path: str, body: bytes) -> Iterator[Span]:  # noqa: ARG001 - all decoders are called alike
    """The transactions and spans of one request; none for metadata, errors and metric sets."""
    for line in body.splitlines():
        if not line.strip():
            continue
        event = json.loads(line)
        for kind in ("transaction", "span"):
            if kind in event:
                context = event[kind].get("context") or {}
                yield Span(event[kind]["name"], len(context.get("tags") or ()))
