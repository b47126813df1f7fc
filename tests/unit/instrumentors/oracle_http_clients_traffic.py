"""The same requests by an HTTP client under one of two instrumentors, told as JSON.

Run with the instrumentor's name (``ours`` or ``contrib``), the library's, and the server's address; a second
address is one where nobody listens.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from oracle_compare import Recorder

CLASSES = {
    "requests": "RequestsInstrumentor",
    "urllib3": "URLLib3Instrumentor",
    "urllib": "URLLibInstrumentor",
    "httpx": "HTTPXClientInstrumentor",
}
OURS_TOO = {"requests": ("requests", "urllib3")}  # it runs on the other one, and both are on


Step = tuple[str, Callable[[], object]]
SECRET = "?a=1&sig=hunter2&b=2"
HEADERS = {"X-Asked": "asked", "X-Other": "other"}


def of_requests(base: str, dead: str) -> Iterator[Step]:
    import requests
    from requests.adapters import HTTPAdapter
    from urllib3.util.retry import Retry

    session = requests.Session()
    session.trust_env = False
    retrying = requests.Session()
    retrying.mount("http://", HTTPAdapter(max_retries=Retry(3, status_forcelist=[503])))
    yield "get", lambda: session.get(f"{base}/ok")
    yield "a query", lambda: session.get(f"{base}/ok{SECRET}")
    yield "a login", lambda: session.get(f"{base.replace('//', '//me:hunter2@')}/ok")
    yield "headers", lambda: session.get(f"{base}/ok", headers=HEADERS)
    yield "post", lambda: session.post(f"{base}/ok", data=b"12345")
    yield "head", lambda: session.head(f"{base}/ok")
    yield "no content", lambda: session.delete(f"{base}/status/204")
    yield "an unknown method", lambda: session.request("brew", f"{base}/ok")
    yield "not found", lambda: session.get(f"{base}/status/404")
    yield "a server's error", lambda: session.get(f"{base}/status/500")
    yield "streamed", lambda: session.get(f"{base}/chunks", stream=True).close()
    yield "two hops", lambda: session.get(f"{base}/redirect/2")
    yield "hops not followed", lambda: session.get(f"{base}/redirect/2", allow_redirects=False)
    yield "tries", lambda: retrying.get(f"{base}/flaky/requests/2")
    yield "nobody listens", lambda: session.get(f"{dead}/ok")
    yield "a time-out", lambda: session.get(f"{base}/hang", timeout=(60, 0.05))
    yield "cut off", lambda: session.get(f"{base}/cut")
    yield "by proxy", lambda: session.get("http://shop.invalid/ok", proxies={"http": base})


def of_urllib3(base: str, dead: str) -> Iterator[Step]:
    import urllib3
    from urllib3.util.retry import Retry

    pool = urllib3.PoolManager(retries=False)
    hopping = urllib3.PoolManager()
    tries = Retry(3, status_forcelist=[503])
    host, _, port = base.removeprefix("http://").partition(":")
    direct = urllib3.HTTPConnectionPool(host, int(port))
    yield "get", lambda: pool.request("GET", f"{base}/ok")
    yield "a query", lambda: pool.request("GET", f"{base}/ok{SECRET}")
    yield "headers", lambda: pool.request("GET", f"{base}/ok", headers=HEADERS)
    yield "post", lambda: pool.request("POST", f"{base}/ok", body=b"12345")
    yield "head", lambda: pool.request("HEAD", f"{base}/ok")
    yield "no content", lambda: pool.request("DELETE", f"{base}/status/204")
    yield "an unknown method", lambda: pool.request("brew", f"{base}/ok")
    yield "not found", lambda: pool.request("GET", f"{base}/status/404")
    yield "a server's error", lambda: pool.request("GET", f"{base}/status/500")
    yield "streamed", lambda: pool.request("GET", f"{base}/chunks", preload_content=False).close()
    yield "two hops", lambda: hopping.request("GET", f"{base}/redirect/2")
    yield "two hops in a pool", lambda: direct.urlopen("GET", "/redirect/2")
    yield "tries", lambda: hopping.request("GET", f"{base}/flaky/urllib3/2", retries=tries)
    yield "nobody listens", lambda: pool.request("GET", f"{dead}/ok")
    yield "nobody listens, twice", lambda: pool.request("GET", f"{dead}/ok", retries=1)
    yield (
        "a time-out",
        lambda: pool.request("GET", f"{base}/hang", timeout=urllib3.Timeout(connect=60, read=0.05)),
    )
    yield "cut off", lambda: pool.request("GET", f"{base}/cut")
    yield "by proxy", lambda: urllib3.ProxyManager(base).request("GET", "http://shop.invalid/ok")


def of_urllib(base: str, dead: str) -> Iterator[Step]:
    import urllib.request

    def send(url: str, **options: Any) -> None:
        method = options.pop("method", None)
        headers = options.pop("headers", {})
        data = options.pop("data", None)
        request = urllib.request.Request(url, data, headers, method=method)
        urllib.request.urlopen(request, **options).close()

    proxied = urllib.request.build_opener(urllib.request.ProxyHandler({"http": base}))
    passwords = urllib.request.HTTPPasswordMgrWithDefaultRealm()
    passwords.add_password(None, base, "me", "hunter2")
    knowing = urllib.request.build_opener(urllib.request.HTTPBasicAuthHandler(passwords))
    yield "get", lambda: urllib.request.urlopen(f"{base}/ok").close()
    yield "a query", lambda: send(f"{base}/ok{SECRET}")
    yield "headers", lambda: send(f"{base}/ok", headers=HEADERS)
    yield "post", lambda: send(f"{base}/ok", data=b"12345")
    yield (
        "data beside the request",
        lambda: urllib.request.urlopen(urllib.request.Request(f"{base}/ok"), b"12345").close(),
    )
    yield "head", lambda: send(f"{base}/ok", method="HEAD")
    yield "no content", lambda: send(f"{base}/status/204", method="DELETE")
    yield "an unknown method", lambda: send(f"{base}/ok", method="BREW")
    yield "not found", lambda: send(f"{base}/status/404")
    yield "a server's error", lambda: send(f"{base}/status/500")
    yield "streamed", lambda: send(f"{base}/chunks")
    yield "two hops", lambda: send(f"{base}/redirect/2")
    yield "logging in", lambda: knowing.open(f"{base}/login").close()
    yield "nobody listens", lambda: send(f"{dead}/ok")
    yield "a time-out", lambda: send(f"{base}/hang", timeout=0.05)
    yield "by proxy", lambda: proxied.open("http://shop.invalid/ok").close()
    yield "no HTTP", lambda: urllib.request.urlopen("data:,text").close()


def of_httpx(base: str, dead: str) -> Iterator[Step]:
    import httpx

    client = httpx.Client(trust_env=False)
    hopping = httpx.Client(trust_env=False, follow_redirects=True)
    proxied = httpx.Client(trust_env=False, proxy=base)

    def streamed() -> None:
        with client.stream("GET", f"{base}/chunks"):
            pass

    async def alone(*arguments: Any, **options: Any) -> None:
        async with httpx.AsyncClient(trust_env=False, follow_redirects=True) as asynchronous:
            await asynchronous.request(*arguments, **options)

    def later(*arguments: Any, **options: Any) -> Callable[[], object]:
        return lambda: asyncio.run(alone(*arguments, **options))

    yield "get", lambda: client.get(f"{base}/ok")
    yield "a query", lambda: client.get(f"{base}/ok{SECRET}")
    yield "a login", lambda: client.get(f"{base.replace('//', '//me:hunter2@')}/ok")
    yield "headers", lambda: client.get(f"{base}/ok", headers=HEADERS)
    yield "post", lambda: client.post(f"{base}/ok", content=b"12345")
    yield "head", lambda: client.head(f"{base}/ok")
    yield "no content", lambda: client.delete(f"{base}/status/204")
    yield "an unknown method", lambda: client.request("brew", f"{base}/ok")
    yield "not found", lambda: client.get(f"{base}/status/404")
    yield "a server's error", lambda: client.get(f"{base}/status/500")
    yield "streamed", streamed
    yield "two hops", lambda: hopping.get(f"{base}/redirect/2")
    yield "nobody listens", lambda: client.get(f"{dead}/ok")
    yield "a time-out", lambda: client.get(f"{base}/hang", timeout=httpx.Timeout(60, read=0.05))
    yield "by proxy", lambda: proxied.get("http://shop.invalid/ok")
    yield "later: get", later("GET", f"{base}/ok{SECRET}", headers=HEADERS)
    yield "later: post", later("POST", f"{base}/ok", content=b"12345")
    yield "later: not found", later("GET", f"{base}/status/404")
    yield "later: two hops", later("GET", f"{base}/redirect/2")
    yield "later: nobody listens", later("GET", f"{dead}/ok")
    yield "later: a time-out", later("GET", f"{base}/hang", timeout=httpx.Timeout(60, read=0.05))


TRAFFIC: dict[str, Callable[[str, str], Iterator[Step]]] = {
    "requests": of_requests,
    "urllib3": of_urllib3,
    "urllib": of_urllib,
    "httpx": of_httpx,
}


def main(whose: str, library: str, base: str, dead: str) -> None:
    recorder = Recorder()
    providers = {"tracer_provider": recorder.tracer_provider, "meter_provider": recorder.meter_provider}
    package = "spanwise.instrumentors" if whose == "ours" else "opentelemetry.instrumentation"
    for each in OURS_TOO.get(library, (library,)):
        getattr(import_module(f"{package}.{each}"), CLASSES[each])().instrument(**providers)
    tracer = recorder.tracer_provider.get_tracer("application")
    for name, send in TRAFFIC[library](base, dead):
        with (
            recorder.step(name),
            contextlib.suppress(Exception),
            tracer.start_as_current_span(
                "application", record_exception=False, set_status_on_exception=False
            ),
        ):
            send()
    print(json.dumps(recorder.steps))


if __name__ == "__main__":
    os.environ["OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_CLIENT_REQUEST"] = "x-asked"
    os.environ["OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_CLIENT_RESPONSE"] = "x-told"
    main(*sys.argv[1:])
