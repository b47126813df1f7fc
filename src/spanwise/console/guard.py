"""Who may talk to the console.

- A foreign ``Host`` or ``Origin`` is refused everywhere: a page on the web that had its name resolved to
  127.0.0.1 (DNS rebinding) can read nothing and send nothing.
- Pages and ``/api`` need the token: in the address (``?token=``), then in a cookie, or as a bearer token.
- ``/v1`` takes telemetry without a token from this machine, with it from any other.
- A POST to a path that takes none is 404 and told which do: a mistyped endpoint looks like that.
- Every answer carries a content security policy under which no text of a span can become code.
"""

from __future__ import annotations

import hmac
import ipaddress
import json
import socket
from collections.abc import Sequence
from typing import Final
from urllib.parse import parse_qs, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import HTTPConnection
from starlette.responses import HTMLResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["Guard", "is_loopback"]

_SECURITY_HEADERS: Final = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'self'; frame-ancestors 'none'; "
        "require-trusted-types-for 'script'; trusted-types 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}
# Nothing secret: our own scripts and styles, and whether the process lives.
_OPEN_PATHS: Final = ("/static/", "/healthz")
_READ_PATHS: Final = (*_OPEN_PATHS, "/api/", "/traces/")


def is_loopback(host: str) -> bool:
    """Whether a host name or address means this machine alone."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class Guard:
    """ASGI middleware; see the module.

    Args:
        token: what opens pages and ``/api``; None opens them to anyone on this machine.
        host: where the console listens.
        port: names the cookie, so that two consoles on one machine do not share it.
        refused: the page shown where the token is missing.
        post_paths: where the receiver takes telemetry.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        token: str | None,
        host: str,
        port: int,
        refused: str,
        post_paths: Sequence[str],
    ) -> None:
        self._app = app
        self._post_paths = post_paths
        self._token = token
        self._cookie = f"spanwise_console_{port}"
        self._host = host.lower()
        self._only_loopback = is_loopback(host)
        self._own_names = {self._host, socket.gethostname().lower()}
        self._refused = refused

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return

        headers = Headers(scope=scope)
        set_cookie = ""

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                answer = MutableHeaders(scope=message)
                for name, value in _SECURITY_HEADERS.items():
                    answer[name] = value
                if set_cookie:
                    answer.append("set-cookie", set_cookie)
            await send(message)

        refusal = self._refusal(scope, headers)
        if refusal is None and self._token and self._in_query(scope):
            # No redirect: after a link from another site the strict cookie would not be sent along.
            set_cookie = f"{self._cookie}={self._token}; Path=/; HttpOnly; SameSite=Strict"
        await (refusal or self._app)(scope, receive, send_guarded)

    def _refusal(self, scope: Scope, headers: Headers) -> Response | None:
        host = headers.get("host", "")
        if not self._is_own(host):
            return _error(403, "this Host is not the console's; use the address the console printed")
        origin = headers.get("origin")
        if origin is not None and _netloc(origin) != host.lower():
            return _error(403, "requests from another web page (Origin) are refused")
        path = scope["path"]
        if scope["method"] == "POST" and self._takes_none(path):
            taken = ", ".join(self._post_paths)
            return _error(404, f"nothing is taken at {path[:100]}; OTLP/HTTP is taken at {taken}")
        if self._token is None or path.startswith(_OPEN_PATHS):
            return None
        if path.startswith("/v1/"):
            peer = (scope.get("client") or ("", 0))[0]
            if is_loopback(peer) or self._bearer(headers):
                return None
            return _error(401, "from another machine the header 'authorization: Bearer TOKEN' is needed")
        if self._bearer(headers) or self._in_cookie(scope) or self._in_query(scope):
            return None
        if path.startswith("/api/"):
            return _error(401, "the token is needed: a cookie, or the header 'authorization: Bearer TOKEN'")
        return HTMLResponse(self._refused, 401)

    def _takes_none(self, path: str) -> bool:
        # With a slash at the end the router redirects to the path without.
        return path.rstrip("/") not in self._post_paths and not path.startswith(_READ_PATHS)

    def _is_own(self, host: str) -> bool:
        name = _host_name(host)
        if name is None:
            return False
        if is_loopback(name) or name in self._own_names:
            return True
        if self._only_loopback:
            return False
        # Listening on every address: an address is not a name, so no name server can have forged it.
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True

    def _matches(self, given: str) -> bool:
        return self._token is not None and hmac.compare_digest(given.encode(), self._token.encode())

    def _bearer(self, headers: Headers) -> bool:
        kind, _, given = headers.get("authorization", "").partition(" ")
        return kind.lower() == "bearer" and self._matches(given.strip())

    def _in_cookie(self, scope: Scope) -> bool:
        return self._matches(HTTPConnection(scope).cookies.get(self._cookie, ""))

    def _in_query(self, scope: Scope) -> bool:
        given = parse_qs(scope["query_string"].decode("latin-1")).get("token", [])
        return len(given) == 1 and self._matches(given[0])


def _netloc(origin: str) -> str | None:
    """The ``host:port`` of an Origin header in lower case; None for ``null`` and for anything odd."""
    try:
        parts = urlsplit(origin)
    except ValueError:
        return None
    return parts.netloc.lower() or None


def _host_name(host: str) -> str | None:
    if not host or set(host) & set("@/\\?# "):
        return None
    try:
        parts = urlsplit("//" + host)
        _ = parts.port  # raises ValueError where it is no number
        return parts.hostname
    except ValueError:
        return None


def _error(status: int, message: str) -> Response:
    return Response(json.dumps({"error": message}), status, media_type="application/json")
