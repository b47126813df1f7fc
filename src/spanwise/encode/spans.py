"""Spans as OTLP trace messages, written field by field.

Decoded, the result equals what the stock encoder (opentelemetry-exporter-otlp-proto-common 1.45) makes.
Its rules are kept where they surprise: ``flags`` holds only whether a parent is remote, never the trace
flags, and a link's trace state isn't sent. Intended differences, besides those of attributes: a lone
surrogate in a name, description or trace state is replaced (stock loses the batch), an identifier, time
or count out of range is brought into range, and a record that is no span is left out and reported.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from opentelemetry.trace.span import DEFAULT_TRACE_STATE

from spanwise.encode.attributes import MEMO, UNENCODABLE, encode_attributes
from spanwise.encode.cut import cut, with_mark
from spanwise.encode.memo import Texts
from spanwise.encode.request import (
    RECORD,
    OnUnencodable,
    UnencodableError,
    encode_records,
    warn_unencodable,
)
from spanwise.encode.varint import varint
from spanwise.encode.wire import MAX_UINT32, MAX_UINT64, fixed64, nested, text, unsigned
from spanwise.fixed import Fixed

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan

__all__ = ["More", "encode_span", "encode_span_fields", "encode_spans", "leaf_pieces"]

_MAX_TRACE_ID: Final = (1 << 128) - 1
_LOW: Final = (1 << 64) - 1

# Tags are packed with their values: one call for several fields. Identifiers are big-endian bytes, so
# the two-byte "tag, length" before each is too; times are little-endian fixed64.
_ids = struct.Struct(">HQQHQ").pack
_ids_and_parent = struct.Struct(">HQQHQHQ").pack
_TRACE_ID: Final = 0x0A10
_SPAN_ID: Final = 0x1208
_PARENT_ID: Final = 0x2208
_times = struct.Struct("<BQBQ").pack
_trace = struct.Struct(">HQQH").pack
_parent = struct.Struct(">HQ").pack
_id_within = struct.Struct(">Q10s").pack
_LEAF_IDS: Final = 20 + 8 + 10 + 18  # bytes of a leaf's ids and times
_START: Final = 0x39
_END: Final = 0x41

# Field 16, fixed32: SPAN_FLAGS_CONTEXT_HAS_IS_REMOTE_MASK, and SPAN_FLAGS_CONTEXT_IS_REMOTE_MASK.
_FLAGS_LOCAL: Final = b"\x85\x01\x00\x01\x00\x00"
_FLAGS_REMOTE: Final = b"\x85\x01\x00\x03\x00\x00"
# OTLP counts kinds from 1: its 0 is "unspecified". Kind and flags are one constant.
_LOCAL: Final = {kind: _FLAGS_LOCAL + b"\x30" + varint(kind + 1) for kind in range(5)}
_REMOTE: Final = {kind: _FLAGS_REMOTE + b"\x30" + varint(kind + 1) for kind in range(5)}
_UNSET: Final = b"\x7a\x00"
_STATUSES: Final = {None: b"", 0: _UNSET, 1: b"\x7a\x02\x18\x01", 2: b"\x7a\x02\x18\x02"}

More: TypeAlias = tuple["int | None", "str | None", int, Sequence[Any], int, Sequence[Any], int]
"""``StatusCode.value`` (0 to 2, or ``None`` for a span without status), its description, how many attributes
the limits removed, events (with ``name``, ``timestamp`` in ns, ``attributes``, ``dropped_attributes``), how
many the limits removed, links (with ``context``, ``attributes``, ``dropped_attributes``), how many the limits
removed."""

_NAMES: Final = Texts(MEMO, b"\x2a")
_EVENT_NAMES: Final = Texts(MEMO, b"\x12")


def encode_span_fields(
    trace_id: int,
    span_id: int,
    trace_state: Mapping[str, str] | None,
    parent_span_id: int | None,
    parent_is_remote: bool,
    name: str,
    kind_value: int,
    start_ns: int | None,
    end_ns: int | None,
    attributes: Mapping[str, Any] | None,
    more: More | None = None,
) -> bytes:
    """A span as the body of an OTLP Span message. Never raises.

    Args:
        trace_id: 128 bits.
        span_id: 64 bits.
        trace_state: W3C trace state in order; ``None`` and empty are alike.
        parent_span_id: 64 bits, ``None`` for a root.
        parent_is_remote: whether the parent came from another process.
        name: the span's name.
        kind_value: ``SpanKind.value``, 0 (internal) to 4 (consumer).
        start_ns: nanoseconds since 1970, ``None`` where it never started.
        end_ns: the same for the end.
        attributes: a plain dict is fastest.
        more: what most spans have none of; ``None`` for a span with an unset status and nothing else.
    """
    try:
        if parent_span_id is None:
            ids = _ids(_TRACE_ID, trace_id >> 64, trace_id & _LOW, _SPAN_ID, span_id)
        else:
            high, low = trace_id >> 64, trace_id & _LOW
            ids = _ids_and_parent(_TRACE_ID, high, low, _SPAN_ID, span_id, _PARENT_ID, parent_span_id)
        kind = (_REMOTE if parent_is_remote else _LOCAL)[kind_value]
        title = _NAMES[name]
        times = _times(_START, start_ns or 0, _END, end_ns or 0)
    except Exception:
        name, cuts = cut(_as_text(name))
        return encode_span_fields(
            unsigned(trace_id, _MAX_TRACE_ID),
            unsigned(span_id, MAX_UINT64),
            trace_state,
            None if parent_span_id is None else unsigned(parent_span_id, MAX_UINT64),
            bool(parent_is_remote),
            name,
            kind_value if kind_value in (0, 1, 2, 3, 4) else 0,
            unsigned(start_ns, MAX_UINT64),
            unsigned(end_ns, MAX_UINT64),
            with_mark(attributes, cuts, "a span's name"),
            more,
        )
    if more is not None and more[1]:
        description, cuts = cut(_as_text(more[1]))
        more = (more[0], description, *more[2:])
        attributes = with_mark(attributes, cuts, "a span's status description")
    if more is None and (trace_state is DEFAULT_TRACE_STATE or not trace_state):
        return b"".join((ids, kind, title, times, encode_attributes(b"\x4a", attributes), _UNSET))
    return b"".join(
        (
            *(ids, kind, title, times, encode_attributes(b"\x4a", attributes)),
            _UNSET if more is None else _rest(*more),
            _trace_state(trace_state),
        )
    )


# The parent of the last leaf, and its ids as they stand in a leaf. One value, so that threads cannot mix two.
_last_parent: tuple[Sequence[Any], bytes, bytes] = ((), b"", b"")


def leaf_pieces(
    parent: Sequence[Any],
    span_id: int,
    name: str,
    kind_value: int,
    start_ns: int,
    end_ns: int,
    attributes: Fixed,
) -> tuple[bytes, bytes, bytes, bytes, bytes]:
    """A span with a local parent and nothing but these as a record of a request, in pieces.

    All but id and times is encoded once. They are :func:`encode_span_fields`', and in range.

    Args:
        parent: the trace's and the parent's id, and whatever follows; known again if it is the same object.
        span_id, name, kind_value, start_ns, end_ns, attributes: the span's.

    Raises:
        struct.error: one is out of range.
    """
    global _last_parent
    known, trace, within = _last_parent
    if known is not parent:
        trace_id, parent_id = parent[0], parent[1]
        trace = _trace(_TRACE_ID, trace_id >> 64, trace_id & _LOW, _SPAN_ID)
        within = _parent(_PARENT_ID, parent_id)
        _last_parent = parent, trace, within
    named, kind, opening, rest = attributes.leaf
    if named is not name or kind != kind_value:
        title, marked = _named(_NAMES, b"\x2a", name, attributes, "a span's name")
        rest = b"".join((_LOCAL[kind_value], title, encode_attributes(b"\x4a", marked), _UNSET))
        opening = RECORD + varint(_LEAF_IDS + len(rest))
        attributes.leaf = (name, kind_value, opening, rest)
    return opening, trace, _id_within(span_id, within), _times(_START, start_ns, _END, end_ns), rest


def _rest(
    code: int | None,
    description: str | None,
    dropped_attributes: int,
    events: Sequence[Any],
    dropped_events: int,
    links: Sequence[Any],
    dropped_links: int,
) -> bytes:
    status = _STATUSES.get(code, _UNSET)
    if description:
        status = nested(b"\x7a", text(b"\x12", description) + status[2:])
    return b"".join(
        (
            status,
            _count(b"\x50", dropped_attributes),
            _each(_event, events, b"\x60", dropped_events),
            _each(_link, links, b"\x70", dropped_links),
        )
    )


def _as_text(value: Any) -> str:
    if value is None:
        return ""
    try:
        return value if isinstance(value, str) else str(value)
    except Exception:
        return UNENCODABLE


def _named(known: Texts, tag: bytes, name: Any, attributes: Any, field: str) -> tuple[bytes, Any]:
    """A name's field, and the attributes with its mark where it was cut."""
    try:
        return known[name], attributes
    except Exception:
        short, cuts = cut(_as_text(name))
        return text(tag, short), with_mark(attributes, cuts, field)


def _count(prefix: bytes, value: Any) -> bytes:
    return prefix + varint(unsigned(value, MAX_UINT32)) if value else b""


def _trace_state(trace_state: Mapping[str, str] | None) -> bytes:
    try:
        pairs = trace_state.items() if trace_state else ()
        return text(b"\x1a", ",".join([f"{key}={value}" for key, value in pairs]))
    except Exception:
        return b""


def _each(encode: Callable[[Any], bytes], items: Sequence[Any], prefix: bytes, dropped: int) -> bytes:
    """Events or links, then how many are missing: one that cannot be encoded counts as dropped."""
    encoded = []
    unencodable = 0
    for item in items:
        try:
            encoded.append(encode(item))
        except Exception:
            unencodable += 1
    encoded.append(_count(prefix, unsigned(dropped, MAX_UINT32) + unencodable))
    return b"".join(encoded)


def _event(event: Any) -> bytes:
    """One event with its tag. A timestamp or name that cannot be written costs only itself."""
    name, attributes = _named(_EVENT_NAMES, b"\x12", event.name, event.attributes, "an event's name")
    return nested(
        b"\x5a",
        b"".join(
            (
                b"\x09",
                fixed64(unsigned(event.timestamp, MAX_UINT64)),
                name,
                encode_attributes(b"\x1a", attributes),
                _count(b"\x20", event.dropped_attributes),
            )
        ),
    )


def _link(link: Any) -> bytes:
    """One link with its tag."""
    context = link.context
    trace_id = unsigned(context.trace_id, _MAX_TRACE_ID)
    span_id = unsigned(context.span_id, MAX_UINT64)
    flags = b"\x35" + (_FLAGS_REMOTE if context.is_remote else _FLAGS_LOCAL)[2:]
    return nested(
        b"\x6a",
        b"".join(
            (
                _ids(_TRACE_ID, trace_id >> 64, trace_id & _LOW, _SPAN_ID, span_id),
                flags,
                encode_attributes(b"\x22", link.attributes),
                _count(b"\x28", link.dropped_attributes),
            )
        ),
    )


def encode_span(span: ReadableSpan) -> bytes:
    """A finished span as the body of an OTLP Span message, from its public properties.

    Raises:
        UnencodableError: it has no context, or isn't a span.
    """
    try:
        context = span.get_span_context()
        if context is None:
            raise ValueError("it has no context")
        parent = span.parent
        status = span.status
        return encode_span_fields(
            context.trace_id,
            context.span_id,
            context.trace_state,
            parent.span_id if parent else None,
            bool(parent and parent.is_remote),
            span.name,
            span.kind.value,
            span.start_time,
            span.end_time,
            span.attributes,
            (
                status.status_code.value if status is not None else None,
                status.description if status is not None else None,
                span.dropped_attributes,
                span.events,
                span.dropped_events,
                span.links,
                span.dropped_links,
            ),
        )
    except Exception as error:
        raise UnencodableError(
            f"A span cannot be encoded: {error}",
            where=type(span).__name__,
            fix="A span needs a context, a kind, a status, and what the SDK's ReadableSpan has",
        ) from error


def encode_spans(spans: Sequence[ReadableSpan], on_unencodable: OnUnencodable = warn_unencodable) -> bytes:
    """Finished spans as an ExportTraceServiceRequest, grouped by resource and scope. Never raises.

    Args:
        spans: any spans that have the SDK's public properties.
        on_unencodable: told of each span left out, with the error.
    """
    return encode_records(spans, encode_span, on_unencodable)
