"""Reads the one thing an OTLP answer can say: how many items the server refused."""

from __future__ import annotations

from spanwise.encode.fields import inside, readable
from spanwise.encode.wire import LENGTH, VARINT

__all__ = ["rejected"]


def rejected(answer: bytes) -> tuple[int, str]:
    """The refused count and the server's words from an ``Export…ServiceResponse``.

    The three signals' answers have the same shape: field 1 is ``partial_success``, whose field 1 is
    the count and field 2 the message. A truncated or foreign answer reads as nothing refused.

    Args:
        answer: the body of a 2xx answer.
    """
    count, message = 0, ""
    for success in inside(answer, 1):
        for field in readable(success):
            if (field.number, field.kind) == (1, VARINT):
                count = field.value
            elif (field.number, field.kind) == (2, LENGTH):
                message = success[field.value : field.end].decode("utf-8", "replace")
    # The count is an int64: a negative one is ten bytes of varint and means nothing here.
    return (count if count < 1 << 63 else 0), message
