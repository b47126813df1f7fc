"""A request of an HTTP client, until its answer's headers are there: span, duration, sizes; any library.

The library's instrumentor replaces the method that makes a request by one that says::

    exchange = client.begin(method, url, headers)
    if exchange is None:
        return original(…)
    with exchange:
        exchange.ask(client.request_hook, …)
        exchange.inject(headers)
        response = original(…)
        exchange.take(response)
    return response

Each request on the wire is an exchange of its own, as the conventions ask: where the method calls itself for
the next hop of a redirect or to try again, the exchange before has ended by then, and both are children of
the same span.

Conventions: https://opentelemetry.io/docs/specs/semconv/http/http-spans/#http-client-span
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from opentelemetry.propagators.textmap import Setter, default_setter

from spanwise import names
from spanwise.context import HTTP_SUPPRESSION_KEY, get_context
from spanwise.instrumentors._call import NO_CALL
from spanwise.instrumentors._calls import Calls
from spanwise.instrumentors._http import (
    DEFAULT_PORTS,
    METHODS,
    OTHER_METHOD,
    Attributes,
    captured_headers,
    excluded_urls,
)
from spanwise.instrumentors._http_exchange import Answer, Exchange, Hook
from spanwise.instrumentors._outgoing import Outgoing
from spanwise.instrumentors._scope import scope_of
from spanwise.instruments import make
from spanwise.privacy.url import redact_url

__all__ = ["Answer", "Client", "Exchange"]

_ORIGIN: Final = re.compile(r"(https?)://([A-Za-z0-9._~-]+)(?::([0-9]{1,5}))?(?=[/?#]|$)")


class Client:
    """Observes the requests of a library. What does not change from one to the next is looked up once.

    Args:
        library: its name, as in the deny-list.
        scope: the instrumentor's module.
        read: reads a response.
        options: ``tracer_provider``, ``meter_provider``, ``request_hook``, ``response_hook``,
            ``excluded_urls``, ``duration_histogram_boundaries`` (seconds).
        carries: a library whose requests this one carries out: they are not observed twice.
        setter: puts a header into what `Exchange.inject` gets.
    """

    def __init__(
        self,
        library: str,
        scope: str,
        read: Callable[[Any], Answer],
        options: Mapping[str, Any],
        *,
        carries: str = "",
        setter: Setter[Any] = default_setter,
    ) -> None:
        tracer, meter = scope_of(scope, options)
        duration = names.HTTP_CLIENT_REQUEST_DURATION
        boundaries = options.get("duration_histogram_boundaries")
        if boundaries:
            duration = dataclasses.replace(duration, buckets=tuple(boundaries))
        self.library = library
        self.carries = carries
        self.calls = Calls(library, tracer, make(meter, duration))
        self.request_size = make(meter, names.HTTP_CLIENT_REQUEST_BODY_SIZE)
        self.response_size = make(meter, names.HTTP_CLIENT_RESPONSE_BODY_SIZE)
        self.read = read
        self.outgoing = Outgoing(setter)
        self.request_hook: Hook | None = options.get("request_hook")
        self.response_hook: Hook | None = options.get("response_hook")
        self.excluded = excluded_urls(library, options.get("excluded_urls"))
        self.request_headers = captured_headers("CLIENT", "REQUEST")
        self.response_headers = captured_headers("CLIENT", "RESPONSE")

    def begin(
        self, method: Any, url: Any, headers: Any, *, size: Any = None, resends: int = 0, shown: str = ""
    ) -> Exchange | None:
        """Begins to observe a request.

        Args:
            method: as the library sends it.
            url: the whole of it.
            headers: a `HeaderMap`, read only where some are captured.
            size: the body's, in bytes; None where there is none or it is not known.
            resends: how often it was sent before, where the library tells.
            shown: the URL as the span tells it, where that is another.

        Returns:
            None where it is not observed: instrumentation is suppressed or off, or it is nothing that can be
            sent.
        """
        try:
            context = get_context()
            if not self.calls.open or not isinstance(url, str) or not isinstance(method, str):
                return None
            around: Any = context.get(HTTP_SUPPRESSION_KEY)
            if around:
                if not isinstance(around, Exchange):
                    return None
                if around.client is self and around.goes_on and not around.over:
                    around.end()
                    context = around.parent
                    around.resends = resends = max(resends, around.resends + 1)
            if self.excluded is not None and self.excluded(url):
                return Exchange(self, NO_CALL, context, {}, None, 0)
            labels, attributes = _described(method, url, shown)
            if resends:
                attributes[names.HTTP_REQUEST_RESEND_COUNT] = resends
            if self.request_headers is not None and headers is not None:
                attributes.update(self.request_headers(headers.items()))
            name = str(labels[names.HTTP_REQUEST_METHOD])
            call = self.calls.start(
                name if name != OTHER_METHOD else "HTTP",
                attributes,
                metric_attributes=labels,
                context=context,
            )
            if call is NO_CALL:
                return None
            return Exchange(self, call, context, labels, size, resends)
        except Exception as error:
            self.calls.warn("observe a request", error)
            return None

    def carrying(self) -> bool:
        """Whether what is sent now is the request of the library that this one carries out."""
        around: Any = get_context().get(HTTP_SUPPRESSION_KEY)
        return isinstance(around, Exchange) and around.sends and around.client.library == self.carries

    def sending(self, send: Callable[..., Any]) -> Callable[..., Any]:
        """Wraps the method that has another library carry a request out: see `carrying`.

        What hooks of the application's send before and after it are requests of their own.
        """

        def sends(*args: Any, **kwargs: Any) -> Any:
            around: Any = get_context().get(HTTP_SUPPRESSION_KEY)
            if not isinstance(around, Exchange) or around.client is not self:
                return send(*args, **kwargs)
            before, around.sends = around.sends, True
            try:
                return send(*args, **kwargs)
            finally:
                around.sends = before

        return sends

    def current(self) -> Exchange | None:
        """The exchange under way that is this library's and not ended."""
        around: Any = get_context().get(HTTP_SUPPRESSION_KEY)
        if isinstance(around, Exchange) and around.client is self and not (around.over or around.ended):
            return around
        return None


def _described(method: str, url: str, shown: str) -> tuple[Attributes, Attributes]:
    """What is known of a request before it is sent: for its metrics, and for its span."""
    canonical = method if method in METHODS else method.strip().upper()
    if canonical not in METHODS:
        canonical = OTHER_METHOD
    path = url.find("/", 8)  # behind the scheme and its slashes, which are 7 or 8 characters
    origin = url[:path] if path > 0 else url
    server = _servers.get(origin)
    address, port = server if server is not None else _server(url, origin)
    labels: Attributes = {names.HTTP_REQUEST_METHOD: canonical}
    if address:
        labels[names.SERVER_ADDRESS] = address
    if port:
        labels[names.SERVER_PORT] = port
    attributes: Attributes = {**labels, names.URL_FULL: redact_url(shown or url)}
    if canonical != method:
        attributes[names.HTTP_REQUEST_METHOD_ORIGINAL] = method
    return labels, attributes


# An application speaks to few servers; a crawler to any number, of which these are kept.
_KEPT: Final = 256
_servers: dict[str, tuple[str, int]] = {}


def _server(url: str, origin: str) -> tuple[str, int]:
    """Server and port of a URL; kept by its origin, unless there is more in that (a password)."""
    found = _ORIGIN.match(url)
    if found is None:
        return _odd_origin(url)
    scheme, address, number = found.groups()
    server = (address, int(number) if number else DEFAULT_PORTS[scheme])
    if found.group() == origin and len(_servers) < _KEPT:
        _servers[origin] = server
    return server


def _odd_origin(url: str) -> tuple[str, int]:
    """Server and port of a URL with a user, an IPv6 address, a scheme in capitals, letters beyond ASCII."""
    try:
        parts = urlsplit(url)
        return parts.hostname or "", parts.port or DEFAULT_PORTS.get(parts.scheme, 0)
    except ValueError:  # no URL; what the library raises says so
        return "", 0
