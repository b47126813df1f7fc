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
from spanwise.fixed import Fixed
from spanwise.instrumentors._http import DEFAULT_PORTS, METHODS, OTHER_METHOD, Attributes, Headers
from spanwise.privacy.url import redact_query

__all__ = ["Answered", "Kind", "forget", "full_url", "headers_of", "request_of"]

_VERSIONS: Final = {"HTTP/1.0": "1.0", "HTTP/1.1": "1.1", "HTTP/2": "2", "HTTP/2.0": "2", "HTTP/3": "3"}


class Kind:
    """What requests of one method, scheme and protocol have in common.

    Args:
        method: as the client wrote it.
        scheme: http or https.
        protocol: as WSGI has it.

    Attributes:
        title: the method as a span's name says it.
        method: the same as the metrics say it.
        attributes: of a span.
        labels: of the metrics, known at a request's start.
        active: of the requests under way.
    """

    __slots__ = ("active", "attributes", "labels", "method", "title")

    def __init__(self, method: str, scheme: str, protocol: str) -> None:
        known = method in METHODS
        self.title = method if known else "HTTP"
        self.method = method if known else OTHER_METHOD
        labels: Attributes = {names.HTTP_REQUEST_METHOD: self.method, names.URL_SCHEME: scheme}
        self.active = Fixed(labels)
        version = _VERSIONS.get(protocol)
        if version:
            labels[names.NETWORK_PROTOCOL_VERSION] = version
        self.labels = labels
        self.attributes = labels if known else {**labels, names.HTTP_REQUEST_METHOD_ORIGINAL: method}

    def answered(self, status: int, route: str | None) -> Answered:
        """What those have in common that are answered alike."""
        return _answered(self, status, route)


class Answered:
    """What requests of one kind that are answered alike have in common.

    Attributes:
        name: the span's; None where no route is known.
        found: attributes and labels, known with the answer.
        labels, sizes: of the duration, and the same of the answer's size: each remembers its instrument.
    """

    __slots__ = ("found", "labels", "name", "sizes")

    def __init__(self, kind: Kind, status: int, route: str | None) -> None:
        found: Attributes = {}
        if status:
            found[names.HTTP_RESPONSE_STATUS_CODE] = status
        if route is not None:
            found[names.HTTP_ROUTE] = route
        self.found = Fixed(found)
        self.name = None if route is None else f"{kind.title} {route}"
        self.labels = Fixed({**kind.labels, **self.found})
        self.sizes = Fixed(self.labels)


# An application has a few; the bounds are for clients that send others.
_kind: Final = lru_cache(maxsize=64)(Kind)
# Routes by the statuses they answer with, some 2 kB each.
_answered: Final = lru_cache(maxsize=512)(Answered)


def forget() -> None:
    """Lets go of what was made once: labels remember an instrument, and that its provider."""
    _kind.cache_clear()
    _answered.cache_clear()


def request_of(environ: Mapping[str, Any]) -> tuple[Kind, Attributes]:
    """Describes a request.

    Args:
        environ: the WSGI environment (PEP 3333).

    Returns:
        What it has in common with others, and the attributes of its span that are known at its start.
    """
    scheme = environ.get("wsgi.url_scheme", "http")
    kind = _kind(environ.get("REQUEST_METHOD", ""), scheme, environ.get("SERVER_PROTOCOL", ""))
    attributes = kind.attributes.copy()
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
    return kind, attributes


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
