"""urllib.request: a client span for each HTTP request that it sends, and its duration.

Replaces ``OpenerDirector.open``, which ``urlopen`` and every opener call and which a handler calls again for
the next hop of a redirect or with a password, and ``OpenerDirector.error``, which tells it of such an answer.
The span ends when the headers are there: reading the body is the caller's. Other schemes (``file:``,
``ftp:``, ``data:``) are no HTTP requests and have no span.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from urllib.error import HTTPError

from opentelemetry.propagators.textmap import Setter

from spanwise.instrumentors._http_client import Answer, Client
from spanwise.instrumentors._http_client_instrumentor import HttpClientInstrumentor
from spanwise.instrumentors._patches import Patches
from spanwise.instrumentors._traceback import passed_over

__all__ = ["URLLibInstrumentor"]

_SCHEMES = ("http", "https")
# After which urllib's handlers send the request again. What a handler of the application's sends because of
# another answer is a request of its own.
_GO_ON = (301, 302, 303, 307, 308, 401, 407)


class URLLibInstrumentor(HttpClientInstrumentor):
    """Traces urllib. Used like any OpenTelemetry instrumentor::

        URLLibInstrumentor().instrument(request_hook=…, response_hook=…, excluded_urls="health,metrics")

    The hooks get what contrib's get: the span and the request; the span, that and the response.
    """

    module = "urllib.request"

    def _observer(self, options: Mapping[str, Any]) -> Client:
        return Client("urllib", __name__, _read, options, setter=_ForThisHop())

    def _replace(self, patches: Patches, module: Any, client: Client) -> None:
        request = module.Request
        patches.replace(module.OpenerDirector, "open", lambda call: _observed(call, client, request))
        patches.replace(module.OpenerDirector, "error", lambda call: _noting(call, client))


class _ForThisHop(Setter[Any]):
    """Sets a request's header in the place of the caller's, and not for where it is redirected to."""

    def set(self, carrier: Any, key: str, value: str) -> None:
        carrier.add_unredirected_header(key, value)


class _Headers:
    """A request's headers, read where somebody captures them."""

    def __init__(self, request: Any) -> None:
        self.items = request.header_items


def _read(response: Any) -> Answer:
    return response.code, getattr(response, "version", None), response.headers


@passed_over
def _observed(
    original: Callable[..., Any], client: Client, make_request: Callable[..., Any]
) -> Callable[..., Any]:
    def open(self: Any, fullurl: Any, data: Any = None, *args: Any, **kwargs: Any) -> Any:  # noqa: A001
        # What the original does with it, done here: ours are put into its headers.
        request = make_request(fullurl, data) if isinstance(fullurl, str) else fullurl
        if getattr(request, "type", None) not in _SCHEMES:
            return original(self, request, data, *args, **kwargs)
        if data is not None:
            request.data = data  # before the method is asked for: it depends on it
        exchange = client.begin(
            request.get_method(), request.full_url, _Headers(request), size=_size(request.data)
        )
        if exchange is None:
            return original(self, request, data, *args, **kwargs)
        with exchange:
            if client.request_hook is not None:
                exchange.ask(client.request_hook, request)
            exchange.inject(request)
            try:
                response = original(self, request, data, *args, **kwargs)
            except HTTPError as error:
                # An answer. One below 400 is an error all the same: redirected too often, or elsewhere.
                answer = error if error.fp is None else error.fp
                if exchange.take(answer):
                    exchange.ask(client.response_hook, request, answer)
                if error.code >= 400:
                    exchange.end()
                raise
            if exchange.take(response):
                exchange.ask(client.response_hook, request, response)
        return response

    return open


@passed_over
def _noting(original: Callable[..., Any], client: Client) -> Callable[..., Any]:
    def error(self: Any, proto: Any, *args: Any) -> Any:
        exchange = client.current() if proto in _SCHEMES and len(args) > 1 else None
        goes_on = len(args) > 2 and args[2] in _GO_ON
        if exchange is not None and exchange.take(args[1], goes_on=goes_on):
            exchange.ask(client.response_hook, args[0], args[1])
        return original(self, proto, *args)

    return error


def _size(data: Any) -> int | None:
    return len(data) if isinstance(data, (bytes, bytearray)) else None
