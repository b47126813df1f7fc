"""What became of one export request, and what is to be done with it next: the same for every protocol."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from spanwise.encode.request import Piece

__all__ = ["AFTER_FORK", "Answer", "Fate", "Sender", "fate_of_status"]

AFTER_FORK = "GrpcAfterFork"
"""The reason where nothing can be sent in this process at all, which has been told."""


class Fate(Enum):
    """What is to be done with a request that was sent.

    OTLP says which failures may be repeated: https://opentelemetry.io/docs/specs/otlp/#failures for gRPC,
    https://opentelemetry.io/docs/specs/otlp/#failures-1 for HTTP.
    """

    DELIVERED = "delivered"
    """Taken, in part at least: the answer's body tells what was rejected."""
    RETRY = "retry"
    """The destination cannot take anything now: wait, and send it again as long as there is room."""
    RETRY_FEW = "retry few times"
    """Perhaps a passing fault, perhaps these very bytes: send others first, and these a few times more."""
    TOO_LARGE = "too large"
    """Refused for its size: the halves may be taken."""
    MALFORMED = "malformed"
    """Refused for something in it: where others are taken, the halves may tell which item it is."""
    REFUSED = "refused"
    """Would be refused again, whatever is in it, such as for its credentials or its path."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of one request.

    Attributes:
        fate: what is to be done next.
        reason: low-cardinality reason of a failure, for ``error.type``: a status code or an exception's name.
        retry_after: seconds the server asked us to wait, or None.
        body: the answer's body, for partial success.
        reached: False where no connection was made: then it says nothing of the request.
    """

    fate: Fate
    reason: str = ""
    retry_after: float | None = None
    body: bytes = b""
    reached: bool = True

    @property
    def delivered(self) -> bool:
        """Whether the destination took the request."""
        return self.fate is Fate.DELIVERED


class Sender(Protocol):
    """What a channel needs of a destination. Used by one thread at a time."""

    def send(self, body: Sequence[Piece], timeout: float | None = None) -> Answer:
        """Sends one request and waits for its answer. Never raises.

        Args:
            body: an encoded export request, in pieces that may show memory of the source.
            timeout: seconds for all of it, from looking the name up to the answer's last byte, where less
                than the destination's own is left.
        """

    def close(self) -> None:
        """Drops the connection; the next :meth:`send` opens another. From any thread."""


def fate_of_status(status: int) -> Fate:
    """What an HTTP status means for the request.

    429, 502, 503 and 504 are OTLP's retryable ones. A redirect is never followed (it would carry the headers'
    secrets elsewhere); like 408 and any other 5xx, it may be a passing fault on the way, or these bytes.
    """
    if 200 <= status < 300:
        return Fate.DELIVERED
    if status in (429, 502, 503, 504):
        return Fate.RETRY
    if status == 413:
        return Fate.TOO_LARGE
    if status == 400:
        return Fate.MALFORMED
    if 400 <= status < 500 and status != 408:
        return Fate.REFUSED
    return Fate.RETRY_FEW
