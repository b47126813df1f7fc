"""HTTP clients one by one: redirects, attempts, logins, proxies, hooks, tasks, what is no HTTP."""

from __future__ import annotations

import asyncio
import base64
import gc
import sys
import urllib.request
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import pytest
import requests
import urllib3
from opentelemetry.trace import StatusCode
from requests.adapters import HTTPAdapter
from urllib3.util.retry import Retry

sys.path.insert(0, str(Path(__file__).resolve().parent))

from http_client_telemetry import Telemetry
from local_http import Local, serving

from spanwise import names
from spanwise.instrumentors._abandoned import end_abandoned
from spanwise.instrumentors.httpx import HTTPXClientInstrumentor


@pytest.fixture(scope="module")
def _server() -> Iterator[Local]:
    with serving() as local:
        yield local


@pytest.fixture
def server(_server: Local) -> Local:
    _server.requests.clear()
    return _server


@pytest.fixture
def telemetry() -> Iterator[Telemetry]:
    made = Telemetry()
    made.instrument()
    yield made
    made.uninstrument()


def told(telemetry: Telemetry) -> list[tuple[Any, ...]]:
    """Status, resend count and error of each span but the application's."""
    return [
        tuple(
            span.attributes.get(name)
            for name in (names.HTTP_RESPONSE_STATUS_CODE, names.HTTP_REQUEST_RESEND_COUNT, names.ERROR_TYPE)
        )
        for span in telemetry.spans
        if span.name != "application"
    ]


def parents(telemetry: Telemetry) -> set[str]:
    """The names of the spans' parents."""
    spans = {span.context.span_id: span for span in telemetry.spans}
    return {spans[span.parent.span_id].name for span in telemetry.spans if span.parent is not None}


def hops_of_requests(base: str) -> None:
    requests.get(f"{base}/redirect/3")


def hops_of_a_requests_session(base: str) -> None:
    with requests.Session() as session:
        session.hooks["response"].append(lambda response, **_: response)
        session.get(f"{base}/redirect/3", stream=True).close()


def hops_of_urllib(base: str) -> None:
    urllib.request.urlopen(f"{base}/redirect/3").close()


def hops_of_urllib3(base: str) -> None:
    urllib3.PoolManager().request("GET", f"{base}/redirect/3")


def hops_of_a_urllib3_pool(base: str) -> None:
    urllib3.connection_from_url(base).urlopen("GET", "/redirect/3")


def hops_of_httpx(base: str) -> None:
    httpx.get(f"{base}/redirect/3", follow_redirects=True)


@pytest.mark.parametrize(
    "follow",
    [
        hops_of_requests,
        hops_of_a_requests_session,
        hops_of_urllib,
        hops_of_urllib3,
        hops_of_a_urllib3_pool,
        hops_of_httpx,
    ],
)
def test_each_hop_of_a_redirect_is_a_span(follow: Any, telemetry: Telemetry, server: Local) -> None:
    with telemetry.tracer.start_as_current_span("application"):
        follow(server.base)
    assert [path for _, path, _ in server.requests] == ["/redirect/3", "/redirect/2", "/redirect/1", "/ok"]
    # A transport of httpx cannot know that it was asked before.
    counts = [None] * 4 if follow is hops_of_httpx else [None, 1, 2, 3]
    assert told(telemetry) == [
        (status, count, None) for status, count in zip((302, 302, 302, 200), counts, strict=True)
    ]
    hops = telemetry.spans[1:]
    assert [span.attributes[names.URL_FULL] for span in hops] == [
        server.base + path for _, path, _ in server.requests
    ]
    assert parents(telemetry) == {"application"}
    # The server of each hop is told of that hop's span.
    assert [sent.split("-")[2] for sent in server.sent] == [f"{span.context.span_id:016x}" for span in hops]
    for one, next_one in pairwise(hops):
        assert one.end_time <= next_one.start_time
    assert sum(p.count for p in telemetry.points(names.HTTP_CLIENT_REQUEST_DURATION.name)) == 4


def test_a_redirect_that_is_not_followed_is_one_request(telemetry: Telemetry, server: Local) -> None:
    requests.get(f"{server.base}/redirect/2", allow_redirects=False)
    requests.get(f"{server.base}/nowhere")
    httpx.get(f"{server.base}/redirect/2")
    assert told(telemetry) == [(302, None, None)] * 3
    telemetry.exporter.clear()
    with pytest.raises(urllib.request.HTTPError, match="302"):
        urllib.request.urlopen(f"{server.base}/nowhere")
    assert told(telemetry) == [(302, None, "urllib.error.HTTPError")]


def test_too_many_redirects(telemetry: Telemetry, server: Local) -> None:
    with requests.Session() as session:
        session.max_redirects = 1
        with pytest.raises(requests.TooManyRedirects):
            session.get(f"{server.base}/redirect/9")
    assert told(telemetry) == [(302, None, None), (302, 1, None)]


def test_each_attempt_of_urllib3_is_a_span(telemetry: Telemetry, server: Local) -> None:
    retries = Retry(3, status_forcelist=[503])
    with telemetry.tracer.start_as_current_span("application"):
        urllib3.PoolManager().request("GET", f"{server.base}/flaky/a/2", retries=retries)
    assert told(telemetry) == [(503, None, "503"), (503, 1, "503"), (200, 2, None)]
    assert parents(telemetry) == {"application"}
    assert len(set(server.sent)) == 3


def test_attempts_without_an_answer(telemetry: Telemetry, server: Local) -> None:
    with pytest.raises(urllib3.exceptions.MaxRetryError):
        urllib3.PoolManager().request("GET", f"{server.base}/drop", retries=Retry(1))
    assert [(count, error) for _, count, error in told(telemetry)] == [
        (None, "urllib3.exceptions.ProtocolError"),
        (1, "urllib3.exceptions.MaxRetryError"),
    ]
    assert {span.status.status_code for span in telemetry.spans} == {StatusCode.ERROR}


def test_attempts_within_a_request_of_requests_are_counted(telemetry: Telemetry, server: Local) -> None:
    with requests.Session() as session:
        session.mount("http://", HTTPAdapter(max_retries=Retry(3, status_forcelist=[503])))
        session.get(f"{server.base}/flaky/b/2")
    assert told(telemetry) == [(200, 2, None)]


def test_a_login_of_urllib_is_two_requests(telemetry: Telemetry, server: Local) -> None:
    passwords = urllib.request.HTTPPasswordMgrWithDefaultRealm()
    passwords.add_password(None, server.base, "me", "hunter2")
    opener = urllib.request.build_opener(urllib.request.HTTPBasicAuthHandler(passwords))
    opener.open(f"{server.base}/login").close()
    assert told(telemetry) == [(401, None, "401"), (200, 1, None)]


def test_a_login_of_httpx_is_two_requests(telemetry: Telemetry, server: Local) -> None:
    class Login(httpx.Auth):
        def auth_flow(self, request: httpx.Request) -> Any:
            response = yield request
            if response.status_code == 401:
                token = base64.b64encode(b"me:hunter2").decode()
                request.headers["Authorization"] = f"Basic {token}"
                yield request

    httpx.get(f"{server.base}/login", auth=Login())
    assert told(telemetry) == [(401, None, "401"), (200, None, None)]
    assert len(set(server.sent)) == 2


def test_a_request_that_a_request_s_hook_makes_is_its_own(telemetry: Telemetry, server: Local) -> None:
    """As one that fetches a token. It is neither a hop nor hidden."""

    def fetch(response: Any, **_: Any) -> None:
        if response.url.endswith("/ok"):
            requests.get(f"{server.base}/status/204")
            httpx.get(f"{server.base}/status/204")
            urllib3.request("GET", f"{server.base}/status/204")

    requests.get(f"{server.base}/ok", hooks={"response": fetch})
    assert told(telemetry) == [(200, None, None), *[(204, None, None)] * 3]
    outer, *inner = telemetry.spans
    assert {span.parent.span_id for span in inner} == {outer.context.span_id}


def test_a_request_that_a_handler_of_urllib_s_makes_is_its_own(telemetry: Telemetry, server: Local) -> None:
    """Because of an answer that is neither a redirect nor asks for a password."""

    class Report(urllib.request.BaseHandler):
        def http_error_404(self, _request: Any, answer: Any, *_: Any) -> Any:
            urllib.request.urlopen(f"{server.base}/status/204").close()
            return answer

    urllib.request.build_opener(Report).open(f"{server.base}/status/404").close()
    assert sorted(told(telemetry)) == [(204, None, None), (404, None, "404")]
    inner, outer = sorted(telemetry.spans, key=lambda span: span.attributes[names.HTTP_RESPONSE_STATUS_CODE])
    assert inner.parent.span_id == outer.context.span_id


def test_async_hooks_of_any_sort(telemetry: Telemetry, server: Local) -> None:
    """One that is a coroutine function only when it is called, or none at all."""
    got: list[str] = []

    class Later:
        async def __call__(self, span: Any, *_: Any) -> None:
            got.append(span.name)

    telemetry.instrument(
        "httpx", async_request_hook=Later(), async_response_hook=lambda span, *_: got.append(span.name)
    )

    async def work() -> None:
        async with httpx.AsyncClient() as client:
            await client.get(f"{server.base}/ok")

    asyncio.run(work())
    assert got == ["GET", "GET"]


def test_an_answer_s_length_that_is_none(
    telemetry: Telemetry, server: Local, caplog: pytest.LogCaptureFixture
) -> None:
    exchange: Any = HTTPXClientInstrumentor()._client.begin("GET", server.base, {}, size="12x")  # type: ignore[union-attr]
    with exchange:
        pass
    assert len(telemetry.spans) == 1
    assert caplog.records == []


def test_by_proxy_the_server_is_that_of_the_url(telemetry: Telemetry, server: Local) -> None:
    url = "http://shop.invalid/ok"
    requests.get(url, proxies={"http": server.base})
    urllib3.ProxyManager(server.base).request("GET", url)
    urllib.request.build_opener(urllib.request.ProxyHandler({"http": server.base})).open(url).close()
    httpx.Client(proxy=server.base).get(url)
    assert [path for _, path, _ in server.requests] == [url] * 4
    for span in telemetry.spans:
        assert span.attributes[names.URL_FULL] == url
        assert span.attributes[names.SERVER_ADDRESS] == "shop.invalid"
        assert span.attributes[names.SERVER_PORT] == 80
    assert len(telemetry.spans) == 4


def test_a_proxy_that_is_not_there(telemetry: Telemetry) -> None:
    proxy = "http://127.0.0.1:9"
    with pytest.raises(requests.exceptions.ProxyError):
        requests.get("http://shop.invalid/ok", proxies={"http": proxy})
    assert telemetry.span.attributes[names.ERROR_TYPE] == "requests.exceptions.ProxyError"


def test_the_hooks_get_what_contrib_s_get(telemetry: Telemetry, server: Local) -> None:
    got: list[tuple[Any, ...]] = []

    def hook(span: Any, *arguments: Any) -> None:
        span.set_attribute("hooked", len(arguments))
        got.append(arguments)

    async def later(span: Any, *arguments: Any) -> None:
        hook(span, *arguments)

    telemetry.instrument(request_hook=hook, response_hook=hook)
    telemetry.instrument(
        "httpx", request_hook=hook, response_hook=hook, async_request_hook=later, async_response_hook=later
    )
    response = requests.get(f"{server.base}/ok")
    assert got == [(response.request,), (response.request, response)]
    got.clear()

    pool = urllib3.HTTPConnectionPool("127.0.0.1", server.port)
    answer: Any = pool.urlopen("POST", "/ok", body=b"12", headers={"X-Mine": "mine"})
    (asked, (answering, answered)) = got
    assert asked[0] is answering is pool
    assert (asked[1].method, asked[1].url, asked[1].body) == ("POST", f"{server.base}/ok", b"12")
    assert asked[1].headers["X-Mine"] == "mine"
    assert answered is answer
    got.clear()

    request = urllib.request.Request(f"{server.base}/ok")
    with urllib.request.urlopen(request) as opened:
        assert got == [(request,), (request, opened)]
    got.clear()

    def check_httpx() -> None:
        ((one,), (same, told_of)) = got
        assert one[:2] == same[:2] == (b"GET", httpx.URL(f"{server.base}/ok"))
        assert (one.method, told_of.status_code, told_of.headers["x-told"]) == (b"GET", 200, "told")
        assert None not in (one.headers, one.stream, one.extensions, told_of.stream, told_of.extensions)
        got.clear()

    httpx.get(f"{server.base}/ok")
    check_httpx()

    async def get() -> None:
        async with httpx.AsyncClient() as client:
            await client.get(f"{server.base}/ok")

    asyncio.run(get())
    check_httpx()
    assert [span.attributes["hooked"] for span in telemetry.spans] == [2] * 5


def test_a_response_hook_is_called_once_an_answer(telemetry: Telemetry, server: Local) -> None:
    got: list[int] = []
    telemetry.instrument("requests", response_hook=lambda _, __, answer: got.append(answer.status_code))
    telemetry.instrument("urllib", response_hook=lambda _, __, answer: got.append(answer.status))
    requests.get(f"{server.base}/redirect/1")
    requests.get(f"{server.base}/nowhere")
    assert got == [302, 200, 302]
    got.clear()
    urllib.request.urlopen(f"{server.base}/redirect/1").close()
    with pytest.raises(urllib.request.HTTPError) as caught:
        urllib.request.urlopen(f"{server.base}/status/404")
    assert got == [302, 200, 404]
    assert caught.value.read() == b"so it is"


def test_a_filter_of_urllib3_s_urls(telemetry: Telemetry, server: Local) -> None:
    telemetry.instrument("urllib3", url_filter=lambda url: url.partition("?")[0])
    urllib3.PoolManager().request("GET", f"{server.base}/ok?a=b")

    def fails(_: str) -> str:
        raise RuntimeError("planted")

    telemetry.instrument("urllib3", url_filter=fails)
    urllib3.PoolManager().request("GET", f"{server.base}/ok?a=b")
    told_of = [span.attributes[names.URL_FULL] for span in telemetry.spans]
    assert told_of == [f"{server.base}/ok", "REDACTED"]
    assert telemetry.spans[1].attributes[names.SERVER_PORT] == server.port


def test_boundaries_of_the_duration(server: Local) -> None:
    made = Telemetry()
    made.instrument("requests", duration_histogram_boundaries=[1.0, 2.0])
    requests.get(f"{server.base}/ok")
    made.uninstrument()
    (point,) = made.points(names.HTTP_CLIENT_REQUEST_DURATION.name)
    assert tuple(point.explicit_bounds) == (1.0, 2.0)


def test_what_is_no_http_is_not_told(telemetry: Telemetry, tmp_path: Path) -> None:
    (tmp_path / "x").write_text("file")
    assert urllib.request.urlopen((tmp_path / "x").as_uri()).read() == b"file"
    assert urllib.request.urlopen("data:,text").read() == b"text"
    assert telemetry.spans == []


@pytest.mark.parametrize("url", ["http://[::1", "http://a:b/", "nothing://x"])
def test_what_cannot_be_sent_fails_as_ever(
    url: str, telemetry: Telemetry, caplog: pytest.LogCaptureFixture
) -> None:
    def errors() -> list[str]:
        found = []
        for send in (
            requests.get,
            urllib.request.urlopen,
            httpx.get,
            lambda url: urllib3.PoolManager(retries=False).urlopen("GET", url),
        ):
            with pytest.raises(Exception) as caught:  # noqa: PT011 - whatever it is
                send(url)
            found.append(f"{type(caught.value).__name__}: {caught.value}")
        return found

    within = errors()
    telemetry.uninstrument()
    assert within == errors()
    assert caplog.records == []


@pytest.mark.usefixtures("telemetry")
def test_an_unprepared_request_fails_as_ever(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(ValueError, match="PreparedRequest"):
        requests.Session().send(requests.Request("GET", "http://shop.invalid"))  # type: ignore[arg-type]
    assert [r for r in caplog.records if "spanwise" in r.name] == []


def test_transports_of_the_application_s(telemetry: Telemetry, server: Local) -> None:
    class Retrying(httpx.BaseTransport):
        def __init__(self) -> None:
            self.inner = httpx.HTTPTransport()

        def handle_request(self, request: httpx.Request) -> httpx.Response:
            while (response := self.inner.handle_request(request)).status_code == 503:
                response.close()
            return response

    httpx.Client(transport=Retrying()).get(f"{server.base}/flaky/c/1")
    httpx.Client(transport=httpx.MockTransport(lambda _: httpx.Response(200))).get("http://nowhere.invalid")
    assert told(telemetry) == [(503, None, "503"), (200, None, None)]


def test_tasks_of_one_client_keep_their_traces_apart(telemetry: Telemetry, server: Local) -> None:
    async def one(client: httpx.AsyncClient, number: int) -> None:
        with telemetry.tracer.start_as_current_span(f"task {number}"):
            await client.get(f"{server.base}/status/20{number % 3}")

    async def all_of_them() -> None:
        async with httpx.AsyncClient() as client:
            await asyncio.gather(*(one(client, number) for number in range(12)))

    asyncio.run(all_of_them())
    names_of = {span.context.span_id: span.name for span in telemetry.spans}
    within = [span for span in telemetry.spans if span.name == "GET"]
    assert sorted(names_of[span.parent.span_id] for span in within) == sorted(f"task {n}" for n in range(12))
    for span in within:
        number = int(names_of[span.parent.span_id].split()[1])
        assert span.attributes[names.HTTP_RESPONSE_STATUS_CODE] == 200 + number % 3


def test_a_cancelled_task(telemetry: Telemetry, server: Local) -> None:
    async def cancelled() -> None:
        async with httpx.AsyncClient() as client:
            task = asyncio.create_task(client.get(f"{server.base}/hang"))
            while not server.requests:
                await asyncio.sleep(0.001)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    asyncio.run(cancelled())
    assert telemetry.span.attributes[names.ERROR_TYPE] == "asyncio.exceptions.CancelledError"


def test_a_request_that_nobody_awaits_any_longer(telemetry: Telemetry) -> None:
    """Its coroutine is finalized, in whatever context that is."""

    class Never:
        def __await__(self) -> Iterator[None]:
            yield None

    class Waiting(httpx.AsyncHTTPTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            return await super().handle_async_request(request)

    async def stream() -> Any:
        await Never()
        yield b""

    transport = Waiting()
    transport._pool = type("Pool", (), {"handle_async_request": staticmethod(lambda _: Never())})()  # type: ignore[assignment]
    coroutine = transport.handle_async_request(
        httpx.Request("GET", "http://shop.invalid/ok", content=stream())
    )
    coroutine.send(None)
    assert telemetry.spans == []
    del coroutine
    gc.collect()
    assert telemetry.spans == []  # a finalizer may run inside anyone's lock
    end_abandoned()
    assert telemetry.span.attributes[names.ERROR_TYPE] == "GeneratorExit"


def test_data_beside_the_request_makes_it_a_post(telemetry: Telemetry, server: Local) -> None:
    urllib.request.urlopen(urllib.request.Request(f"{server.base}/ok"), b"12345").close()
    assert (server.requests[0][0], telemetry.span.name) == ("POST", "POST")


def test_an_address_of_ipv6(telemetry: Telemetry) -> None:
    pool = urllib3.HTTPConnectionPool("::1", 9, retries=False)
    with pytest.raises(urllib3.exceptions.NewConnectionError):
        pool.urlopen("GET", "/ok")
    attributes = telemetry.span.attributes
    assert attributes[names.URL_FULL] == "http://[::1]:9/ok"
    assert (attributes[names.SERVER_ADDRESS], attributes[names.SERVER_PORT]) == ("::1", 9)
