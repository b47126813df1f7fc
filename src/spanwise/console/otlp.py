"""The two encodings of OTLP/HTTP: binary protobuf and JSON.

OTLP/JSON is protobuf's JSON mapping with one exception: ids are hexadecimal, not base64
(https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding).
"""

from __future__ import annotations

import base64
import json
from typing import Any, Final, TypeVar

from google.protobuf import json_format  # type: ignore[import-untyped, unused-ignore]
from google.protobuf.message import (  # type: ignore[import-untyped, unused-ignore]
    DecodeError,
    Message,
)

__all__ = ["JSON", "PROTOBUF", "MalformedBody", "dump", "parse"]

PROTOBUF: Final = "application/x-protobuf"
JSON: Final = "application/json"

_ID_KEYS: Final = frozenset(
    ("traceId", "spanId", "parentSpanId", "trace_id", "span_id", "parent_span_id"),
)
# One zero byte: a length no id has, so a value that isn't hexadecimal is counted as rejected.
_NOT_AN_ID: Final = base64.b64encode(b"\0").decode()

M = TypeVar("M", bound=Message)


class MalformedBody(ValueError):
    """The body is not the message that its content type and path promise."""


def parse(body: bytes, content_type: str, message: M) -> M:
    """Fill ``message`` from ``body``.

    Raises:
        MalformedBody: the body is truncated, nested too deeply or not such a message.
    """
    try:
        if content_type == PROTOBUF:
            message.ParseFromString(body)
        else:
            document = json.loads(body)
            if not isinstance(document, dict):
                raise MalformedBody("the JSON body is not an object")
            _ids_to_base64(document)
            json_format.ParseDict(document, message, ignore_unknown_fields=True)
    # RecursionError: JSON nested a hundred thousand deep. The other types are what the JSON mapping
    # raises on a value of the wrong type, a lone surrogate among them.
    except (
        DecodeError,
        json_format.ParseError,
        ValueError,
        TypeError,
        AttributeError,
        RecursionError,
    ) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else str(error)[:200]
        raise MalformedBody(f"not a valid {message.DESCRIPTOR.name}: {reason}") from None
    return message


def dump(message: Message, content_type: str) -> bytes:
    """``message`` in the encoding that the sender used."""
    if content_type == PROTOBUF:
        return bytes(message.SerializeToString())
    return str(json_format.MessageToJson(message, indent=None)).encode()


def _ids_to_base64(document: dict[str, Any]) -> None:
    """Turn hexadecimal ids into the base64 that the JSON mapping reads; a loop, so no depth hurts."""
    pending: list[Any] = [document]
    while pending:
        item = pending.pop()
        if isinstance(item, list):
            pending.extend(child for child in item if isinstance(child, dict | list))
            continue
        for key, value in item.items():
            if isinstance(value, dict | list):
                pending.append(value)
            elif key in _ID_KEYS and isinstance(value, str):
                try:
                    item[key] = base64.b64encode(bytes.fromhex(value)).decode()
                except ValueError:
                    item[key] = _NOT_AN_ID
