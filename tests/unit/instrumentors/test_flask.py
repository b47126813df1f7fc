"""Flask requests: one server span each, whatever the application does, and nothing of it harmed."""

from __future__ import annotations

import asyncio
import gc
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import flask
import pytest
from opentelemetry import propagate, trace
from opentelemetry.instrumentation import propagators
from opentelemetry.sdk.metrics import MeterProvider as SdkMeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider as SdkTracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON
from opentelemetry.trace import SpanKind, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from werkzeug.middleware.dispatcher import DispatcherMiddleware
from werkzeug.test import Client, EnvironBuilder
from werkzeug.wsgi import FileWrapper

from spanwise import names
from spanwise.context import REQUEST_KEY, get_context, suppressed
from spanwise.instrumentors._abandoned import end_abandoned
from spanwise.instrumentors._request import Request
from spanwise.instrumentors._serving import Serving
from spanwise.instrumentors.flask import FlaskInstrumentor
from spanwise.meters.provider import MeterProvider
from spanwise.spans.provider import TracerProvider

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


class Telemetry:
    """What a test's application sent, through the SDK's own providers or ours."""

    def __init__(self, whose: Any) -> None:
        self.exporter, self.reader = InMemorySpanExporter(), InMemoryMetricReader()
        self.provider = whose.TracerProvider(resource=Resource({}), shutdown_on_exit=False)
        self.provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.meters = whose.MeterProvider([self.reader], Resource({}), shutdown_on_exit=False)
        self.tracer = self.provider.get_tracer("test")

    def instrument(self, **options: Any) -> None:
        FlaskInstrumentor().uninstrument()
        FlaskInstrumentor().instrument(tracer_provider=self.provider, meter_provider=self.meters, **options)

    @property
    def spans(self) -> list[Any]:
        return list(self.exporter.get_finished_spans())

    @property
    def span(self) -> Any:
        (span,) = self.spans
        return span

    def points(self, name: str) -> list[Any]:
        data: Any = self.reader.get_metrics_data()
        return [
            point
            for scope in data.resource_metrics[0].scope_metrics
            for metric in scope.metrics
            if metric.name == name
            for point in metric.data.data_points
        ]


class Stock:
    TracerProvider, MeterProvider = SdkTracerProvider, SdkMeterProvider


class Ours:
    TracerProvider, MeterProvider = TracerProvider, MeterProvider


@pytest.fixture(params=[Stock, Ours])
def telemetry(request: pytest.FixtureRequest) -> Iterator[Telemetry]:
    made = Telemetry(request.param)
    made.instrument()
    yield made
    FlaskInstrumentor().uninstrument()


def application(telemetry: Telemetry) -> flask.Flask:
    """Routes of every kind."""
    app = flask.Flask("shop")
    app.secret_key = "x"

    @app.route("/item/<int:number>", methods=["GET", "POST"])
    def item(number: int) -> str:
        return "x" * number

    @app.get("/raises")
    def raises() -> str:
        raise ZeroDivisionError("planted")

    @app.get("/aborts/<int:status>")
    def aborts(status: int) -> str:
        flask.abort(status)

    @app.get("/streams")
    def streams() -> flask.Response:
        def parts() -> Iterator[str]:
            for number in range(3):
                with telemetry.tracer.start_as_current_span(f"part {number}"):
                    yield "x"

        return flask.Response(parts())

    @app.get("/breaks")
    def breaks() -> flask.Response:
        def parts() -> Iterator[str]:
            yield "x"
            raise OSError("in the middle")

        return flask.Response(parts())

    return app


@pytest.fixture
def client(telemetry: Telemetry) -> Any:
    return application(telemetry).test_client()


def test_a_request_is_one_span_with_what_the_conventions_ask(telemetry: Telemetry, client: Any) -> None:
    answer = client.get("/item/7?a=b&sig=secret", headers={"Host": "shop.example:8080", "User-Agent": "test"})
    assert answer.data == b"x" * 7
    span = telemetry.span
    assert (span.name, span.kind, span.status.status_code) == (
        "GET /item/<int:number>",
        SpanKind.SERVER,
        StatusCode.UNSET,
    )
    assert span.parent is None
    assert dict(span.attributes) == {
        names.HTTP_REQUEST_METHOD: "GET",
        names.URL_SCHEME: "http",
        names.URL_PATH: "/item/7",
        names.URL_QUERY: "a=b&sig=REDACTED",
        names.SERVER_ADDRESS: "shop.example",
        names.SERVER_PORT: 8080,
        names.CLIENT_ADDRESS: "127.0.0.1",
        names.NETWORK_PEER_ADDRESS: "127.0.0.1",
        names.USER_AGENT_ORIGINAL: "test",
        names.NETWORK_PROTOCOL_VERSION: "1.1",
        names.HTTP_RESPONSE_STATUS_CODE: 200,
        names.HTTP_ROUTE: "/item/<int:number>",
    }


def test_the_metrics_have_the_route_and_add_up(telemetry: Telemetry, client: Any) -> None:
    client.post("/item/7", data=b"12345")
    client.get("/item/9")
    client.get("/nowhere")
    durations = telemetry.points(names.HTTP_SERVER_REQUEST_DURATION.name)
    assert sorted((dict(point.attributes) for point in durations), key=str) == sorted(
        (
            {
                names.HTTP_REQUEST_METHOD: method,
                names.URL_SCHEME: "http",
                names.NETWORK_PROTOCOL_VERSION: "1.1",
                names.HTTP_RESPONSE_STATUS_CODE: status,
                **route,
            }
            for method, status, route in (
                ("POST", 200, {names.HTTP_ROUTE: "/item/<int:number>"}),
                ("GET", 200, {names.HTTP_ROUTE: "/item/<int:number>"}),
                ("GET", 404, {}),
            )
        ),
        key=str,
    )
    assert all(point.explicit_bounds[0] == 0.005 for point in durations)
    assert {point.value for point in telemetry.points(names.HTTP_SERVER_ACTIVE_REQUESTS.name)} == {0}
    (sent,) = telemetry.points(names.HTTP_SERVER_REQUEST_BODY_SIZE.name)
    assert sent.sum == 5
    assert sum(p.sum for p in telemetry.points(names.HTTP_SERVER_RESPONSE_BODY_SIZE.name)) > 16


@pytest.mark.parametrize(
    ("path", "name", "status", "error"),
    [
        ("/nowhere", "GET", 404, None),
        ("/aborts/404", "GET /aborts/<int:status>", 404, None),
        ("/aborts/503", "GET /aborts/<int:status>", 503, "503"),
        ("/raises", "GET /raises", 500, "ZeroDivisionError"),
    ],
)
def test_what_counts_as_an_error(
    path: str, name: str, status: int, error: str | None, telemetry: Telemetry, client: Any
) -> None:
    assert client.get(path).status_code == status
    span = telemetry.span
    assert span.name == name
    assert span.attributes[names.HTTP_RESPONSE_STATUS_CODE] == status
    assert span.attributes.get(names.ERROR_TYPE) == error
    assert span.status.status_code is (StatusCode.ERROR if error else StatusCode.UNSET)
    assert [event.name for event in span.events] == (["exception"] if status == 500 else [])
    (point,) = telemetry.points(names.HTTP_SERVER_REQUEST_DURATION.name)
    assert point.attributes.get(names.ERROR_TYPE) == error


def test_an_exception_that_leaves_the_application_is_on_the_span_and_goes_on(telemetry: Telemetry) -> None:
    app = application(telemetry)
    app.testing = True
    with pytest.raises(ZeroDivisionError, match="planted"):
        app.test_client().get("/raises")
    span = telemetry.span
    assert (span.name, span.attributes[names.ERROR_TYPE]) == ("GET /raises", "ZeroDivisionError")
    assert len(span.events) == 1
    assert not trace.get_current_span().get_span_context().is_valid


def test_an_exception_that_a_handler_answers_is_no_error(telemetry: Telemetry) -> None:
    app = application(telemetry)
    app.register_error_handler(ZeroDivisionError, lambda error: ("sorry", 400))
    assert app.test_client().get("/raises").status_code == 400
    assert telemetry.span.status.status_code is StatusCode.UNSET


def test_a_request_that_is_refused_before_its_route_has_a_span(telemetry: Telemetry) -> None:
    app = application(telemetry)
    app.before_request(lambda: ("no", 401))
    app.test_client().get("/item/1")
    assert telemetry.span.name == "GET /item/<int:number>"
    assert telemetry.span.attributes[names.HTTP_RESPONSE_STATUS_CODE] == 401


# -- bodies that are made while they are sent ------------------------------------------------------


def test_a_stream_ends_with_its_body_and_its_parts_are_within_it(telemetry: Telemetry, client: Any) -> None:
    answer = client.get("/streams", buffered=False)
    body = iter(answer.response)
    assert next(body)
    assert "GET /streams" not in [span.name for span in telemetry.spans]
    assert not trace.get_current_span().get_span_context().is_valid
    assert len([*body]) == 2
    *parts, served = telemetry.spans
    assert (served.name, served.attributes[names.HTTP_RESPONSE_STATUS_CODE]) == ("GET /streams", 200)
    assert {part.parent.span_id for part in parts} == {served.context.span_id}
    assert len(parts) == 3
    answer.close()
    assert len(telemetry.spans) == 4


class Shop(flask.Flask):
    """An application that has a part in every answer."""

    def process_response(self, *args: Any) -> Any:
        response = super().process_response(*args)
        response.headers["X-Shop"] = "1"
        return response


@pytest.mark.parametrize("kind", [flask.Flask, Shop])
def test_a_stream_of_known_length_is_one_too(kind: type[flask.Flask], telemetry: Telemetry) -> None:
    app = kind("shop")

    @app.get("/streams")
    def streams() -> flask.Response:
        def parts() -> Iterator[str]:
            with telemetry.tracer.start_as_current_span("part"):
                yield "xxx"
            raise OSError("at the end")

        return flask.Response(parts(), headers={"Content-Length": "3"})

    body = app(EnvironBuilder("/streams").get_environ(), lambda *_: None)
    with pytest.raises(OSError, match="at the end"):
        b"".join(body)
    part, request = telemetry.spans
    assert (part.name, part.parent.span_id) == ("part", request.context.span_id)
    assert request.attributes[names.ERROR_TYPE] == "OSError"


@pytest.mark.parametrize("fails", [False, True])
def test_a_stream_that_a_subclass_makes_of_an_answer_is_one_too(fails: bool, telemetry: Telemetry) -> None:
    def streaming(app: Any, *args: Any, **named: Any) -> Any:
        response = flask.Flask.process_response(app, *args, **named)

        def parts() -> Iterator[bytes]:
            with telemetry.tracer.start_as_current_span("part"):
                yield b"xxx"

        response.response, response.headers["Content-Length"] = parts(), "3"
        return response

    app = type("Shop", (flask.Flask,), {"process_response": streaming})("shop")

    @app.get("/item")  # type: ignore[untyped-decorator]
    def item() -> str:
        if fails:
            raise ZeroDivisionError("planted")
        return "item"

    body = app(EnvironBuilder("/item").get_environ(), lambda *_: None)
    assert telemetry.spans == []
    assert b"".join(body) == b"xxx"
    body.close()
    part, request = telemetry.spans
    assert (part.name, request.name) == ("part", "GET /item")
    assert part.parent.span_id == request.context.span_id
    assert request.attributes.get(names.ERROR_TYPE) == ("ZeroDivisionError" if fails else None)


def test_an_answer_that_cannot_be_looked_at_is_sent(
    telemetry: Telemetry, caplog: pytest.LogCaptureFixture
) -> None:
    class Odd(flask.Response):
        @property
        def response(self) -> Any:
            raise RuntimeError("planted")

        @response.setter
        def response(self, value: Any) -> None:
            pass

        def __call__(self, environ: Any, start_response: Any) -> Any:
            start_response("200 OK", [("Content-Length", "3")])
            return [b"odd"]

    app = flask.Flask("shop")
    app.add_url_rule("/odd", view_func=Odd)
    for _ in range(3):
        assert app(EnvironBuilder("/odd").get_environ(), lambda *_: None) == [b"odd"]
    spans = telemetry.spans
    assert [span.attributes[names.HTTP_RESPONSE_STATUS_CODE] for span in spans] == [200] * 3
    (warning,) = [each.getMessage() for each in caplog.records if each.levelname == "WARNING"]
    assert "flask instrumentation could not look at a response (RuntimeError: planted)" in warning


def test_a_file_is_left_to_the_server(telemetry: Telemetry, tmp_path: Path) -> None:
    """Which may send it without reading it."""
    (tmp_path / "film").write_bytes(b"x" * 10)
    app = flask.Flask("shop")
    app.add_url_rule("/film", view_func=lambda: flask.send_file(tmp_path / "film"))
    environ = EnvironBuilder("/film").get_environ()

    class OfTheServer(FileWrapper):
        pass

    environ["wsgi.file_wrapper"] = OfTheServer
    body = app(environ, lambda *_: None)
    assert isinstance(body, OfTheServer)
    body.close()
    assert telemetry.span.name == "GET /film"


def test_a_stream_whose_client_leaves_ends_when_it_is_closed(telemetry: Telemetry, client: Any) -> None:
    answer = client.get("/streams", buffered=False)
    next(iter(answer.response))
    answer.close()
    assert "GET /streams" in [span.name for span in telemetry.spans]


def test_a_stream_that_breaks_is_an_error(telemetry: Telemetry, client: Any) -> None:
    answer = client.get("/breaks", buffered=False)
    with pytest.raises(OSError, match="in the middle"):
        list(answer.response)
    assert telemetry.span.attributes[names.ERROR_TYPE] == "OSError"


def test_what_has_a_length_or_no_body_is_handed_on_as_it_is(telemetry: Telemetry) -> None:
    """A server may have a quicker way for bodies of its own kinds, such as files."""
    app = application(telemetry)
    bare: Any = flask.Flask.__call__.__wrapped__
    for method, path in (("GET", "/item/3"), ("HEAD", "/streams")):
        environ = EnvironBuilder(path=path, method=method).get_environ()
        observed = app(dict(environ), lambda *_: None)
        assert type(observed) is type(bare(app, dict(environ), lambda *_: None))


# -- which applications, which requests ------------------------------------------------------------


def test_applications_made_before_are_traced_and_no_longer_when_it_is_off(telemetry: Telemetry) -> None:
    FlaskInstrumentor().uninstrument()
    app = application(telemetry)
    app.test_client().get("/item/1")
    assert telemetry.spans == []
    telemetry.instrument()
    app.test_client().get("/item/1")
    assert len(telemetry.spans) == 1
    FlaskInstrumentor().uninstrument()
    app.test_client().get("/item/1")
    assert len(telemetry.spans) == 1
    assert not hasattr(flask.Flask.__call__, "__wrapped__")


def test_an_application_within_another_is_a_part_of_its_request(telemetry: Telemetry) -> None:
    outer, inner = application(telemetry), application(telemetry)
    outer.wsgi_app = DispatcherMiddleware(outer.wsgi_app, {"/inner": inner})  # type: ignore[method-assign]
    Client(outer).get("/inner/item/2")
    within, request = telemetry.spans
    assert (within.kind, request.kind) == (SpanKind.INTERNAL, SpanKind.SERVER)
    assert within.parent.span_id == request.context.span_id
    for metric in (names.HTTP_SERVER_REQUEST_DURATION, names.HTTP_SERVER_RESPONSE_BODY_SIZE):
        assert [point.count for point in telemetry.points(metric.name)] == [1], "one request, counted once"
    assert [point.value for point in telemetry.points(names.HTTP_SERVER_ACTIVE_REQUESTS.name)] == [0]


@pytest.mark.parametrize("kind", [Stock, Ours])
def test_only_a_sampled_request_is_there_to_be_flagged(kind: type) -> None:
    """Counting what runs in it is of no use where nobody can be told."""
    found: dict[bool, Any] = {}
    app = flask.Flask("shop")
    app.add_url_rule("/", view_func=lambda: str(found.setdefault(sampled, get_context().get(REQUEST_KEY))))
    try:
        for sampled in (False, True):
            made = Telemetry(kind)
            made.provider.sampler = ALWAYS_ON if sampled else ALWAYS_OFF
            made.instrument()
            assert app.test_client().get("/").status_code == 200
            assert len(made.spans) == sampled
    finally:
        FlaskInstrumentor().uninstrument()
    assert found[False] is None
    assert isinstance(found[True], Request)


def test_the_caller_s_trace_goes_on(telemetry: Telemetry, client: Any) -> None:
    client.get("/item/1", headers={"traceparent": PARENT})
    assert format(telemetry.span.context.trace_id, "032x") == PARENT.split("-")[1]
    assert telemetry.span.parent.is_remote


def test_what_a_session_reads_is_in_the_request_s_trace(telemetry: Telemetry) -> None:
    class Sessions(flask.sessions.SecureCookieSessionInterface):
        def open_session(self, app: Any, request: Any) -> Any:
            with telemetry.tracer.start_as_current_span("GET session"):
                return super().open_session(app, request)

    app = application(telemetry)
    app.session_interface = Sessions()
    app.test_client().get("/item/1")
    read, request = telemetry.spans
    assert read.parent.span_id == request.context.span_id


def test_one_that_contrib_instruments_is_left_to_it(telemetry: Telemetry) -> None:
    app = application(telemetry)
    app._is_instrumented_by_opentelemetry = True  # type: ignore[attr-defined]
    app.test_client().get("/item/1")
    assert telemetry.spans == []


def test_within_suppression_nothing_is_observed(telemetry: Telemetry, client: Any) -> None:
    with suppressed():
        client.get("/item/1")
    assert telemetry.spans == []


@pytest.mark.parametrize("variable", [None, "OTEL_PYTHON_FLASK_EXCLUDED_URLS", "OTEL_PYTHON_EXCLUDED_URLS"])
def test_excluded_urls(
    variable: str | None, telemetry: Telemetry, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    if variable is not None:
        monkeypatch.setenv(variable, "health,item/[1-3]")
    telemetry.instrument(**({} if variable else {"excluded_urls": "health,item/[1-3]"}))
    client.get("/item/2")
    client.get("/item/4")
    assert telemetry.span.attributes[names.URL_PATH] == "/item/4"


def test_an_unknown_method_is_one_for_all(telemetry: Telemetry, client: Any) -> None:
    client.open("/item/1", method="BREW")
    assert telemetry.span.name == "HTTP"
    assert telemetry.span.attributes[names.HTTP_REQUEST_METHOD] == "_OTHER"
    assert telemetry.span.attributes[names.HTTP_REQUEST_METHOD_ORIGINAL] == "BREW"


# -- headers, hooks ---------------------------------------------------------------------------------


def test_headers_are_captured_where_the_variables_name_them(
    telemetry: Telemetry, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    prefix = "OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_"
    monkeypatch.setenv(prefix + "SERVER_REQUEST", "X-Tenant,X-Secret.*")
    monkeypatch.setenv(prefix + "SERVER_RESPONSE", "content-type")
    monkeypatch.setenv(prefix + "SANITIZE_FIELDS", "X-Secret.*")
    telemetry.instrument()
    client.get("/item/1", headers={"X-Tenant": "a", "X-Secret-Key": "s3cret", "X-Other": "o"})
    found = {key: value for key, value in telemetry.span.attributes.items() if ".header." in key}
    assert found == {
        "http.request.header.x_tenant": ("a",),
        "http.request.header.x_secret_key": ("[REDACTED]",),
        "http.response.header.content_type": ("text/html; charset=utf-8",),
    }


def test_hooks_get_the_span_and_cannot_harm(telemetry: Telemetry, client: Any) -> None:
    def request_hook(span: Any, environ: Any) -> None:
        span.set_attribute("tenant", environ["HTTP_X_TENANT"])

    def response_hook(span: Any, status: str, headers: Any) -> None:
        span.set_attribute("answer", f"{status} {dict(headers)['Content-Type']}")

    telemetry.instrument(request_hook=request_hook, response_hook=response_hook)
    assert client.get("/item/1", headers={"X-Tenant": "a"}).status_code == 200
    assert telemetry.span.attributes["tenant"] == "a"
    assert telemetry.span.attributes["answer"] == "200 OK text/html; charset=utf-8"
    assert client.get("/item/1").status_code == 200, "the request hook raises KeyError"
    assert len(telemetry.spans) == 2
    assert {point.value for point in telemetry.points(names.HTTP_SERVER_ACTIVE_REQUESTS.name)} == {0}


@pytest.mark.parametrize("path", ["/item/3", "/raises"])
@pytest.mark.parametrize("metric", [names.HTTP_SERVER_REQUEST_DURATION, names.HTTP_SERVER_RESPONSE_BODY_SIZE])
def test_an_exemplar_leads_to_the_request(telemetry: Telemetry, path: str, metric: Any) -> None:
    application(telemetry).test_client().get(path, headers={"traceparent": PARENT})
    of = telemetry.span.get_span_context()
    assert f"{of.trace_id:032x}" in PARENT
    (point,) = telemetry.points(metric.name)
    assert [(each.trace_id, each.span_id) for each in point.exemplars] == [(of.trace_id, of.span_id)]


def test_those_under_way_have_no_exemplars(telemetry: Telemetry) -> None:
    application(telemetry).test_client().get("/item/3", headers={"traceparent": PARENT})
    (point,) = telemetry.points(names.HTTP_SERVER_ACTIVE_REQUESTS.name)
    assert (point.value, list(point.exemplars)) == (0, [])


def test_memory_is_measured_where_it_is_asked_for(telemetry: Telemetry, client: Any) -> None:
    name = names.HTTP_SERVER_REQUEST_MEMORY.name
    client.get("/item/1")
    assert telemetry.points(name) == []
    telemetry.instrument(request_memory=True)
    kept: list[bytes] = []
    app = application(telemetry)
    app.add_url_rule("/grows", view_func=lambda: str(kept.append(b"x" * 40_000_000)))
    # Beyond 32 MiB malloc always asks the system; less may come from what the process had and did not use.
    assert app.test_client().get("/grows").status_code == 200
    assert telemetry.spans[-1].attributes[name] >= 39_000_000
    (point,) = telemetry.points(name)
    assert point.sum >= 19_000_000
    assert point.attributes[names.HTTP_ROUTE] == "/grows"


def test_an_asgi_wrapper_s_requests_are_each_one_span(telemetry: Telemetry) -> None:
    from asgiref.wsgi import WsgiToAsgi

    sent: list[Any] = []

    async def call() -> None:
        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message: dict[str, Any]) -> None:
            sent.append(message)

        scope = {"type": "http", "method": "GET", "path": "/item/2", "query_string": b"", "headers": []}
        scope |= {"server": ("shop.example", 80), "http_version": "1.1"}
        await WsgiToAsgi(application(telemetry))(scope, receive, send)  # type: ignore[no-untyped-call]

    asyncio.run(call())
    assert b"".join(message.get("body", b"") for message in sent) == b"xx"
    assert telemetry.span.name == "GET /item/<int:number>"


def test_several_applications_and_blueprints_each_have_their_routes(telemetry: Telemetry) -> None:
    for name in "ab":
        app, blueprint = flask.Flask(name), flask.Blueprint(name, name, url_prefix=f"/{name}")
        blueprint.add_url_rule("/<what>", view_func=lambda what: str(what))
        app.register_blueprint(blueprint)
        app.test_client().get(f"/{name}/1")
    assert [span.name for span in telemetry.spans] == ["GET /a/<what>", "GET /b/<what>"]


def test_the_trace_is_told_in_the_answer_where_a_propagator_is_set(telemetry: Telemetry, client: Any) -> None:
    propagators.set_global_response_propagator(propagators.TraceResponsePropagator())  # type: ignore[no-untyped-call]
    try:
        answer = client.get("/item/1")
    finally:
        propagators.set_global_response_propagator(None)  # type: ignore[no-untyped-call]
    assert format(telemetry.span.context.trace_id, "032x") in answer.headers["traceresponse"]


def test_a_broken_tracer_costs_the_telemetry_alone(
    client: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: Any, **__: Any) -> Any:
        raise RuntimeError("planted")

    observation: Any = FlaskInstrumentor()._observing.begin()
    monkeypatch.setattr(observation.calls.tracer, "start_span", broken)
    for _ in range(2):
        assert client.get("/item/1").status_code == 200
    assert len([record for record in caplog.records if "flask instrumentation" in record.message]) == 1


@pytest.mark.parametrize("length", ["12x", "", "-1", "9" * 30, "\u0663"])
def test_a_content_length_that_is_none_is_not_measured_and_nothing_else(
    telemetry: Telemetry, caplog: pytest.LogCaptureFixture, length: str
) -> None:
    """Any client can send one: it must not use up the one warning, nor keep the hook from its call."""
    hooked: list[str] = []
    FlaskInstrumentor().uninstrument()
    telemetry.instrument(response_hook=lambda _span, status, _headers: hooked.append(status))
    app = application(telemetry)

    def answer(_environ: Any, start_response: Any) -> Any:
        start_response("200 OK", [("Content-Length", length)])
        return [b"x"]

    app.wsgi_app = answer  # type: ignore[method-assign]
    environ = {**EnvironBuilder("/item/2").get_environ(), "CONTENT_LENGTH": length}
    body: Any = app(environ, lambda *_: None)
    assert list(body) == [b"x"]
    body.close()
    assert telemetry.span.attributes[names.HTTP_RESPONSE_STATUS_CODE] == 200
    assert telemetry.points(names.HTTP_SERVER_REQUEST_BODY_SIZE.name) == []
    assert telemetry.points(names.HTTP_SERVER_RESPONSE_BODY_SIZE.name) == []
    assert hooked == ["200 OK"]
    assert caplog.records == []


def test_a_second_answer_with_exc_info_is_the_one_that_counts(telemetry: Telemetry) -> None:
    app = application(telemetry)

    def twice(_environ: Any, start_response: Any) -> Any:
        start_response("200 OK", [("Content-Length", "2")])
        try:
            raise ValueError("found out late")
        except ValueError:
            start_response("503 Late", [("Content-Length", "3")], sys.exc_info())
        return [b"xxx"]

    app.wsgi_app = twice  # type: ignore[method-assign]
    answers: list[tuple[Any, ...]] = []
    body = app(EnvironBuilder("/item/2").get_environ(), lambda *answer: answers.append(answer))
    assert list(body) == [b"xxx"]
    assert [len(answer) for answer in answers] == [2, 3]
    assert answers[1][2][0] is ValueError
    assert telemetry.span.attributes[names.HTTP_RESPONSE_STATUS_CODE] == 503
    assert telemetry.span.attributes[names.ERROR_TYPE] == "503"
    (point,) = telemetry.points(names.HTTP_SERVER_RESPONSE_BODY_SIZE.name)
    assert point.sum == 3


def test_a_span_that_a_generator_holds_open_is_the_parent_of_what_its_later_parts_do(
    telemetry: Telemetry,
) -> None:
    app = flask.Flask("shop")

    @app.get("/streams")
    def streams() -> flask.Response:
        def parts() -> Iterator[str]:
            with telemetry.tracer.start_as_current_span("stream"):
                for number in range(3):
                    with telemetry.tracer.start_as_current_span(f"part {number}"):
                        pass
                    yield "x"

        return flask.Response(parts())

    assert app.test_client().get("/streams").data == b"xxx"
    of = {span.name: span for span in telemetry.spans}
    assert {of[f"part {number}"].parent.span_id for number in range(3)} == {of["stream"].context.span_id}
    assert of["stream"].parent.span_id == of["GET /streams"].context.span_id


def test_a_body_that_the_server_drops_leaves_nothing_behind(telemetry: Telemetry) -> None:
    app = flask.Flask("shop")

    @app.get("/streams")
    def streams() -> flask.Response:
        def parts() -> Iterator[str]:
            with telemetry.tracer.start_as_current_span("stream"):
                yield from "xxx"

        return flask.Response(parts())

    body = app(EnvironBuilder("/streams").get_environ(), lambda *_: None)
    assert next(iter(body)) == b"x"
    del body
    gc.collect()
    assert trace.get_current_span() is trace.INVALID_SPAN
    end_abandoned()
    assert {span.name for span in telemetry.spans} == {"stream", "GET /streams"}
    (active,) = telemetry.points(names.HTTP_SERVER_ACTIVE_REQUESTS.name)
    assert active.value == 0


def test_a_request_leaves_nothing_to_the_garbage_collector(telemetry: Telemetry) -> None:
    app = application(telemetry)
    environ = EnvironBuilder("/item/1").get_environ()
    gc.collect()
    gc.disable()
    try:
        b"".join(app(environ, lambda *_: None))
        left = [each for each in gc.get_objects() if isinstance(each, Serving)]
    finally:
        gc.enable()
    assert left == []
    assert Serving.of(environ) is None


def test_the_route_is_found_behind_a_middleware_that_copies_the_environment(telemetry: Telemetry) -> None:
    app = application(telemetry)
    original = app.wsgi_app
    app.wsgi_app = lambda environ, start: original({**environ}, start)  # type: ignore[method-assign]
    app.test_client().get("/item/1")
    app.test_client().get("/raises")
    assert [span.name for span in telemetry.spans] == ["GET /item/<int:number>", "GET /raises"]
    assert telemetry.spans[1].attributes[names.ERROR_TYPE] == "ZeroDivisionError"


def test_a_propagator_that_the_application_sets_is_used_from_then_on(
    telemetry: Telemetry, client: Any
) -> None:
    class Own(TraceContextTextMapPropagator):
        fields = {"x-own"}  # noqa: RUF012

        def extract(self, carrier: Any, context: Any = None, getter: Any = None) -> Any:
            (value,) = getter.get(carrier, "x-own")
            return super().extract({"traceparent": value}, context)

    before = propagate.get_global_textmap()
    client.get("/item/1", headers={"X-Own": PARENT})
    propagate.set_global_textmap(Own())
    try:
        client.get("/item/1", headers={"X-Own": PARENT})
    finally:
        propagate.set_global_textmap(before)
    client.get("/item/1", headers={"X-Own": PARENT})
    assert [span.parent is None for span in telemetry.spans] == [True, False, True]


def test_the_sizes_of_what_failed_say_so(telemetry: Telemetry, client: Any) -> None:
    client.post("/item/1", data=b"12345")
    client.get("/aborts/503")
    points = telemetry.points(names.HTTP_SERVER_RESPONSE_BODY_SIZE.name)
    assert {point.attributes.get(names.ERROR_TYPE) for point in points} == {None, "503"}
