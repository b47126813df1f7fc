"""requests: a client span for each request that it sends, and its duration.

Replaces ``Session.send``, through which every request goes, the further hops of a redirect among them, and
``Session.resolve_redirects``, which tells that there is one. The span ends when ``send`` returns: with the
headers where the answer is streamed (``stream=True``), else when the body was read, so that a connection
lost in the middle of it is seen.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from spanwise.instrumentors._http_client import Answer, Client
from spanwise.instrumentors._http_client_instrumentor import HttpClientInstrumentor
from spanwise.instrumentors._patches import Patches
from spanwise.instrumentors._traceback import passed_over

__all__ = ["RequestsInstrumentor"]


class RequestsInstrumentor(HttpClientInstrumentor):
    """Traces requests. Used like any OpenTelemetry instrumentor::

        RequestsInstrumentor().instrument(request_hook=…, response_hook=…, excluded_urls="health,metrics")

    The hooks get what contrib's get: the span and the prepared request; the span, that and the response.
    """

    library = module = "requests"
    since = (2, 20)

    def _observer(self, options: Mapping[str, Any]) -> Client:
        return Client("requests", __name__, _read, options)

    def _replace(self, patches: Patches, module: Any, client: Client) -> None:
        patches.replace(module.Session, "send", lambda send: _observed(send, client))
        patches.replace(module.Session, "resolve_redirects", lambda resolve: _noting(resolve, client))
        patches.replace(module.adapters.HTTPAdapter, "send", client.sending)


def _read(response: Any) -> Answer:
    return response.status_code, getattr(response.raw, "version", None), response.headers


@passed_over
def _observed(original: Callable[..., Any], client: Client) -> Callable[..., Any]:
    def send(self: Any, request: Any, **kwargs: Any) -> Any:
        headers = getattr(request, "headers", None)
        exchange = client.begin(
            getattr(request, "method", None),
            getattr(request, "url", None),
            headers,
            size=headers.get("Content-Length") if headers and getattr(request, "body", None) else None,
        )
        if exchange is None:
            return original(self, request, **kwargs)
        with exchange:
            if client.request_hook is not None:
                exchange.ask(client.request_hook, request)
            exchange.inject(headers)
            response = original(self, request, **kwargs)
            if exchange.take(response):
                # urllib3's own attempts: they are all within this one.
                retries = getattr(getattr(response, "raw", None), "retries", None)
                exchange.sent_again(len(getattr(retries, "history", ())))
                exchange.ask(client.response_hook, request, response)
        return response

    return send


@passed_over
def _noting(original: Callable[..., Any], client: Client) -> Callable[..., Any]:
    def resolve_redirects(self: Any, resp: Any, req: Any, *args: Any, **kwargs: Any) -> Any:
        # With yield_requests nothing is sent: the response is told what would be next.
        if not kwargs.get("yield_requests") and getattr(resp, "is_redirect", False):
            exchange = client.current()
            if exchange is not None and exchange.take(resp, goes_on=True):
                exchange.ask(client.response_hook, req, resp)
        return original(self, resp, req, *args, **kwargs)

    return resolve_redirects
