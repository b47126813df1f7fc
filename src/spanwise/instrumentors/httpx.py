"""httpx: a client span for each request that it sends, and its duration.

Replaces ``handle_request`` of HTTPTransport and ``handle_async_request`` of AsyncHTTPTransport, through which
a client sends each hop of a redirect and each step of an authentication. They return with the headers, and
so ends the span: the body is read later, and by whom the transport cannot know. Transports that send nothing
(MockTransport, WSGITransport, ASGITransport) are not observed; those that hand on to an HTTPTransport are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from spanwise.instrumentors._http_client import Answer, Client, Exchange
from spanwise.instrumentors._http_client_instrumentor import HttpClientInstrumentor
from spanwise.instrumentors._patches import Patches
from spanwise.instrumentors._traceback import passed_over

__all__ = ["HTTPXClientInstrumentor", "RequestInfo", "ResponseInfo"]

_WITHOUT_BODY = ("GET", "HEAD")


class RequestInfo(NamedTuple):
    """What hooks are told of a request."""

    method: bytes
    url: Any
    headers: Any
    stream: Any
    extensions: Any


class ResponseInfo(NamedTuple):
    """What hooks are told of a response."""

    status_code: int
    headers: Any
    stream: Any
    extensions: Any


class HTTPXClientInstrumentor(HttpClientInstrumentor):
    """Traces httpx. Used like any OpenTelemetry instrumentor::

        HTTPXClientInstrumentor().instrument(request_hook=…, response_hook=…,
                                             async_request_hook=…, async_response_hook=…)

    The hooks get what contrib's get: the span and a `RequestInfo`; the span, that and a `ResponseInfo`. For
    asynchronous clients there are two of their own: coroutine functions, or whatever else is called like one.
    """

    library = module = "httpx"
    since = (0, 20)

    def _observer(self, options: Mapping[str, Any]) -> Client:
        self._async_hooks = options.get("async_request_hook"), options.get("async_response_hook")
        return Client("httpx", __name__, _read, options)

    def _replace(self, patches: Patches, module: Any, client: Client) -> None:
        hooks = self._async_hooks
        patches.replace(module.HTTPTransport, "handle_request", lambda handle: _observed(handle, client))
        patches.replace(
            module.AsyncHTTPTransport,
            "handle_async_request",
            lambda handle: _observed_async(handle, client, *hooks),
        )


def _read(response: Any) -> Answer:
    return response.status_code, response.extensions.get("http_version"), response.headers


def _begin(client: Client, request: Any) -> Exchange | None:
    method, headers = request.method, request.headers
    # Looking into the headers takes 2 µs, and these have no body, as a rule.
    size = None if method in _WITHOUT_BODY else headers.get("content-length")
    return client.begin(method, str(request.url), headers, size=size)


@passed_over
def _observed(original: Callable[..., Any], client: Client) -> Callable[..., Any]:
    def handle_request(self: Any, request: Any) -> Any:
        exchange = _begin(client, request)
        if exchange is None:
            return original(self, request)
        with exchange:
            if client.request_hook is not None:
                exchange.ask(client.request_hook, _asked(request))
            exchange.inject(request.headers)
            response = original(self, request)
            if exchange.take(response) and client.response_hook is not None:
                exchange.ask(client.response_hook, _asked(request), _answered(response))
        return response

    return handle_request


@passed_over
def _observed_async(
    original: Callable[..., Any], client: Client, request_hook: Any, response_hook: Any
) -> Callable[..., Any]:
    async def handle_async_request(self: Any, request: Any) -> Any:
        exchange = _begin(client, request)
        if exchange is None:
            return await original(self, request)
        with exchange:
            if request_hook is not None:
                await exchange.ask_async(request_hook, _asked(request))
            exchange.inject(request.headers)
            response = await original(self, request)
            if exchange.take(response) and response_hook is not None:
                await exchange.ask_async(response_hook, _asked(request), _answered(response))
        return response

    return handle_async_request


def _asked(request: Any) -> RequestInfo:
    return RequestInfo(
        request.method.encode(), request.url, request.headers, request.stream, request.extensions
    )


def _answered(response: Any) -> ResponseInfo:
    return ResponseInfo(response.status_code, response.headers, response.stream, response.extensions)
