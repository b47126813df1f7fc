"""One OTLP/HTTP destination: a request's bytes out, an answer back.

https://opentelemetry.io/docs/specs/otlp/#otlphttp
"""

from __future__ import annotations

import base64
import email.utils
import os
import re
import ssl
import time
import zlib
from collections.abc import Sequence
from urllib.parse import SplitResult, quote, unquote, urlsplit

from spanwise import names
from spanwise.deliver import tls
from spanwise.deliver.answer import Answer, Fate, fate_of_status
from spanwise.deliver.destinations import Destination
from spanwise.deliver.http1 import Connection, Tunnel, bracketed
from spanwise.deliver.http1_answer import BadAnswer, Response
from spanwise.encode.request import Piece
from spanwise.log import Log

__all__ = ["Client"]

_logger = Log("spanwise.deliver")

# Level 1 makes encoded spans 12 times smaller at 0.7 µs a span; higher levels cost more for no gain.
GZIP_LEVEL = 1
# An answer is a few bytes; a hostile or wrong endpoint must not fill our memory.
LONGEST_ANSWER = 64 * 1024
# Of an address, what is sent as it is: all that has a meaning in it, and what is quoted already.
_KEPT = "!#$%&'()*+,/:;=?@[]~"
_UNSENDABLE = re.compile("[\\x00-\\x08\\x0a-\\x1f\\x7f]")


class Client:
    """A keep-alive connection to one destination. Not thread-safe: the delivery thread owns it.

    Raises:
        ConfigurationError: a certificate file cannot be read.
    """

    def __init__(self, destination: Destination) -> None:
        self.destination = destination
        self._url = urlsplit(destination.url)
        self._tls: ssl.SSLContext | None = None
        if self._url.scheme == "https":
            self._tls = tls.context(
                destination.certificate,
                destination.client_certificate,
                destination.client_key,
                destination.places,
            )
        path = (self._url.path or "/") + (f"?{self._url.query}" if self._url.query else "")
        self._path = self._target = quote(path, safe=_KEPT)
        self._headers = {
            "host": _host(self._url),
            "accept-encoding": "identity",
            "content-type": "application/x-protobuf",
            "user-agent": names.USER_AGENT,
            **{name.lower(): value for name, value in destination.headers if _sendable(name, value)},
        }
        if destination.gzip:
            self._headers["content-encoding"] = "gzip"
        self._proxy_headers: dict[str, str] = {}
        self._connection: Connection | None = None

    def send(self, body: Sequence[Piece], timeout: float | None = None) -> Answer:
        """Posts ``body`` once and waits for the answer. Never raises.

        Args:
            body: an encoded export request, in pieces. They go to the socket one by one: put together,
                large requests cost twice their sending in fresh memory.
            timeout: seconds for all of it, where less than the destination's is left.
        """
        wait = self.destination.timeout if timeout is None else min(timeout, self.destination.timeout)
        deadline = time.monotonic() + wait
        try:
            if self.destination.gzip:
                compressor = zlib.compressobj(GZIP_LEVEL, zlib.DEFLATED, 31)  # 31: gzip header and trailer
                body = [*map(compressor.compress, body), compressor.flush()]
            reused = self._connection is not None and self._connection.open
            try:
                return _read(self._post(body, deadline))
            except OSError as error:
                if not reused or isinstance(error, (BadAnswer, TimeoutError)):
                    raise
                # The server closed an idle keep-alive connection: that says nothing of its health.
                return _read(self._post(body, deadline))
        except Exception as error:
            reached = self._connection is not None and self._connection.reached
            return Answer(Fate.RETRY, reason=type(error).__name__, reached=reached)

    def close(self) -> None:
        """Closes the connection; the next :meth:`send` opens another."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _post(self, body: Sequence[Piece], deadline: float) -> Response:
        connection = self._connection
        if connection is None or not connection.open:
            connection = self._connection = self._connect()
        headers = {**self._headers, **self._proxy_headers}
        return connection.post(self._target, headers, body, deadline, LONGEST_ANSWER)

    def _connect(self) -> Connection:
        host, port = self._url.hostname or "", self._url.port or (443 if self._tls else 80)
        proxy = _proxy(self._url)
        self._target, self._proxy_headers = self._path, {}
        if proxy is None:
            return Connection(host, port, self._tls)
        through, at = proxy.hostname or "", proxy.port or (443 if proxy.scheme == "https" else 80)
        if self._tls is not None:
            return Connection(through, at, self._tls, Tunnel(host, port, _proxy_authorization(proxy)))
        # By the whole address: proxies refuse CONNECT to other ports than 443.
        self._target = f"http://{_host(self._url)}{self._path}"
        self._proxy_headers = _proxy_authorization(proxy)
        return Connection(through, at)


def _read(response: Response) -> Answer:
    fate = fate_of_status(response.status)
    if fate is Fate.DELIVERED:
        return Answer(fate, body=response.body)
    return Answer(
        fate, reason=str(response.status), retry_after=_seconds(response.headers.get("retry-after"))
    )


def _host(url: SplitResult) -> str:
    """The Host header: with the port where the address has one, as it was given."""
    return bracketed(url.hostname or "") + (f":{url.port}" if url.port is not None else "")


def _sendable(name: str, value: str) -> bool:
    """Whether a header can be sent: one with a line's end in it would end the header, or add another."""
    usable = not _UNSENDABLE.search(name + value) and name.isascii() and ":" not in name
    if not usable:
        _logger.warning("the header %s has characters that cannot be sent: it is left out", name)
    return usable


def _proxy(url: SplitResult) -> SplitResult | None:
    """The HTTP proxy that the environment names for this URL, as the stock exporters' requests reads it."""
    if not any(name.lower() in (f"{url.scheme}_proxy", "all_proxy") for name in os.environ):
        return None
    from urllib.request import getproxies  # slow to import

    found = getproxies()
    address = found.get(url.scheme) or found.get("all")
    if not address or _is_excepted(url, found.get("no", "")):
        return None
    proxy = urlsplit(address if "://" in address else f"http://{address}")
    if proxy.scheme in ("http", "https"):
        return proxy
    _logger.seldom("a proxy with the scheme %s is not used: only HTTP proxies are", proxy.scheme)
    return None


def _is_excepted(url: SplitResult, exceptions: str) -> bool:
    """Whether NO_PROXY names the host: by itself, by its domain, with its port, or by a network it is in."""
    from ipaddress import ip_address, ip_network
    from urllib.request import proxy_bypass

    host = url.hostname or ""
    if proxy_bypass(host) or proxy_bypass(f"{host}:{url.port}"):
        return True
    try:
        address = ip_address(host)
    except ValueError:
        return False
    for each in exceptions.split(","):
        try:
            if address in ip_network(each.strip(), strict=False):
                return True
        except ValueError:  # a name
            continue
    return False


def _proxy_authorization(proxy: SplitResult | None) -> dict[str, str]:
    if proxy is None or proxy.username is None:
        return {}
    pair = f"{unquote(proxy.username)}:{unquote(proxy.password or '')}"
    return {"proxy-authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}


def _seconds(retry_after: str | None) -> float | None:
    """The wait that a Retry-After header asks for: seconds or an HTTP date (RFC 9110, 10.2.3)."""
    if not retry_after:
        return None
    try:
        return max(0.0, float(retry_after))
    except ValueError:
        pass
    try:
        return max(0.0, email.utils.parsedate_to_datetime(retry_after).timestamp() - time.time())
    except (ValueError, TypeError, OverflowError):
        return None
