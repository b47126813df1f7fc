"""An export request taken apart into its records, and requests made of some of them.

No record is decoded. The three signals' requests have one layout: see :mod:`spanwise.encode.request`.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import TypeAlias

from spanwise.encode.fields import Bytes, fields
from spanwise.encode.wire import LENGTH, nested

__all__ = ["Record", "records", "request"]

Record: TypeAlias = "tuple[bytes, bytes, bytes]"
"""What describes the resource and the scope of a record (all other fields of their messages), and the record
with its tag and length. Records of one message share the same two objects."""


def records(body: bytes) -> list[Record]:
    """The spans, log records or metrics of a request, in their order.

    Raises:
        ValueError: it is no request.
    """
    found: list[Record] = []
    for number, kind, _, value, end in fields(body):
        if (number, kind) != (1, LENGTH):
            raise ValueError("no export request")
        resource, scopes = _apart(memoryview(body)[value:end])
        for scope_message in scopes:
            scope, items = _apart(scope_message)
            found += [(resource, scope, nested(b"\x12", bytes(item))) for item in items]
    return found


def request(chosen: Sequence[Record]) -> bytes:
    """The request that holds these records."""
    return b"".join(
        nested(b"\x0a", resource + b"".join(_scopes(list(mine)))) for resource, mine in _runs(chosen, 0)
    )


def _scopes(mine: Sequence[Record]) -> list[bytes]:
    return [
        nested(b"\x12", scope + b"".join(record for _, _, record in same)) for scope, same in _runs(mine, 1)
    ]


def _runs(chosen: Sequence[Record], part: int) -> list[tuple[bytes, list[Record]]]:
    """Neighbours that share the same part."""
    runs = groupby(chosen, key=lambda record: id(record[part]))
    listed = [list(same) for _, same in runs]
    return [(same[0][part], same) for same in listed]


def _apart(message: Bytes) -> tuple[bytes, list[Bytes]]:
    """A message's field 2, which is repeated, and all its other fields as they stand."""
    others, inner = [], []
    for number, kind, start, value, end in fields(message):
        if (number, kind) == (2, LENGTH):
            inner.append(message[value:end])
        else:
            others.append(bytes(message[start:end]))
    return b"".join(others), inner
