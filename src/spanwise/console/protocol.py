"""HTTP/1.1 for the console, and one clear line where a sender speaks something else to it.

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

_log = Log(__name__)


def http_protocol(endpoint: str) -> type[asyncio.Protocol]:
    """The protocol class of one console, for uvicorn's ``http``; each class tells of each mistake once.

    Args:
        endpoint: the base address for ``OTEL_EXPORTER_OTLP_ENDPOINT``, named in what is told.
    """

    class ConsoleProtocol(H11Protocol):
        told: ClassVar[set[str]] = set()

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self.begun = False

        def data_received(self, data: bytes) -> None:
            found = "" if self.begun else _mistake(data)
            self.begun = True
            if not found:
                super().data_received(data)
                return
            told = f"{found}. {_FIX} and OTEL_EXPORTER_OTLP_ENDPOINT={endpoint}."
            if found not in self.told:
                self.told.add(found)
                _log.warning("%s Said once.", told)
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
