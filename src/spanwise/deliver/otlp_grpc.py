"""One OTLP/gRPC destination: the bytes that OTLP/HTTP has too, through grpcio's generic call.

grpcio is imported with the first request, on the thread that delivers. https://opentelemetry.io/docs/specs/otlp/#otlpgrpc
"""

from __future__ import annotations

import base64
import binascii
import os
import time
from collections.abc import Iterable, Sequence
from typing import Any
from urllib.parse import urlsplit

from spanwise import names
from spanwise.deliver import tls
from spanwise.deliver.answer import AFTER_FORK, Answer, Fate
from spanwise.deliver.destinations import Destination
from spanwise.encode.fields import inside, readable
from spanwise.encode.request import Piece
from spanwise.encode.wire import VARINT
from spanwise.log import Log
from spanwise.settings import Exporter
from spanwise.values import unreadable

__all__ = ["GrpcClient", "credentials", "fate_of_code"]

_logger = Log("spanwise.deliver")

_SERVICES = {
    "traces": "trace.v1.TraceService",
    "metrics": "metrics.v1.MetricsService",
    "logs": "logs.v1.LogsService",
}
# https://opentelemetry.io/docs/specs/otlp/#failures: RESOURCE_EXHAUSTED is one of them if the server says
# when to come again.
_RETRYABLE = frozenset(
    ("CANCELLED", "DEADLINE_EXCEEDED", "ABORTED", "OUT_OF_RANGE", "UNAVAILABLE", "DATA_LOSS")
)
_STATUS_DETAILS = "grpc-status-details-bin"
_RETRY_INFO = b"type.googleapis.com/google.rpc.RetryInfo"
# https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md: what a name, and a text value, may hold.
_NAME = frozenset("0123456789abcdefghijklmnopqrstuvwxyz_-.")
_BINARY = "-bin"
_RESERVED = "grpc-"

# The process that gRPC runs in, and which calls are under way there. gRPC's threads do not outlive a fork.
# A lock that one of them holds at that moment stays held, and its code waits for it with the interpreter's
# lock in hand: the child stands still, or ends by SIGSEGV. Measured with 1.85: in 2 of 15 forks during a
# call, in none of 957 between calls. So a child of the first kind leaves gRPC alone.
_process = 0
_under_way: set[int] = set()
_broken = False


class GrpcClient:
    """A channel to one destination, for one signal. Not thread-safe: a delivery thread owns it.

    Args:
        destination: where; of its URL, scheme, host and port are used.
        signal: ``traces``, ``metrics`` or ``logs``.

    Raises:
        ConfigurationError: a certificate file cannot be used.
    """

    def __init__(self, destination: Destination, signal: str) -> None:
        self.destination = destination
        self._method = f"/opentelemetry.proto.collector.{_SERVICES[signal]}/Export"
        parts = urlsplit(destination.url)
        self._secure = parts.scheme == "https"
        self._target = parts.netloc.rpartition("@")[2]
        self._metadata = tuple(_metadata(destination.headers))
        if self._secure and (destination.certificate or destination.client_certificate):
            # Only to see whether they can be used: gRPC itself says it with each call.
            tls.context(
                destination.certificate,
                destination.client_certificate,
                destination.client_key,
                destination.places,
            )
        self._channel: Any = None
        self._call: Any = None
        self._of_process = 0

    def send(self, body: Sequence[Piece], timeout: float | None = None) -> Answer:
        """Sends one request and waits for the answer. Never raises.

        Args:
            body: an encoded export request, in pieces.
            timeout: seconds for all of it, where less than the destination's is left.
        """
        wait = self.destination.timeout if timeout is None else min(timeout, self.destination.timeout)
        deadline = time.monotonic() + wait
        if not _usable():
            return Answer(Fate.RETRY, reason=AFTER_FORK)
        _under_way.add(id(self))
        try:
            return self._send(b"".join(body), deadline)
        except Exception as error:
            self._drop()
            return Answer(Fate.RETRY, reason=type(error).__name__)
        finally:
            _under_way.discard(id(self))

    def close(self) -> None:
        """Closes the channel; the next :meth:`send` opens another."""
        if not _usable():
            return
        # Not `id(self)`: the thread that sends may be within a call, which goes on.
        _under_way.add(id(self.destination))
        try:
            self._drop()
        except Exception as error:
            _logger.debug("closing a gRPC channel failed: %r", error)
        finally:
            _under_way.discard(id(self.destination))

    def _send(self, data: bytes, deadline: float) -> Answer:
        import grpc  # type: ignore[import-untyped]

        if self._call is None or self._of_process != os.getpid():
            self._open(grpc)
        left = max(deadline - time.monotonic(), 0.001)
        compression = grpc.Compression.Gzip if self.destination.gzip else grpc.Compression.NoCompression
        try:
            body = self._call(data, timeout=left, metadata=self._metadata, compression=compression)
        except grpc.RpcError as error:
            answer = _failed(error)
            if answer.fate is Fate.RETRY:
                # gRPC itself waits up to two minutes before it connects again, and fails all calls till then:
                # when to try again is the delivery's to say.
                self._drop()
            return answer
        return Answer(Fate.DELIVERED, body=body)

    def _open(self, grpc: Any) -> None:
        options = [
            ("grpc.primary_user_agent", names.USER_AGENT),
            ("grpc.use_local_subchannel_pool", 1),  # of another channel's back-off this one must not suffer
        ]
        if self._secure:
            channel = grpc.secure_channel(self._target, credentials(self.destination), options=options)
        else:
            channel = grpc.insecure_channel(self._target, options=options)
        if self._channel is not None:
            _inherited.append(self._channel)
        self._channel = channel
        self._call = channel.unary_unary(self._method, request_serializer=None, response_deserializer=None)
        self._of_process = os.getpid()

    def _drop(self) -> None:
        channel, self._channel, self._call = self._channel, None, None
        if channel is None:
            return
        if self._of_process == os.getpid():
            channel.close()
        else:
            _inherited.append(channel)


# Channels of a parent process: to close one would end the parent's connection.
_inherited: list[Any] = []


def _usable() -> bool:
    """Whether gRPC may be called in this process."""
    global _process, _broken
    here = os.getpid()
    if _process != here:
        if _process and (_broken or _under_way):
            if not _broken:
                _logger.warning(
                    "gRPC cannot be used in a process that was forked during a call: this one delivers"
                    " nothing, and what waits at its end is counted as dropped."
                    " OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf has no such limit"
                )
            _broken = True
        _under_way.clear()
        _process = here
    return not _broken


def fate_of_code(code: str, details: str = "", *, comes_again: bool = False) -> Fate:
    """What a gRPC status means for the request.

    Args:
        code: its name, such as ``UNAVAILABLE``.
        details: the server's words.
        comes_again: whether it says, in a RetryInfo, that the request may be repeated.
    """
    if code in _RETRYABLE or (code == "RESOURCE_EXHAUSTED" and comes_again):
        return Fate.RETRY
    if code == "RESOURCE_EXHAUSTED" and "larger than max" in details:
        return Fate.TOO_LARGE
    if code == "INVALID_ARGUMENT" or (code == "INTERNAL" and "unmarshal" in details):
        return Fate.MALFORMED
    return Fate.REFUSED


def _failed(error: Any) -> Answer:
    code = getattr(error.code(), "name", "UNKNOWN")
    details = b""
    for name, value in error.trailing_metadata() or ():
        if name == _STATUS_DETAILS:
            details = value if isinstance(value, bytes) else b""
    delay = _retry_delay(details)
    fate = fate_of_code(code, error.details() or "", comes_again=delay is not None)
    return Answer(fate, reason=code, retry_after=delay if fate is Fate.RETRY else None)


def _retry_delay(status: bytes) -> float | None:
    """Seconds that a ``google.rpc.Status`` asks to wait, in a RetryInfo among its details; None without one.

    Status has its details as field 3: each an Any of a type's URL (1) and a message (2). RetryInfo's field 1
    is a Duration of seconds (1) and nanoseconds (2).
    """
    for detail in inside(status, 3):
        kinds = list(inside(detail, 1))
        if kinds[-1:] != [_RETRY_INFO]:
            continue
        seconds = 0.0
        for info in inside(detail, 2):
            for duration in inside(info, 1):
                for field in readable(duration):
                    if field.kind == VARINT and field.number in (1, 2) and field.value < 1 << 63:
                        seconds += field.value * (1.0 if field.number == 1 else 1e-9)
        return seconds
    return None


def _metadata(headers: Iterable[tuple[str, str]]) -> Iterable[tuple[str, str | bytes]]:
    """The headers that gRPC can send. It would refuse every call for one that it cannot."""
    for name, value in headers:
        if not _NAME.issuperset(name) or name.startswith(_RESERVED):
            problem = "cannot be a name of gRPC's metadata"
        elif name.endswith(_BINARY):
            yield name, _decoded(value)
            continue
        elif not value.isascii() or not value.isprintable():
            problem = "has a value that is no printable ASCII, which gRPC's metadata is"
        else:
            yield name, value
            continue
        _logger.warning("the header %r %s: it is left out (OTEL_EXPORTER_OTLP_HEADERS)", name, problem)


def _decoded(value: str) -> bytes:
    """A binary value's bytes: of base64 what it stands for, as on the wire."""
    try:
        return base64.b64decode(value + "=" * (-len(value) % 4), validate=True)
    except (binascii.Error, ValueError):
        return value.encode("utf-8", "replace")


def credentials(to: Destination | Exporter) -> Any:
    """gRPC's channel credentials with the certificate files of a destination."""
    import grpc

    return grpc.ssl_channel_credentials(
        root_certificates=_content(to.certificate),
        # A key may be in the same file.
        private_key=_content((to.client_key or to.client_certificate) if to.client_certificate else None),
        certificate_chain=_content(to.client_certificate),
    )


def _content(path: str | None) -> bytes | None:
    if path is None:
        return None
    problem = unreadable(path)
    if problem:  # a pipe would have the application wait
        raise OSError(None, problem)
    with open(path, "rb") as file:
        return file.read()
