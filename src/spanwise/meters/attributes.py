"""The attributes of a measurement, as the SDK cleans them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from spanwise.encode.plain import has_text, plain_attributes
from spanwise.log import Log

__all__ = ["SIMPLE", "attributes_of"]

_logger = Log("spanwise.meters")

SIMPLE: Final = frozenset((str, bool, int, float))
"""The types of values that are compared by value, then by type: 1, 1.0 and True are equal to Python. A set
with a value of another type, such as a list, is cleaned for each measurement."""

_LEGAL: Final = (str, bool, int, float, bytes, Sequence, Mapping, type(None))


def attributes_of(attributes: Any) -> dict[str, Any]:
    """The attributes as the SDK cleans those of a measurement, without a line in the log for each odd one.

    What has no text of its own is None, as with the SDK: its address would make a point of each object.

    Raises:
        Exception: whatever a mapping of the application's raises.
    """
    if not isinstance(attributes, Mapping):
        if attributes is not None:
            _logger.seldom(
                "attributes of a measurement are no mapping, it counts without any: %r", attributes
            )
        return {}
    pairs = [*attributes.items()]
    if not SIMPLE.issuperset([type(value) for _, value in pairs]):
        pairs = [(key, _legal(value)) for key, value in pairs]
    return plain_attributes(pairs)


def _legal(value: Any) -> Any:
    if isinstance(value, _LEGAL):
        return value
    _logger.seldom(
        "attributes of a measurement are of no type of OpenTelemetry's, but %s", type(value).__name__
    )
    return value if has_text(value) else None
