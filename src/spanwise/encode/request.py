"""Records into an export request: grouped by resource and scope, and framed.

The three requests share one layout: a request holds ``Resource…`` messages in field 1, those hold
``Scope…`` messages in field 2, and those hold the records in field 2. Requests are made of repeated
fields only, so two of them written one after the other are one valid request.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from spanwise.encode.resource import resource_frame, scope_frame
from spanwise.encode.varint import varint
from spanwise.encode.wire import repeated
from spanwise.errors import SpanwiseError
from spanwise.log import Log

if TYPE_CHECKING:
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.util.instrumentation import InstrumentationScope

__all__ = [
    "RECORD",
    "Groups",
    "OnUnencodable",
    "Piece",
    "UnencodableError",
    "encode_records",
    "frame",
    "frame_pieces",
    "warn_unencodable",
]

_logger = Log(__name__)

RECORD: Final = b"\x12"
"""The tag before each record in its scope's message; the same for the three signals."""

Piece: TypeAlias = "bytes | memoryview"
"""A part of a request. A view shows memory that somebody else holds until the request was sent."""

OnUnencodable = Callable[[Any, Exception], None]
"""Told of each record that is left out, with the error: to count it."""


class UnencodableError(SpanwiseError):
    """A record that isn't one, such as a span without a context: there is nothing to send of it."""


def warn_unencodable(record: Any, error: Exception) -> None:
    """Log that a record was left out. The default where the caller counts nothing."""
    _logger.seldom("Left a %s out of an export: %s", type(record).__name__, error)


def frame(
    resource: Resource | None, scopes: Iterable[tuple[InstrumentationScope | None, Iterable[bytes]]]
) -> bytes:
    """One resource's records as a whole request.

    Args:
        resource: what the records describe.
        scopes: each scope with its encoded records, without tag and length.
    """
    fields = [(scope, [repeated(RECORD, records)]) for scope, records in scopes]
    return b"".join(frame_pieces(resource, fields))


def frame_pieces(
    resource: Resource | None, scopes: Iterable[tuple[InstrumentationScope | None, Sequence[Piece]]]
) -> list[Piece]:
    """As :func:`frame`, for records that are encoded already, tags and lengths included.

    Args:
        resource: what the records describe.
        scopes: each scope with its records in pieces.

    Returns:
        The request in pieces, the given ones among them: they are not copied.
    """
    opening, closing = resource_frame(resource)
    pieces: list[Piece] = [opening]
    size = len(opening) + len(closing)
    for scope, fields in scopes:
        first, last = scope_frame(scope)
        length = len(first) + len(last) + sum(map(len, fields))
        head = b"".join((b"\x12", varint(length), first))
        pieces += (head, *fields, last)
        size += len(head) + length - len(first)
    pieces.append(closing)
    # One small piece the fewer.
    pieces[0:2] = [b"".join((b"\x0a", varint(size), *pieces[0:2]))]
    return [piece for piece in pieces if piece]


class Groups:
    """Encoded records by resource and scope, in the order they came, equal ones together."""

    __slots__ = ("_keys", "_lists", "_resources")

    def __init__(self) -> None:
        self._lists: dict[tuple[int, int], list[bytes]] = {}
        self._resources: dict[Any, tuple[Any, dict[Any, tuple[Any, list[bytes]]]]] = {}
        # Keeps what the ids above belong to alive.
        self._keys: list[tuple[Any, Any]] = []

    def add(self, resource: Resource | None, scope: InstrumentationScope | None, record: bytes) -> None:
        """Put one encoded record, without tag and length, in its place."""
        # Hashing a resource makes JSON of it; its identity answers for all but the first record.
        key = id(resource), id(scope)
        records = self._lists.get(key)
        if records is None:
            records = self._lists[key] = self._group(resource, scope)
        records.append(record)

    def _group(self, resource: Any, scope: Any) -> list[bytes]:
        # Encodes and keeps both: one that cannot be is found now, and costs the record that brought it.
        resource_frame(resource)
        scope_frame(scope)
        self._keys.append((resource, scope))
        _, scopes = self._resources.setdefault(_hashable(resource), (resource, {}))
        _, records = scopes.setdefault(_hashable(scope), (scope, []))
        return records

    def request(self) -> bytes:
        """The request; empty without records."""
        return b"".join([frame(resource, scopes.values()) for resource, scopes in self._resources.values()])


def _hashable(key: Any) -> Any:
    """The key itself, or its identity where it has no hash: then it's equal to nothing else."""
    try:
        hash(key)
    except Exception:
        return id(key)
    return key


def encode_records(
    records: Sequence[Any], encode: Callable[[Any], bytes], on_unencodable: OnUnencodable
) -> bytes:
    """Encode and group records that know their resource and scope.

    Args:
        records: spans or log records of the SDK.
        encode: makes a record's message; what it raises costs that record alone.
        on_unencodable: told of each record left out.
    """
    groups = Groups()
    add = groups.add
    for record in records:
        try:
            encoded = encode(record)
            add(record.resource, record.instrumentation_scope, encoded)
        except Exception as error:
            on_unencodable(record, error)
    return groups.request()
