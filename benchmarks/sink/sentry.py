"""Sentry's envelopes: a transaction is its root span and the spans in it.

https://develop.sentry.dev/sdk/foundations/transport/envelopes/
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from benchmarks.sink.model import Span

__all__ = ["decode"]


def decode(path: str, body: bytes) -> Iterator[Span]:  # noqa: ARG001 - all decoders are called alike
    """The spans of one envelope; none for events, sessions and reports."""
    for header, payload in _items(body):
        kind = header.get("type")
        if kind == "transaction":
            transaction = json.loads(payload)
            root = transaction.get("contexts", {}).get("trace", {})
            yield Span(transaction.get("transaction", ""), len(root.get("data") or ()))
            for span in transaction.get("spans", ()):
                yield Span(span.get("description") or span.get("op") or "", len(span.get("data") or ()))
        elif kind == "span":
            for span in json.loads(payload).get("items", ()):
                yield Span(span.get("name", ""), len(span.get("attributes") or ()))


def _items(body: bytes) -> Iterator[tuple[dict[str, Any], bytes]]:
    """Header and payload of each item. A payload without a length ends with its line."""
    at = body.find(b"\n") + 1
    while 0 < at < len(body):
        end = body.find(b"\n", at)
        if end < 0:
            return
        line = body[at:end]
        at = end + 1
        if not line:
            continue
        header = json.loads(line)
        length = header.get("length")
        if length is None:
            stop = body.find(b"\n", at)
            length = (stop if stop >= 0 else len(body)) - at
        yield header, body[at : at + length]
        at += length + 1
