"""Log records as an OTLP ExportLogsServiceRequest.

Decoded, the result equals what the stock encoder makes of the SDK's ``ReadableLogRecord``. Intended
differences, besides those of attributes, which the body shares: a lone surrogate in the body, event name
or severity text is replaced and a body of any type is sent as text (stock loses the batch for either); a
field that cannot be read costs itself, not the record; and what is no record is left out and reported.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from spanwise.encode.attributes import UNENCODABLE, any_value, encode_attributes
from spanwise.encode.plain import readable
from spanwise.encode.request import OnUnencodable, encode_records, warn_unencodable
from spanwise.encode.varint import varint
from spanwise.encode.wire import MAX_UINT32, MAX_UINT64, fixed32, fixed64, nested, text, unsigned

if TYPE_CHECKING:
    from opentelemetry.sdk._logs import ReadableLogRecord

__all__ = ["encode_log", "encode_logs"]

_MAX_TRACE_ID: Final = (1 << 128) - 1
_MAX_ENUM: Final = (1 << 31) - 1


def encode_logs(
    records: Sequence[ReadableLogRecord], on_unencodable: OnUnencodable = warn_unencodable
) -> bytes:
    """Log records as an ExportLogsServiceRequest, grouped by resource and scope. Never raises.

    Args:
        records: readable or read-write log records of the SDK.
        on_unencodable: told of each record left out, with the error.
    """
    return encode_records(records, encode_log, on_unencodable)


def encode_log(record: ReadableLogRecord) -> bytes:
    """One log record as the body of an OTLP LogRecord message.

    Args:
        record: the SDK's record around the API's.

    Raises:
        AttributeError: it is no log record.
    """
    log = record.log_record
    severity = unsigned(getattr(log.severity_number, "value", None), _MAX_ENUM)
    trace_id, span_id = unsigned(log.trace_id, _MAX_TRACE_ID), unsigned(log.span_id, MAX_UINT64)
    return b"".join(
        (
            _time(b"\x09", log.timestamp),
            _time(b"\x59", log.observed_timestamp),
            b"\x10" + varint(severity) if severity else b"",
            _text(b"\x1a", log.severity_text),
            # Always there: an empty body isn't the same as none.
            nested(b"\x2a", any_value(log.body)),
            encode_attributes(b"\x32", log.attributes),
            b"\x38" + varint(unsigned(record.dropped_attributes, MAX_UINT32)),
            b"\x45" + fixed32(unsigned(log.trace_flags, MAX_UINT32)),
            b"\x4a\x10" + trace_id.to_bytes(16, "big") if trace_id else b"",
            b"\x52\x08" + span_id.to_bytes(8, "big") if span_id else b"",
            _text(b"\x62", log.event_name),
        )
    )


def _time(prefix: bytes, value: Any) -> bytes:
    nanoseconds = unsigned(value, MAX_UINT64)
    return prefix + fixed64(nanoseconds) if nanoseconds else b""


def _text(prefix: bytes, value: Any) -> bytes:
    try:
        return text(prefix, value if value is None or isinstance(value, str) else readable(value))
    except Exception:  # a text of a class of the application's
        return text(prefix, UNENCODABLE)
