"""The health over HTTP: WSGI, Flask, and what a flood or a fault does to it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any
from wsgiref.util import setup_testing_defaults
from wsgiref.validate import validator

import flask
import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import spanwise
from spanwise import context, snapshot
from spanwise.instrumentors.flask import FlaskInstrumentor
from spanwise.probes.condition import Health, Issue
from spanwise.probes.endpoint import HealthEndpoint

BAD = Health("critical", (Issue("memory", "critical", "m", 9.0, 5.0, "By", 3.0),), "shop", 7.0)


@pytest.fixture
def health(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What is answered next, the first of the list each time; how often it was asked is its length."""
    told: list[Any] = [BAD]

    def answer() -> Health:
        told.append(told[0])
        if isinstance(told[0], Exception):
            raise told[0]
        return told[0]  # type: ignore[no-any-return]

    monkeypatch.setattr(snapshot, "health", answer)
    return told


@pytest.fixture(autouse=True)
def observed_again() -> Iterator[None]:
    yield
    context.UNOBSERVED_PATHS.clear()


def call(app: Any, method: str = "GET", path: str = "/health") -> tuple[str, dict[str, str], bytes]:
    environ: dict[str, Any] = {
        "REQUEST_METHOD": method,
        "PATH_INFO": path,
        "SCRIPT_NAME": "",
        "QUERY_STRING": "",
    }
    setup_testing_defaults(environ)
    seen: list[Any] = []

    def start_response(status: str, headers: list[tuple[str, str]], *_: Any) -> Any:
        seen[:] = [status, dict(headers)]
        return lambda data: None

    body = validator(app)(environ, start_response)
    text = b"".join(body)
    body.close()
    return seen[0], seen[1], text


@pytest.mark.parametrize(
    ("status", "code"),
    [("healthy", "200 OK"), ("warning", "200 OK"), ("unknown", "200 OK"), ("critical", "503 ")],
)
def test_as_a_wsgi_application(health: list[Any], status: str, code: str) -> None:
    health[0] = Health(status, BAD.issues, "shop", 7.0)
    said, headers, body = call(HealthEndpoint())
    assert said.startswith(code)
    assert headers["Content-Type"] == "application/json"
    assert headers["Cache-Control"] == "no-store"
    found = json.loads(body)
    assert set(found) == {"status", "issues", "service", "time", "reason"}
    assert (found["status"], found["issues"][0]["name"]) == (status, "memory")


@pytest.mark.usefixtures("health")
def test_head_has_the_headers_and_no_body() -> None:
    endpoint = HealthEndpoint()
    _, headers, body = call(endpoint, "HEAD")
    assert body == b""
    assert headers["Content-Length"] == str(len(call(endpoint)[2]))


@pytest.mark.usefixtures("health")
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
def test_other_methods_are_refused(method: str) -> None:
    status, headers, _ = call(HealthEndpoint(), method)
    assert status == "405 Method Not Allowed"
    assert headers["Allow"] == "GET, HEAD"


@pytest.mark.usefixtures("health")
def test_another_status_for_critical() -> None:
    assert call(HealthEndpoint().answering(critical=200))[0] == "200 OK"
    assert call(HealthEndpoint().answering(critical=429))[0].startswith("429 ")
    for wrong in (99, 600, "503"):
        with pytest.raises(ValueError, match="give an HTTP status"):
            HealthEndpoint().answering(critical=wrong)  # type: ignore[arg-type]


def test_a_flood_asks_once_a_second(health: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    endpoint = HealthEndpoint()
    for _ in range(500):
        endpoint()
    assert len(health) == 2
    now[0] += 1.0
    health[0] = Health("healthy")
    assert endpoint()[1] == 200
    assert len(health) == 3


def test_a_forked_child_does_not_answer_with_its_parent_s_health(
    health: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.monotonic", lambda: 100.0)
    endpoint = HealthEndpoint()
    assert endpoint()[1] == 503
    health[0] = Health("unknown")
    assert endpoint()[1] == 503
    read, write = os.pipe()
    child = os.fork()
    if not child:
        try:
            os.write(write, str(endpoint()[1]).encode())
        finally:
            os._exit(0)
    os.close(write)
    os.waitpid(child, 0)
    with open(read, "rb") as answer:
        assert answer.read() == b"200"


def test_a_fault_is_unknown_and_no_error(health: list[Any]) -> None:
    health[0] = RuntimeError("secret")
    status, _, body = call(HealthEndpoint())
    assert (status, json.loads(body)["status"]) == ("200 OK", "unknown")
    assert b"secret" not in body


@pytest.mark.usefixtures("health")
def test_in_flask() -> None:
    app = flask.Flask("shop")
    app.register_blueprint(spanwise.health_endpoint)
    app.register_blueprint(HealthEndpoint(), url_prefix="/internal/", name="inner")
    app.add_url_rule("/up", "up", view_func=HealthEndpoint(200))
    client = app.test_client()
    for path, status in (("/health", 503), ("/internal/health", 503), ("/up", 200)):
        answer = client.get(path)
        assert (answer.status_code, answer.mimetype) == (status, "application/json")
        assert answer.get_json()["issues"][0]["name"] == "memory"
    assert client.head("/health").data == b""
    assert client.post("/health").status_code == 405


@pytest.mark.usefixtures("health")
def test_before_an_application() -> None:
    def application(_environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("204 No Content", [])
        return []

    app = HealthEndpoint().before(application, "/up")
    assert call(app, path="/up")[0].startswith("503")
    assert call(app, path="/upper")[0] == "204 No Content"


@pytest.mark.usefixtures("health")
def test_probes_make_no_spans() -> None:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    instrumentor = FlaskInstrumentor()
    instrumentor.instrument(tracer_provider=provider)
    try:
        app = flask.Flask("shop")
        app.register_blueprint(HealthEndpoint())
        app.wsgi_app = HealthEndpoint().before(app.wsgi_app, "/live")  # type: ignore[assignment,method-assign]
        app.add_url_rule("/up", "up", view_func=HealthEndpoint())
        for path in ("/health", "/live", "/up"):
            assert app.test_client().get(path).status_code == 503
    finally:
        instrumentor.uninstrument()
    # A view at a path of the application's own choosing is a request as any other.
    assert [span.name for span in exporter.get_finished_spans()] == ["GET /up"]


def test_the_face_imports_nothing_for_it() -> None:
    program = "import sys, spanwise; spanwise.health_endpoint; print(sorted(sys.modules))"
    loaded = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    ).stdout
    for name in ("json", "opentelemetry", "spanwise.context", "spanwise.probes.condition"):
        assert f"'{name}'" not in loaded
