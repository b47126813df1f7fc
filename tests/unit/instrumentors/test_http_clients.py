"""Requests of HTTP clients: one client span each, whatever the library, and nothing of the request harmed."""

from __future__ import annotations

import contextvars
import gc
import logging
import socket
import subprocess
import sys
import threading
import urllib.request
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import requests
import urllib3
from opentelemetry.instrumentation.requests import RequestsInstrumentor as ContribRequests
from opentelemetry.instrumentation.utils import suppress_http_instrumentation, suppress_instrumentation
from opentelemetry.trace import SpanKind, StatusCode, get_current_span

sys.path.insert(0, str(Path(__file__).resolve().parent))


from http_client_telemetry import CLIENTS, INSTRUMENTORS, Ours, Stock, Telemetry
from local_http import Local, serving

from spanwise import names
from spanwise.context import suppressed
from spanwise.instrumentors import _http_client
from spanwise.instrumentors._http_exchange import Exchange

all_clients = pytest.mark.parametrize("client", CLIENTS)


@pytest.fixture(scope="module")
def _server() -> Iterator[Local]:
    with serving() as local:
        yield local


@pytest.fixture
def server(_server: Local) -> Local:
    _server.requests.clear()
    return _server


@pytest.fixture(params=[Stock, Ours])
def each(request: pytest.FixtureRequest) -> Iterator[Telemetry]:
    made = Telemetry(request.param)
    made.instrument()
    yield made
    made.uninstrument()


@pytest.fixture
def telemetry() -> Iterator[Telemetry]:
    made = Telemetry()
    made.instrument()
    yield made
    made.uninstrument()


@pytest.fixture
def nobody() -> Iterator[str]:
    """An address where nobody listens."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{one.getsockname()[1]}"


def traceparent(span: Any) -> str:
    context = span.context
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"


@all_clients
def test_a_request_is_one_span_with_what_the_conventions_ask(
    client: str, each: Telemetry, server: Local
) -> None:
    with each.tracer.start_as_current_span("application"):
        assert CLIENTS[client](f"{server.base}/ok?a=b&sig=secret") == 200
    outer, span = each.spans
    labels = {
        names.HTTP_REQUEST_METHOD: "GET",
        names.SERVER_ADDRESS: "127.0.0.1",
        names.SERVER_PORT: server.port,
    }
    found = {names.HTTP_RESPONSE_STATUS_CODE: 200, names.NETWORK_PROTOCOL_VERSION: "1.1"}
    assert (span.name, span.kind, span.status.status_code) == ("GET", SpanKind.CLIENT, StatusCode.UNSET)
    assert dict(span.attributes) == {
        **labels,
        **found,
        names.URL_FULL: f"{server.base}/ok?a=b&sig=REDACTED",
    }
    assert span.parent.span_id == outer.context.span_id
    assert server.sent == [traceparent(span)]
    (point,) = each.points(names.HTTP_CLIENT_REQUEST_DURATION.name)
    assert dict(point.attributes) == {**labels, **found}
    assert point.sum == pytest.approx((span.end_time - span.start_time) / 1e9)
    (size,) = each.points(names.HTTP_CLIENT_RESPONSE_BODY_SIZE.name)
    assert (size.sum, dict(size.attributes)) == (4, {**labels, **found})
    assert each.points(names.HTTP_CLIENT_REQUEST_BODY_SIZE.name) == []


@all_clients
@pytest.mark.parametrize("status", [404, 503])
def test_a_status_of_an_error(client: str, status: int, each: Telemetry, server: Local) -> None:
    assert CLIENTS[client](f"{server.base}/status/{status}") == status
    span = each.span
    assert (span.status.status_code, span.status.description) == (StatusCode.ERROR, None)
    assert span.attributes[names.ERROR_TYPE] == str(status)
    assert span.attributes[names.HTTP_RESPONSE_STATUS_CODE] == status
    assert span.events == ()
    (point,) = each.points(names.HTTP_CLIENT_REQUEST_DURATION.name)
    assert point.attributes[names.ERROR_TYPE] == str(status)


@all_clients
@pytest.mark.parametrize("where", ["nobody listens", "no such name"])
def test_what_the_library_raises(client: str, where: str, telemetry: Telemetry, nobody: str) -> None:
    url = nobody if where == "nobody listens" else "http://no-such-name.invalid"
    telemetry.uninstrument()
    with pytest.raises(Exception) as plain:  # noqa: PT011 - whatever it is
        CLIENTS[client](f"{url}/ok")
    telemetry.instrument()
    with pytest.raises(type(plain.value)) as caught:
        CLIENTS[client](f"{url}/ok")
    assert type(caught.value) is type(plain.value)
    span = telemetry.span
    kind = type(caught.value)
    assert span.status.status_code is StatusCode.ERROR
    assert span.attributes[names.ERROR_TYPE] == f"{kind.__module__}.{kind.__qualname__}"
    assert [event.attributes[names.EXCEPTION_MESSAGE] for event in span.events] == [str(caught.value)]
    (point,) = telemetry.points(names.HTTP_CLIENT_REQUEST_DURATION.name)
    assert point.attributes[names.ERROR_TYPE] == span.attributes[names.ERROR_TYPE]


def test_an_exception_tells_no_secret(telemetry: Telemetry, nobody: str) -> None:
    url = f"{nobody.replace('//', '//me:hunter2@')}/ok?sig=hunter2&a=b"
    with pytest.raises(requests.ConnectionError, match="hunter2"):
        CLIENTS["requests"](url)
    span = telemetry.span
    told = [
        span.status.description,
        *map(str, span.attributes.values()),
        *(str(value) for event in span.events for value in event.attributes.values()),
    ]
    assert "hunter2" not in " ".join(told)
    assert span.attributes[names.URL_FULL] == (
        f"{nobody.replace('//', '//REDACTED:REDACTED@')}/ok?sig=REDACTED&a=b"
    )
    assert "sig=REDACTED&a=b" in span.status.description


@all_clients
def test_a_time_out(client: str, telemetry: Telemetry, server: Local) -> None:
    if client == "urllib":
        with pytest.raises(TimeoutError):
            urllib.request.urlopen(f"{server.base}/hang", timeout=0.05)
    else:
        with pytest.raises(Exception, match=r"(?i)timed out|^$"):
            CLIENTS[client](f"{server.base}/hang", timeout=0.05)
    assert "Timeout" in telemetry.span.attributes[names.ERROR_TYPE]


def test_requests_on_urllib3_is_told_once(telemetry: Telemetry, server: Local) -> None:
    CLIENTS["requests"](f"{server.base}/ok")
    assert telemetry.span.instrumentation_scope.name == "spanwise.instrumentors.requests"


def test_a_body_that_breaks_off_is_seen_where_the_call_reads_it(telemetry: Telemetry, server: Local) -> None:
    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        CLIENTS["requests"](f"{server.base}/cut")
    with pytest.raises(urllib3.exceptions.ProtocolError):
        CLIENTS["urllib3"](f"{server.base}/cut")
    assert [span.attributes[names.ERROR_TYPE] for span in telemetry.spans] == [
        "requests.exceptions.ChunkedEncodingError",
        "urllib3.exceptions.ProtocolError",
    ]


def test_a_streamed_answer_s_span_ends_with_its_headers(telemetry: Telemetry, server: Local) -> None:
    with requests.get(f"{server.base}/chunks", stream=True) as one:
        assert len(telemetry.spans) == 1
        assert one.content == b"abc"
    two = urllib3.PoolManager().request("GET", f"{server.base}/chunks", preload_content=False)
    assert len(telemetry.spans) == 2
    assert two.read() == b"abc"
    with urllib.request.urlopen(f"{server.base}/chunks") as three:
        assert len(telemetry.spans) == 3
        assert three.read() == b"abc"
    with httpx.stream("GET", f"{server.base}/chunks") as four:
        assert len(telemetry.spans) == 4
        assert four.read() == b"abc"
    assert telemetry.points(names.HTTP_CLIENT_RESPONSE_BODY_SIZE.name) == []


def test_sizes_of_bodies(telemetry: Telemetry, server: Local) -> None:
    requests.post(f"{server.base}/ok", data=b"12345")
    urllib3.PoolManager().request("POST", f"{server.base}/ok", body=b"12345")
    urllib.request.urlopen(f"{server.base}/ok", b"12345").close()
    httpx.post(f"{server.base}/ok", content=b"12345")
    assert [p.sum for p in telemetry.points(names.HTTP_CLIENT_REQUEST_BODY_SIZE.name)] == [5] * 4
    assert [p.sum for p in telemetry.points(names.HTTP_CLIENT_RESPONSE_BODY_SIZE.name)] == [4] * 4


def test_a_head_s_answer_has_no_body(telemetry: Telemetry, server: Local) -> None:
    requests.head(f"{server.base}/ok")
    httpx.head(f"{server.base}/ok")
    urllib3.PoolManager().request("HEAD", f"{server.base}/ok")
    assert len(telemetry.spans) == 3
    assert telemetry.points(names.HTTP_CLIENT_RESPONSE_BODY_SIZE.name) == []


@pytest.mark.parametrize(
    ("url", "server"),
    [
        ("http://shop.example/ok", ("shop.example", 80)),
        ("https://shop.example", ("shop.example", 443)),
        ("http://shop.example:8080/ok", ("shop.example", 8080)),
        ("http://shop.example:8080", ("shop.example", 8080)),
        ("http://shop.example:80801", ("shop.example", 80801)),
        ("http://shop.example:8080?a=/b", ("shop.example", 8080)),
        ("http://shop.example#a/b", ("shop.example", 80)),
        ("http://me:hunter2@shop.example:8080/ok", ("shop.example", 8080)),
        ("HTTPS://Shop.Example/ok", ("shop.example", 443)),
        ("http://[::1]:8080/ok", ("::1", 8080)),
        ("http://bücher.example/ok", ("bücher.example", 80)),
        ("http://shop.example:none/ok", ("", 0)),
        ("http://[::1/ok", ("", 0)),
        ("http:///ok", ("", 80)),
        ("", ("", 0)),
    ],
)
def test_the_server_of_a_url(url: str, server: tuple[str, int]) -> None:
    for _ in range(2):
        labels, _attributes = _http_client._described("GET", url, "")
        found = (labels.get(names.SERVER_ADDRESS, ""), labels.get(names.SERVER_PORT, 0))
        assert found == server
    assert not [origin for origin in _http_client._servers if "hunter2" in origin or "?" in origin]


def test_a_crawler_s_servers_are_not_all_kept() -> None:
    for number in range(1000):
        _http_client._described("GET", f"http://shop{number}.example/ok", "")
    assert len(_http_client._servers) == _http_client._KEPT
    _http_client._servers.clear()


def test_an_unknown_method(telemetry: Telemetry, server: Local) -> None:
    httpx.request("BREW", f"{server.base}/ok")
    urllib3.PoolManager().urlopen("put", f"{server.base}/ok")
    brewed, put = telemetry.spans
    assert (brewed.name, brewed.attributes[names.HTTP_REQUEST_METHOD]) == ("HTTP", "_OTHER")
    assert brewed.attributes[names.HTTP_REQUEST_METHOD_ORIGINAL] == "BREW"
    assert (put.name, put.attributes[names.HTTP_REQUEST_METHOD]) == ("PUT", "PUT")
    assert put.attributes[names.HTTP_REQUEST_METHOD_ORIGINAL] == "put"


def test_a_traceparent_of_the_application_s_gives_way(telemetry: Telemetry, server: Local) -> None:
    theirs = {"Traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}
    for client in CLIENTS:
        CLIENTS[client](f"{server.base}/ok", headers=dict(theirs))
    assert server.sent == [traceparent(span) for span in telemetry.spans]
    assert len(server.sent) == len(CLIENTS)


def test_the_caller_s_headers_stay_as_they_are(telemetry: Telemetry, server: Local) -> None:
    pool = urllib3.PoolManager(headers={"X-Pool": "pool"})
    mine = {"X-Mine": "mine"}
    pool.request("GET", f"{server.base}/ok")
    pool.connection_from_url(server.base).urlopen("GET", "/ok", headers=mine)
    assert (pool.headers, mine) == ({"X-Pool": "pool"}, {"X-Mine": "mine"})
    assert [headers.get("x-pool") for _, _, headers in server.requests] == ["pool", None]
    direct = urllib3.HTTPConnectionPool("127.0.0.1", server.port, headers={"X-Pool": "pool"})
    direct.urlopen("GET", "/ok")
    assert server.requests[-1][2]["x-pool"] == "pool"
    request = urllib.request.Request(f"{server.base}/ok", headers=mine)
    urllib.request.urlopen(request).close()
    assert request.headers == {"X-mine": "mine"}
    assert len([sent for sent in server.sent if sent]) == len(telemetry.spans) == 4


@all_clients
@pytest.mark.parametrize("by", [suppressed, suppress_instrumentation, suppress_http_instrumentation])
def test_nothing_is_told_under_suppression(client: str, by: Any, telemetry: Telemetry, server: Local) -> None:
    with by():
        assert CLIENTS[client](f"{server.base}/ok") == 200
    assert (telemetry.spans, server.sent) == ([], [""])
    assert telemetry.points(names.HTTP_CLIENT_REQUEST_DURATION.name) == []


def test_contrib_s_instrumentor_around_ours_and_within(telemetry: Telemetry, server: Local) -> None:
    """Whoever is outermost observes: a library is never told of twice, whoever observes the other one."""
    other = Telemetry()
    ContribRequests().instrument(tracer_provider=other.provider, meter_provider=other.meters)
    try:
        CLIENTS["requests"](f"{server.base}/ok")
        assert (len(telemetry.spans), len(other.spans)) == (0, 1)
        telemetry.instrument("requests")
        CLIENTS["requests"](f"{server.base}/ok")
    finally:
        telemetry.uninstrument()
        ContribRequests().uninstrument()
    assert (len(telemetry.spans), len(other.spans)) == (1, 1)


@all_clients
@pytest.mark.parametrize("how", ["option", "library", "all"])
def test_excluded_urls(
    client: str, how: str, telemetry: Telemetry, server: Local, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = client.partition(",")[0]
    if how != "option":
        variable = f"OTEL_PYTHON_{library.upper()}_EXCLUDED_URLS" if how == "library" else None
        monkeypatch.setenv(variable or "OTEL_PYTHON_EXCLUDED_URLS", "health,stat.s/2")
    telemetry.instrument("urllib3")
    telemetry.instrument(library, **({"excluded_urls": "health,stat.s/2"} if how == "option" else {}))
    for path in ("health", "status/204", "ok"):
        CLIENTS[client](f"{server.base}/{path}")
    # Not by way of urllib3 either, where requests' are excluded.
    assert telemetry.span.attributes[names.URL_FULL] == f"{server.base}/ok"
    assert [bool(sent) for sent in server.sent] == [False, False, True]


def test_an_excluded_url_s_redirect_leads_back(telemetry: Telemetry, server: Local) -> None:
    """Each hop's own URL decides."""
    telemetry.instrument("requests", excluded_urls="redirect")
    telemetry.instrument("urllib", excluded_urls="redirect")
    requests.get(f"{server.base}/redirect/1")
    urllib.request.urlopen(f"{server.base}/redirect/1").close()
    assert [bool(sent) for sent in server.sent] == [False, True, False, True]
    assert [span.attributes[names.URL_FULL] for span in telemetry.spans] == [f"{server.base}/ok"] * 2


def test_within_an_excluded_request_the_current_span_is_the_one_around(
    telemetry: Telemetry, server: Local
) -> None:
    telemetry.instrument("requests", excluded_urls="ok")
    seen: list[object] = []
    with telemetry.tracer.start_as_current_span("application") as span:
        requests.get(
            f"{server.base}/ok", hooks={"response": lambda *_, **__: seen.append(get_current_span())}
        )
    assert seen == [span]


def test_captured_headers(telemetry: Telemetry, server: Local, monkeypatch: pytest.MonkeyPatch) -> None:
    prefix = "OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_"
    monkeypatch.setenv(f"{prefix}CLIENT_REQUEST", "x-.*")
    monkeypatch.setenv(f"{prefix}CLIENT_RESPONSE", "X-Told")
    monkeypatch.setenv(f"{prefix}SANITIZE_FIELDS", "x-secret")
    telemetry.instrument()
    for client in CLIENTS:
        CLIENTS[client](f"{server.base}/ok", headers={"X-Mine": "mine", "X-Secret": "hunter2"})
    assert len(telemetry.spans) == len(CLIENTS)
    for span in telemetry.spans:
        assert {k: v for k, v in span.attributes.items() if ".header." in k} == {
            "http.request.header.x_mine": ("mine",),
            "http.request.header.x_secret": ("[REDACTED]",),
            "http.response.header.x_told": ("told",),
        }


def test_a_hook_that_fails_costs_one_warning(
    telemetry: Telemetry, server: Local, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(*_: Any) -> None:
        raise RuntimeError("planted")

    async def fails_later(*_: Any) -> None:
        raise RuntimeError("planted")

    telemetry.instrument(request_hook=fails, response_hook=fails)
    telemetry.instrument(
        "httpx", request_hook=fails, async_request_hook=fails_later, async_response_hook=fails_later
    )
    for client in CLIENTS:
        assert CLIENTS[client](f"{server.base}/ok") == 200
    warned = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    assert [message.split()[0] for message in warned] == ["requests", "urllib3", "urllib", "httpx"]
    assert len(telemetry.spans) == len(CLIENTS)


def test_what_fails_within_costs_a_warning_and_no_answer(
    telemetry: Telemetry, server: Local, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: Any, **__: Any) -> Any:
        raise RuntimeError("planted")

    for place in ("_http_client._described", "_outgoing.get_global_textmap", "_http_exchange.Exchange._note"):
        telemetry.instrument()
        caplog.clear()
        with monkeypatch.context() as patched:
            patched.setattr(f"spanwise.instrumentors.{place}", fails)
            for client in CLIENTS:
                assert CLIENTS[client](f"{server.base}/ok") == 200
        assert len([r for r in caplog.records if r.levelno == logging.WARNING]) == len(INSTRUMENTORS)


def test_sessions_and_pools_made_before(server: Local) -> None:
    session, pool, client = requests.Session(), urllib3.PoolManager(), httpx.Client()
    opener = urllib.request.build_opener()
    pool.request("GET", f"{server.base}/ok")
    made = Telemetry()
    made.instrument()
    try:
        session.get(f"{server.base}/ok")
        pool.request("GET", f"{server.base}/ok")
        client.get(f"{server.base}/ok")
        opener.open(f"{server.base}/ok").close()
    finally:
        made.uninstrument()
    assert len(made.spans) == 4
    session.get(f"{server.base}/ok")
    client.close()
    assert len(made.spans) == 4


def test_nothing_is_kept_of_a_request(telemetry: Telemetry, server: Local) -> None:
    """Not even until the garbage collector runs: an exchange and its context make no cycle."""
    gc.collect()
    gc.disable()
    try:
        for client in CLIENTS:
            CLIENTS[client](f"{server.base}/redirect/1")
        kept = [each for each in gc.get_objects() if isinstance(each, Exchange)]
    finally:
        gc.enable()
    assert kept == []
    assert len(telemetry.spans) == len(CLIENTS) + 2  # requests and urllib follow


def test_what_outlives_a_request_in_its_context_is_observed(telemetry: Telemetry, server: Local) -> None:
    """A thread that a hook started goes on with a copy of the context."""
    copies: list[contextvars.Context] = []
    telemetry.instrument("requests", request_hook=lambda *_: copies.append(contextvars.copy_context()))
    response = requests.get(f"{server.base}/ok")
    kept = weakref.ref(response)
    del response
    gc.collect()
    assert kept() is None
    thread = threading.Thread(target=copies[0].run, args=(CLIENTS["urllib3"], f"{server.base}/ok"))
    thread.start()
    thread.join(60)
    assert len(telemetry.spans) == 2


def test_what_outlives_a_redirect_is_none_of_its_hops(telemetry: Telemetry, server: Local) -> None:
    copies: list[contextvars.Context] = []
    telemetry.instrument("requests", request_hook=lambda *_: copies.append(contextvars.copy_context()))
    requests.get(f"{server.base}/redirect/1")
    copies[0].run(requests.get, f"{server.base}/ok")
    counts = [span.attributes.get(names.HTTP_REQUEST_RESEND_COUNT) for span in telemetry.spans]
    assert counts == [None, 1, None]


def test_libraries_are_observed_from_their_import_on_and_not_imported() -> None:
    code = """
import sys
from spanwise.instrumentors.load import load
from spanwise.settings import Settings
names = ("requests", "urllib3", "urllib", "httpx")
load(Settings(enabled_instrumentations=names))
assert not {"requests", "urllib3", "urllib.request", "httpx"} & {*sys.modules}
import requests, httpx, urllib.request, urllib3
replaced = (
    requests.Session.send, urllib3.HTTPConnectionPool.urlopen, urllib.request.OpenerDirector.open,
    httpx.HTTPTransport.handle_request, httpx.AsyncHTTPTransport.handle_async_request,
)
for name, function in zip((*names, "httpx"), replaced):
    assert f"spanwise/instrumentors/{name}.py" in function.__code__.co_filename, function
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
