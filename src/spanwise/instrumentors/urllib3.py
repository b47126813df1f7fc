"""urllib3: a client span for each request that it sends, and its duration.

Replaces ``HTTPConnectionPool.urlopen``, which every pool and pool manager calls, and which calls itself to
follow a redirect or to try again: the history of ``Retry`` tells how the attempt before ended. The wait
before the next attempt belongs to the span of the failed one. The span ends when ``urlopen`` returns: with
the headers where the body is left to the caller (``preload_content=False``), else when it was read.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from opentelemetry.propagators.textmap import Setter

from spanwise.instrumentors._http import DEFAULT_PORTS
from spanwise.instrumentors._http_client import Answer, Client
from spanwise.instrumentors._http_client_instrumentor import HttpClientInstrumentor
from spanwise.instrumentors._patches import Patches
from spanwise.instrumentors._traceback import passed_over

__all__ = ["RequestInfo", "URLLib3Instrumentor"]


class RequestInfo(NamedTuple):
    """What the request hook is told of a request: the arguments of ``urlopen``, and the whole URL."""

    method: str
    url: str
    headers: Any
    body: Any


class URLLib3Instrumentor(HttpClientInstrumentor):
    """Traces urllib3. Used like any OpenTelemetry instrumentor::

        URLLib3Instrumentor().instrument(request_hook=…, response_hook=…, url_filter=…, excluded_urls=…)

    The hooks get what contrib's get: the span, the pool and a `RequestInfo`; the span, the pool and the
    response. ``url_filter`` gets the URL and gives what the span tells as such.
    """

    library = module = "urllib3"
    since = (1, 24)

    def _observer(self, options: Mapping[str, Any]) -> Client:
        client = Client("urllib3", __name__, _read, options, carries="requests", setter=_Once())
        self._url_filter: Callable[[str], str] | None = options.get("url_filter")
        return client

    def _replace(self, patches: Patches, module: Any, client: Client) -> None:
        patches.replace(
            module.HTTPConnectionPool,
            "urlopen",
            lambda urlopen: _observed(urlopen, client, self._url_filter),
        )


class _Once(Setter[Any]):
    """Sets a header of a plain mapping, where another spelling of its name would be sent along."""

    def set(self, carrier: Any, key: str, value: str) -> None:
        if type(carrier) is dict:
            for name in [each for each in carrier if each != key and each.lower() == key]:
                del carrier[name]
        carrier[key] = value


def _read(response: Any) -> Answer:
    return response.status, response.version, response.headers


@passed_over
def _observed(
    original: Callable[..., Any], client: Client, url_filter: Callable[[str], str] | None
) -> Callable[..., Any]:
    def urlopen(
        self: Any,
        method: Any,
        url: Any,
        body: Any = None,
        headers: Any = None,
        retries: Any = None,
        *args: Any,
        **kwargs: Any,
    ) -> Any:
        if client.carrying():
            return original(self, method, url, body, headers, retries, *args, **kwargs)
        history = getattr(retries, "history", ())
        if history:
            attempt = client.current()
            # This one is called within the attempt before, which knows of fewer.
            if attempt is not None and attempt.resends < len(history):
                attempt.again(history[-1].status, history[-1].error)
        whole, shown = _urls(self, url, url_filter, client)
        if headers is None:
            headers = self.headers
        exchange = client.begin(method, whole, headers, size=_size(body), resends=len(history), shown=shown)
        if exchange is None:
            return original(self, method, url, body, headers, retries, *args, **kwargs)
        with exchange:
            headers = _copy(headers)
            if client.request_hook is not None:
                exchange.ask(client.request_hook, self, RequestInfo(method, whole, headers, body))
            exchange.inject(headers)
            response = original(self, method, url, body, headers, retries, *args, **kwargs)
            if exchange.take(response):
                exchange.ask(client.response_hook, self, response)
        return response

    return urlopen


def _urls(pool: Any, url: Any, url_filter: Callable[[str], str] | None, client: Client) -> tuple[Any, str]:
    """The whole URL, and what the span is to tell instead of it; through a proxy it is whole already."""
    whole = url
    shown = ""
    if isinstance(url, str) and url.startswith("/"):
        host = f"[{pool.host}]" if ":" in pool.host else pool.host
        port = "" if pool.port in (None, DEFAULT_PORTS.get(pool.scheme)) else f":{pool.port}"
        whole = f"{pool.scheme}://{host}{port}{url}"
    if url_filter is not None:
        try:
            shown = url_filter(whole)
        except Exception as error:
            client.calls.warn("call the URL filter", error)
            shown = "REDACTED"
    return whole, shown


def _size(body: Any) -> int | None:
    """A body's bytes, where they are at hand."""
    if isinstance(body, (bytes, bytearray)):
        return len(body)
    if isinstance(body, str) and body.isascii():
        return len(body)
    return None


def _copy(headers: Any) -> Any:
    """Headers to add ours to: the caller's, or the pool's, stay as they are."""
    copy = getattr(headers, "copy", None)
    return dict(headers) if copy is None else copy()
