"""OTLP attribute values as plain, JSON-safe Python values.

JSON has no NaN, no infinity, no bytes, and a browser's numbers are exact only up to 2**53. So NaN and the
infinities become the strings that OTLP/JSON uses for them
(https://protobuf.dev/programming-guides/json/), bytes become ``base64:…``, and an integer beyond
2**53 becomes its decimal string.
"""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Iterable
from typing import Any, Final

from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue

__all__ = ["attribute_map", "number", "plain", "to_json"]

# Number.MAX_SAFE_INTEGER of ECMAScript: beyond it a browser shows a neighbouring number.
_EXACT_IN_A_BROWSER: Final = 2**53 - 1
# Deeper than any real attribute; keeps the page readable and the recursion far from Python's limit.
_MAX_DEPTH: Final = 32


def number(value: float) -> float | int | str:
    """A number as JSON can carry it and a browser can show it."""
    if isinstance(value, int):
        return value if abs(value) <= _EXACT_IN_A_BROWSER else str(value)
    if math.isfinite(value):
        return value
    if math.isnan(value):
        return "NaN"
    return "Infinity" if value > 0 else "-Infinity"


def plain(value: AnyValue, depth: int = 0) -> Any:
    """An OTLP value as None, bool, int, float, str, list or dict; beyond 32 levels it is cut to ``…``."""
    which = value.WhichOneof("value")
    if which == "string_value":
        return value.string_value
    if which == "bool_value":
        return value.bool_value
    if which == "int_value":
        return number(value.int_value)
    if which == "double_value":
        return number(value.double_value)
    if which == "bytes_value":
        return "base64:" + base64.b64encode(value.bytes_value).decode("ascii")
    if which in ("array_value", "kvlist_value") and depth >= _MAX_DEPTH:
        return "…"
    if which == "array_value":
        return [plain(item, depth + 1) for item in value.array_value.values]
    if which == "kvlist_value":
        return attribute_map(value.kvlist_value.values, depth + 1)
    return None


def attribute_map(attributes: Iterable[KeyValue], depth: int = 0) -> dict[str, Any]:
    """Attributes as a dict; of a repeated key the last value stays."""
    return {item.key: plain(item.value, depth) for item in attributes}


def to_json(value: Any) -> str:
    """JSON text with sorted keys, so that equal attribute sets give equal text."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False, sort_keys=True, separators=(",", ":"))
