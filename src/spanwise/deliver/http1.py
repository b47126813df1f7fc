"""One connection to an HTTP/1.1 server: a request out, its answer back, all of it before one deadline.

Not :mod:`http.client`: each of its reads and writes waits for the time-out anew, and it reads interim
answers (``100 Continue``) without end, so a server that drips holds its caller for ever. What is needed of
HTTP here is a POST and a small answer (RFC 9112).
"""

from __future__ import annotations

import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from spanwise.deliver.http1_answer import AnswerReader, Response, left
from spanwise.encode.request import Piece

if TYPE_CHECKING:
    import ssl

__all__ = ["Connection", "ProxyRefused", "Tunnel", "bracketed"]

# Pieces smaller than this are sent together: a call for each costs more than copying it.
_SMALL = 16 * 1024


class ProxyRefused(OSError):
    """The proxy makes no tunnel to the server."""


@dataclass(frozen=True, slots=True)
class Tunnel:
    """What a proxy is asked to connect to.

    Attributes:
        host, port: the server.
        headers: for the proxy alone, such as its authorization.
    """

    host: str
    port: int
    headers: Mapping[str, str]


class Connection:
    """A connection that is made with the first request and kept. Of one thread only.

    Args:
        host, port: where to connect to, which may be a proxy.
        tls: encrypts with it; None does not.
        tunnel: the server behind a proxy, which ``tls`` is for.
    """

    def __init__(
        self, host: str, port: int, tls: ssl.SSLContext | None = None, tunnel: Tunnel | None = None
    ) -> None:
        self._host, self._port = host, port
        self._tls = tls
        self._tunnel = tunnel
        self._socket: socket.socket | None = None
        #: Whether the last request got a connection.
        self.reached = False

    @property
    def open(self) -> bool:
        """Whether it is connected: as far as is known, a server may have closed it."""
        return self._socket is not None

    def post(
        self, target: str, headers: Mapping[str, str], body: Sequence[Piece], deadline: float, longest: int
    ) -> Response:
        """Sends a request and returns its answer. The connection is closed where it cannot be used again.

        Args:
            target: path and query, or the whole address for a proxy.
            headers: all but the body's length.
            body: in pieces.
            deadline: monotonic seconds. Only looking a name up, which has no time-out, may pass it.
            longest: bytes of the answer's body that are read.

        Raises:
            TimeoutError: the deadline passed.
            OSError: there is no connection, or it broke, or what came back is no answer.
        """
        head = _head("POST", target, {**headers, "content-length": str(sum(map(len, body)))})
        self.reached = self._socket is not None
        try:
            if self._socket is None:
                self._socket = self._connect(deadline)
                self.reached = True
            try:
                for data in _joined(head, body):
                    _send(self._socket, data, deadline)
            except TimeoutError:
                raise
            except OSError as broken:  # with TLS it is an SSLEOFError
                # A server that refuses a request for its size need not read it before it answers.
                try:
                    response, _ = AnswerReader(self._socket, deadline).answer(longest)
                except OSError:
                    raise broken from None
                reusable = False
            else:
                response, reusable = AnswerReader(self._socket, deadline).answer(longest)
        except BaseException:
            self.close()
            raise
        if not reusable:
            self.close()
        return response

    def close(self) -> None:
        """Drops the connection; the next request makes another."""
        connection, self._socket = self._socket, None
        if connection is not None:
            connection.close()

    def _connect(self, deadline: float) -> socket.socket:
        connection = self._reach(deadline)
        try:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._tunnel is not None:
                self._ask_proxy(connection, self._tunnel, deadline)
            if self._tls is None:
                return connection
            connection.settimeout(left(deadline))  # of the whole handshake
            name = self._host if self._tunnel is None else self._tunnel.host
            return self._tls.wrap_socket(connection, server_hostname=name)
        except BaseException:
            connection.close()
            raise

    def _reach(self, deadline: float) -> socket.socket:
        """The first of the host's addresses that takes a connection; each has its share of the time."""
        found = socket.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM)
        failure: OSError = OSError("the name has no address")
        for number, (family, kind, protocol, _, address) in enumerate(found):
            share = left(deadline) / (len(found) - number)
            try:
                connection = socket.socket(family, kind, protocol)
            except OSError as error:  # a kind of address that this machine does not have
                failure = error
                continue
            try:
                connection.settimeout(share)
                connection.connect(address)
                return connection
            except BaseException as error:
                connection.close()
                if not isinstance(error, OSError):
                    raise
                failure = error
        raise failure

    def _ask_proxy(self, connection: socket.socket, tunnel: Tunnel, deadline: float) -> None:
        there = f"{bracketed(tunnel.host)}:{tunnel.port}"
        _send(connection, _head("CONNECT", there, {"host": there, **tunnel.headers}), deadline)
        status, _, _ = AnswerReader(connection, deadline).head()
        if not 200 <= status < 300:
            raise ProxyRefused(f"the proxy answered {status}")


def bracketed(host: str) -> str:
    """A host as it stands before a port, in ASCII."""
    if ":" in host:
        return f"[{host}]"
    return host if host.isascii() else host.encode("idna").decode("ascii")


def _head(method: str, target: str, headers: Mapping[str, str]) -> bytes:
    lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items()), "", ""]
    text = "\r\n".join(lines)
    try:
        return text.encode("latin-1")
    except UnicodeEncodeError:
        return text.encode("utf-8")


def _joined(head: bytes, body: Sequence[Piece]) -> list[Piece]:
    """The request in fewer pieces: small ones together, large ones as they are."""
    joined: list[Piece] = []
    small = bytearray(head)
    for piece in body:
        if len(piece) < _SMALL:
            small += piece
        else:
            joined += (bytes(small), piece) if small else (piece,)
            small = bytearray()
    if small:
        joined.append(bytes(small))
    return joined


def _send(connection: socket.socket, data: Piece, deadline: float) -> None:
    rest = memoryview(data)
    while rest:
        connection.settimeout(left(deadline))
        rest = rest[connection.send(rest) :]
