"""HTTP/1.1 for the console, and one clear line where a sender speaks something else to it.

Nobody keeps others out: a client that is slow with its request or does not read its answer is cut off, and
the one that has been slow for longest makes room for a new one.

Port 4318 is OTLP/HTTP. Many exporters speak gRPC unless told otherwise; the server would then log
"Invalid HTTP request received." at every export, which tells nobody what to set.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Final

from uvicorn.protocols.http.h11_impl import H11Protocol

from spanwise.log import Log

if TYPE_CHECKING:
    import asyncio

__all__ = ["http_protocol"]

# How a connection begins: the preface of HTTP/2 (RFC 9113, section 3.4), which gRPC speaks, and a TLS
# handshake record (RFC 8446, section 5.1).
_HTTP2: Final = b"PRI * HTTP/2.0"
_TLS: Final = b"\x16\x03"
_FIX: Final = "In the application that sends, set OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf"

# A client on the same machine needs milliseconds for each.
_HEADER_SECONDS: Final = 10.0
_REQUEST_SECONDS: Final = 40.0  # longer than the receiver itself waits for a body, which it answers with 408
_READING_SECONDS: Final = 30.0

_log = Log(__name__)


class _Seldom:
    """uvicorn's logger, with warnings once a minute: anybody can cause one with each connection."""

    def __init__(self, logger: Any) -> None:
        self._logger = logger

    def warning(self, message: str, *arguments: object) -> None:
        _log.seldom(message, *arguments)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._logger, name)


def http_protocol(endpoint: str, most: int) -> type[asyncio.Protocol]:
    """The protocol class of one console, for uvicorn's ``http``; each class tells of each mistake once.

    Args:
        endpoint: the base address for ``OTEL_EXPORTER_OTLP_ENDPOINT``, named in what is told.
        most: connections at a time, beyond which a slow one is cut off for a new one.
    """

    class ConsoleProtocol(H11Protocol):
        told: ClassVar[set[str]] = set()
        # Those that wait for their client, the longest waiting first.
        slow: ClassVar[dict[ConsoleProtocol, None]] = {}

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self.logger: Any = _Seldom(self.logger)
            self.begun = False
            self.phase = ""
            self.timer: asyncio.TimerHandle | None = None
            self.read = False

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            self.look()
            slowest = next(iter(self.slow), self)
            if len(self.connections) >= most and slowest is not self:
                slowest.cut()

        def connection_lost(self, exc: Exception | None) -> None:
            self.leave()
            super().connection_lost(exc)

        def on_response_complete(self) -> None:
            self.phase = ""  # the next request has its own time
            super().on_response_complete()
            self.look()

        def look(self) -> None:
            """Sets the time that the client has from here on."""
            phase = self.now()
            if phase == self.phase or self.transport.is_closing():
                return
            if phase == "body" and self.phase == "header":
                self.phase = phase
                self.arm(_REQUEST_SECONDS)
                return
            self.leave()
            self.phase = phase
            if phase == "answer":
                self.arm(_READING_SECONDS)
            else:
                self.slow[self] = None
                self.arm(_HEADER_SECONDS if phase == "header" else _REQUEST_SECONDS)

        def now(self) -> str:
            """What is being waited for."""
            if self.cycle is None or self.cycle.response_complete:
                return "header"
            return "body" if self.cycle.more_body else "answer"

        def arm(self, seconds: float) -> None:
            if self.timer is not None:
                self.timer.cancel()
            self.timer = self.loop.call_later(seconds, self.late)

        def late(self) -> None:
            if self.phase == "answer" and (self.read or not self.flow.write_paused):
                self.read = False
                self.arm(_READING_SECONDS)  # it reads on, or it is we who are late
            else:
                self.cut()

        def resume_writing(self) -> None:
            self.read = True
            super().resume_writing()

        def cut(self) -> None:
            self.leave()
            # At once, so that it counts no longer; uvicorn does so a turn of the loop later.
            self.connections.discard(self)
            self.transport.abort()

        def leave(self) -> None:
            self.slow.pop(self, None)
            if self.timer is not None:
                self.timer.cancel()
                self.timer = None

        def data_received(self, data: bytes) -> None:
            found = "" if self.begun else _mistake(data)
            self.begun = True
            if not found:
                super().data_received(data)
                self.look()
                return
            told = f"{found}. {_FIX} and OTEL_EXPORTER_OTLP_ENDPOINT={endpoint}."
            if found not in self.told:
                self.told.add(found)
                _log.warning("%s This is logged once.", told)
            # gRPC's own message for an answer in HTTP/1.1 says that much; a closed connection says nothing.
            self.send_400_response(told)

    return ConsoleProtocol


def _mistake(data: bytes) -> str:
    """What the first bytes of a connection show to be wrong; empty where they may be HTTP/1.1."""
    if data.startswith(_HTTP2):
        return "A gRPC client may be at the console's HTTP port (it began with HTTP/2)"
    if data.startswith(_TLS):
        return "A client that wants TLS, over https:// or gRPC, is at the console's plain HTTP port"
    return ""
