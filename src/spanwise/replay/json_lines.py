"""OTLP/JSON, a request a line, as the Collector's file exporter writes it.

https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding: ids in hexadecimal, 64-bit integers as text.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any, BinaryIO, Final

from spanwise.replay.spans import KINDS, TRACE_ID_BYTES, Batch, Losses, Span, first_of_each

__all__ = ["LONGEST_LINE", "read_lines"]

# The Collector takes requests of 20 MiB at most unless told otherwise; in JSON they are twice that. A line is
# held whole, several times over while it is decoded.
LONGEST_LINE: Final = 64 * 1024 * 1024

_KIND_NUMBERS: Final = {f"SPAN_KIND_{kind.upper()}": number for number, kind in enumerate(KINDS)}
_STATUS_NUMBERS: Final = {"STATUS_CODE_UNSET": 0, "STATUS_CODE_OK": 1, "STATUS_CODE_ERROR": 2}
_UINT64: Final = 1 << 64
_INT64: Final = 1 << 63
# What a value of another type, a number without an end (1e999), or a key that is not there raises.
_WRONG: Final = (ValueError, TypeError, ArithmeticError, AttributeError, KeyError, RecursionError)


def read_lines(stream: BinaryIO, file: str, losses: Losses) -> Iterator[Batch]:
    """The spans of a file; metrics and logs in it are passed over.

    Args:
        stream: the file, unpacked.
        file: its name, for messages.
        losses: takes what cannot be read.
    """
    number = 0
    while line := stream.readline(LONGEST_LINE):
        number += 1
        place = f"{file}, line {number}"
        if len(line) == LONGEST_LINE and not line.endswith(b"\n"):
            size = len(line)
            while (rest := stream.readline(LONGEST_LINE)) and not rest.endswith(b"\n"):
                size += len(rest)
            losses.add(place, f"longer than {LONGEST_LINE} bytes", size=size + len(rest))
            continue
        if line.isspace():
            continue
        try:
            document = json.loads(line)
            groups = document.get("resourceSpans") or ()
        except _WRONG as error:
            losses.add(place, f"not a request in OTLP/JSON: {_reason(error)}", size=len(line))
            continue
        yield from _requests(groups, place, losses)


def _requests(groups: Any, place: str, losses: Losses) -> Iterator[Batch]:
    try:
        for group in groups:
            resource = _attributes((group.get("resource") or {}).get("attributes"))
            spans: list[Span] = []
            for scope in group.get("scopeSpans") or ():
                for each in scope.get("spans") or ():
                    try:
                        spans.append(_span(each))
                    except _WRONG as error:
                        what = f"span {len(spans) + 1} of a resource cannot be read: {_reason(error)}"
                        losses.add(place, what, spans=1)
            yield Batch(resource, spans)
    except _WRONG as error:
        losses.add(place, f"not a request in OTLP/JSON: {_reason(error)}")


def _reason(error: BaseException) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"{error.msg} at column {error.colno}"
    if isinstance(error, KeyError):
        return f"there is no {error}"
    return "nested too deep" if isinstance(error, RecursionError) else str(error)[:200]


def _span(span: Any) -> Span:
    trace_id = bytes.fromhex(span["traceId"])
    if len(trace_id) != TRACE_ID_BYTES or not any(trace_id):
        raise ValueError(f"the trace id {span['traceId']!r} is none")
    name = span.get("name") or ""
    if name.__class__ is not str:
        raise ValueError("the name is no text")
    return Span(
        trace_id,
        name,
        _number(span.get("kind") or 0, _KIND_NUMBERS, len(KINDS)),
        _time(span.get("startTimeUnixNano")),
        _time(span.get("endTimeUnixNano")),
        _number((span.get("status") or {}).get("code") or 0, _STATUS_NUMBERS, len(_STATUS_NUMBERS)),
        _attributes(span.get("attributes")),
        len(str(span)),
    )


def _number(value: Any, names: dict[str, int], most: int) -> int:
    number = names[value] if value in names else int(value)
    # What a later version of the protocol may add is nothing that a rule can name.
    return number if 0 <= number < most else 0


def _time(value: Any) -> int:
    time = int(value or 0)
    if not 0 <= time < _UINT64:
        raise ValueError(f"{value!r} is no time")
    return time


def _attributes(pairs: Any) -> dict[str, Any]:
    return first_of_each([(pair["key"], _value(pair.get("value"))) for pair in pairs or ()])


def _value(value: Any) -> Any:
    if not value:
        return None
    if "stringValue" in value:
        return str(value["stringValue"])
    if "intValue" in value:
        number = int(value["intValue"])
        if not -_INT64 <= number < _INT64:  # a quotient of it may be beyond what a float can hold
            raise ValueError(f"{str(number)[:40]} has more than 64 bits")
        return number
    if "boolValue" in value:
        return bool(value["boolValue"])
    if "doubleValue" in value:
        return float(value["doubleValue"])
    if "bytesValue" in value:
        return base64.b64decode(value["bytesValue"])
    return tuple(value.values())  # a list or a map: it is there, and equals nothing that a rule can say
