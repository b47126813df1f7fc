"""OTLP protobuf: one request, or requests each after its length, as the Collector's file exporter has them.

A single request is taken apart at its top level, resource by resource, so that a file of any size is read in
bounded memory. The messages themselves are read by the official classes: 8.2 µs a span of eight attributes
against 4.3 µs for a reader of our own without any check, of some 25 µs in all.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, BinaryIO, Final

from google.protobuf.message import DecodeError  # type: ignore[import-untyped, unused-ignore]
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans

from spanwise.replay.salvage import whole_part
from spanwise.replay.spans import KINDS, TRACE_ID_BYTES, Batch, Losses, Span, first_of_each

__all__ = ["FIRST_BYTE", "LONGEST_MESSAGE", "read_framed", "read_request"]

# The Collector takes requests of 20 MiB at most unless told otherwise. A message is held whole, several times
# over while it is decoded; a damaged length must not claim memory.
LONGEST_MESSAGE: Final = 64 * 1024 * 1024

FIRST_BYTE: Final = b"\x0a"
"""With which a request begins: field 1, length-delimited. A length below 160 MiB begins otherwise."""

# The tag of a resource's scopes, in which whole spans may lie where the scope itself is cut off.
_WITHIN: Final = b"\x12"
_ZSTD: Final = b"\x28\xb5\x2f\xfd"
_LENGTH_BYTES: Final = 4


def read_framed(stream: BinaryIO, file: str, losses: Losses) -> Iterator[Batch]:
    """The spans of requests that each stand after four bytes of length, big-endian.

    Args:
        stream: the file, unpacked.
        file: its name, for messages.
        losses: takes what cannot be read. A message that cannot be is passed over.
    """
    position = 0
    while head := stream.read(_LENGTH_BYTES):
        place = f"{file}, byte {position}"
        length = int.from_bytes(head, "big")
        if len(head) < _LENGTH_BYTES or length > LONGEST_MESSAGE:
            what = "the file ends within a length" if len(head) < _LENGTH_BYTES else f"a length of {length}"
            losses.add(place, f"{what}; what follows cannot be read", size=len(head) + _drain(stream))
            return
        body = stream.read(length)
        if len(body) < length:
            whole = whole_part(body, FIRST_BYTE + _WITHIN)
            losses.add(place, "the file ends within a request", size=_LENGTH_BYTES + len(body) - len(whole))
            yield from _salvaged(ExportTraceServiceRequest, whole, place, losses)
            return
        position += _LENGTH_BYTES + length
        try:
            request = ExportTraceServiceRequest.FromString(body)
        except DecodeError:
            packed = body.startswith(_ZSTD)
            told = "compressed with zstd: unpack it first" if packed else "no request of traces"
            losses.add(place, told, size=_LENGTH_BYTES + length)
            continue
        yield from _batches(request.resource_spans, place, losses)


def read_request(stream: BinaryIO, file: str, losses: Losses) -> Iterator[Batch]:
    """The spans of a file that is one request.

    Args:
        stream: the file, unpacked.
        file: its name, for messages.
        losses: takes what cannot be read. A resource that cannot be is passed over.
    """
    position = 0
    while head := stream.read(1):
        place = f"{file}, byte {position}"
        length, taken = _varint(stream)
        if head != FIRST_BYTE or length is None or length > LONGEST_MESSAGE:
            right = head == FIRST_BYTE and length is not None
            what = f"a resource's spans of {length} bytes" if right else "no request of traces"
            losses.add(place, f"{what}; what follows cannot be read", size=1 + taken + _drain(stream))
            return
        body = stream.read(length)
        if len(body) < length:
            whole = whole_part(body, _WITHIN)
            size = 1 + taken + len(body) - len(whole)
            losses.add(place, "the file ends within a resource's spans", size=size)
            yield from _salvaged(ResourceSpans, whole, place, losses)
            return
        position += 1 + taken + length
        try:
            group = ResourceSpans.FromString(body)
        except DecodeError:
            losses.add(place, "no resource's spans", size=1 + taken + length)
            continue
        yield from _batches((group,), place, losses)


def _salvaged(
    kind: type[ExportTraceServiceRequest | ResourceSpans], whole: bytes, place: str, losses: Losses
) -> Iterator[Batch]:
    """The spans of what is whole of a message that was cut off."""
    try:
        message = kind.FromString(whole)
    except DecodeError:
        losses.add(place, "nor can what comes before be read", size=len(whole))
        return
    groups = message.resource_spans if isinstance(message, ExportTraceServiceRequest) else (message,)
    yield from _batches(groups, place, losses)


def _varint(stream: BinaryIO) -> tuple[int | None, int]:
    """A length and how many bytes it takes; None where it is none of at most five bytes."""
    value = 0
    for count in range(5):
        byte = stream.read(1)
        if not byte:
            return None, count
        value |= (byte[0] & 0x7F) << (7 * count)
        if byte[0] < 0x80:
            return value, count + 1
    return None, 5


def _drain(stream: BinaryIO) -> int:
    size = 0
    while piece := stream.read(1 << 16):
        size += len(piece)
    return size


def _batches(groups: Iterable[ResourceSpans], place: str, losses: Losses) -> Iterator[Batch]:
    for group in groups:
        spans = []
        for scope in group.scope_spans:
            for span in scope.spans:
                trace_id = span.trace_id
                if len(trace_id) != TRACE_ID_BYTES or not any(trace_id):
                    losses.add(place, f"the trace id {trace_id.hex()!r} is none", spans=1)
                    continue
                kind = span.kind
                spans.append(
                    Span(
                        trace_id,
                        span.name,
                        kind if 0 <= kind < len(KINDS) else 0,
                        span.start_time_unix_nano,
                        span.end_time_unix_nano,
                        span.status.code,
                        _attributes(span.attributes),
                        span.ByteSize(),
                    )
                )
        yield Batch(_attributes(group.resource.attributes), spans)


def _attributes(pairs: Iterable[KeyValue]) -> dict[str, Any]:
    return first_of_each([(pair.key, _value(pair.value)) for pair in pairs])


def _value(value: AnyValue) -> Any:
    which = value.WhichOneof("value")
    if which == "string_value":
        return value.string_value
    if which == "int_value":
        return value.int_value
    # A list or a map is there, and equals nothing that a rule can say.
    return getattr(value, which) if which else None
