"""Reads the one thing an OTLP answer can say: how many items the server refused."""

from __future__ import annotations

from spanwise.encode.fields import Field, fields
from spanwise.encode.wire import LENGTH, VARINT

__all__ = ["readable", "rejected"]


def rejected(answer: bytes) -> tuple[int, str]:
    """The refused count and the server's words from an ``Export…ServiceResponse``.

    The three signals' answers have the same shape: field 1 is ``partial_success``, whose field 1 is
    the count and field 2 the message. A truncated or foreign answer reads as nothing refused.

    Args:
        answer: the body of a 2xx answer.
    """
    count, message = 0, ""
    for outer in readable(answer):
        if (outer.number, outer.kind) != (1, LENGTH):
            continue
        success = answer[outer.value : outer.end]
        for inner in readable(success):
            if (inner.number, inner.kind) == (1, VARINT):
                count = inner.value
            elif (inner.number, inner.kind) == (2, LENGTH):
                message = success[inner.value : inner.end].decode("utf-8", "replace")
    # The count is an int64: a negative one is ten bytes of varint and means nothing here.
    return (count if count < 1 << 63 else 0), message


def readable(message: bytes) -> list[Field]:
    """A message's fields, as far as they can be read."""
    found: list[Field] = []
    try:
        for field in fields(message):
            found.append(field)
    except ValueError:
        pass
    return found
