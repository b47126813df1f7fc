"""What a server span says of a WSGI request.

Names: https://opentelemetry.io/docs/specs/semconv/http/http-spans/#http-server-span
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final
from urllib.parse import quote, urlsplit

from spanwise import names
from spanwise.instrumentors._http import DEFAULT_PORTS, METHODS, OTHER_METHOD, Attributes, Headers
from spanwise.privacy.url import redact_query

__all__ = ["Described", "full_url", "headers_of", "request_of"]

_VERSIONS: Final = {"HTTP/1.0": "1.0", "HTTP/1.1": "1.1", "HTTP/2": "2", "HTTP/2.0": "2", "HTTP/3": "3"}


class Described:
    """One request, as far as its telemetry goes.

    Attributes:
        method: as the metric and the span's name say it.
        attributes: of the span, known at its start.
        labels: of the request's metrics, known at its start.
    """

    __slots__ = ("attributes", "labels", "method")

    def __init__(self, method: str, attributes: Attributes, labels: Attributes) -> None:
        self.method = method
        self.attributes = attributes
        self.labels = labels


def request_of(environ: Mapping[str, Any]) -> Described:
    """Describes a request.

    Args:
        environ: the WSGI environment (PEP 3333).
    """
    method = environ.get("REQUEST_METHOD", "")
    known = method in METHODS
    scheme = environ.get("wsgi.url_scheme", "http")
    labels: Attributes = {
        names.HTTP_REQUEST_METHOD: method if known else OTHER_METHOD,
        names.URL_SCHEME: scheme,
    }
    attributes = labels.copy()
    if not known:
        attributes[names.HTTP_REQUEST_METHOD_ORIGINAL] = method
    path, query = _target(environ)
    attributes[names.URL_PATH] = path
    if query:
        attributes[names.URL_QUERY] = redact_query(query)
    host = environ.get("HTTP_HOST")
    address, port = (
        _host(host, scheme) if host else (environ.get("SERVER_NAME", ""), _number(environ.get("SERVER_PORT")))
    )
    if address:
        attributes[names.SERVER_ADDRESS] = address
        if port:
            attributes[names.SERVER_PORT] = port
    peer = environ.get("REMOTE_ADDR")
    if peer:
        attributes[names.CLIENT_ADDRESS] = attributes[names.NETWORK_PEER_ADDRESS] = peer
        peer_port = environ.get("REMOTE_PORT")
        if peer_port:
            attributes[names.NETWORK_PEER_PORT] = _number(peer_port)
    agent = environ.get("HTTP_USER_AGENT")
    if agent:
        attributes[names.USER_AGENT_ORIGINAL] = agent
    version = _VERSIONS.get(environ.get("SERVER_PROTOCOL", ""))
    if version:
        attributes[names.NETWORK_PROTOCOL_VERSION] = labels[names.NETWORK_PROTOCOL_VERSION] = version
    return Described(method if known else "HTTP", attributes, labels)


def _target(environ: Mapping[str, Any]) -> tuple[str, str]:
    """Path and query, as the client wrote them where the server tells, else written anew."""
    raw = environ.get("RAW_URI") or environ.get("REQUEST_URI")
    if raw:
        if not raw.startswith("/"):
            # The absolute form, as to a proxy. What is no URL is as the server takes it.
            with contextlib.suppress(ValueError):
                parts = urlsplit(raw)
                return parts.path or "/", parts.query
        else:
            path, _, query = raw.partition("?")
            return path, query
    path = environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", "")
    # WSGI's text holds a byte a character.
    return quote(path.encode("latin-1", "replace")) or "/", environ.get("QUERY_STRING", "")


# Applications have a few names; the bound is for clients that send others.
@lru_cache(maxsize=128)
def _host(host: str, scheme: str) -> tuple[str, int]:
    """A Host header's name and port, the scheme's default where it has none."""
    name, separator, port = host.rpartition(":")
    if not separator or port.endswith("]"):
        name, port = host, ""
    return name.strip("[]"), _number(port) or DEFAULT_PORTS.get(scheme, 0)


def _number(text: Any) -> int:
    try:
        return int(text)
    except (TypeError, ValueError):
        return 0


def headers_of(environ: Mapping[str, Any]) -> Headers:
    """A request's headers, their names in lower case."""
    return [
        (name[5:].lower().replace("_", "-"), value)
        for name, value in environ.items()
        if name.startswith("HTTP_")
    ]


def full_url(environ: Mapping[str, Any]) -> str:
    """The URL that exclusions are matched against: scheme, host and path."""
    host = environ.get("HTTP_HOST") or environ.get("SERVER_NAME", "")
    return f"{environ.get('wsgi.url_scheme', 'http')}://{host}{_target(environ)[0]}"
