"""A failure goes up through a request's spans: what one redacts, no other tells, nor a log record."""

from __future__ import annotations

import logging
import socket
from collections.abc import Iterator
from typing import Any

import flask
import pytest
import requests
import sqlalchemy as sa
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor
from opentelemetry.sdk.trace import TracerProvider as SdkTracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode
from sqlalchemy.pool import StaticPool

from spanwise import names
from spanwise.instrumentors._calls import Calls
from spanwise.instrumentors.flask import FlaskInstrumentor
from spanwise.instrumentors.logging import LoggingInstrumentor
from spanwise.instrumentors.requests import RequestsInstrumentor
from spanwise.instrumentors.sqlalchemy import SQLAlchemyInstrumentor
from spanwise.spans.provider import TracerProvider

SECRET = "4111111111111111"


class Seen:
    """What a process told, all of it as text."""

    def __init__(self, provider: Any) -> None:
        self.exporter, self.records = InMemorySpanExporter(), InMemoryLogRecordExporter()
        self.provider = provider
        self.provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.tracer = self.provider.get_tracer("test")

    def spans(self) -> dict[str, Any]:
        return {span.name: span for span in self.exporter.get_finished_spans()}

    def told(self) -> str:
        return " ".join(
            (
                *(each.to_json() for each in self.exporter.get_finished_spans()),
                *(str(each.log_record) for each in self.records.get_finished_logs()),
            )
        )


@pytest.fixture(params=[TracerProvider, SdkTracerProvider], ids=["ours", "sdk"])
def seen(request: pytest.FixtureRequest) -> Iterator[Seen]:
    made = Seen(request.param(shutdown_on_exit=False))
    logs = LoggerProvider(shutdown_on_exit=False)
    logs.add_log_record_processor(SimpleLogRecordProcessor(made.records))
    instrumentors = (FlaskInstrumentor(), SQLAlchemyInstrumentor(), RequestsInstrumentor())
    for each in instrumentors:
        each.instrument(tracer_provider=made.provider)
    LoggingInstrumentor().instrument(logger_provider=logs)
    yield made
    LoggingInstrumentor().uninstrument()
    for each in instrumentors:
        each.uninstrument()


@pytest.fixture
def client() -> Iterator[Any]:
    """An application whose views fail: by a constraint, by a server that is not there, by itself."""
    engine = sa.create_engine("sqlite://", poolclass=StaticPool)
    with engine.begin() as connection:
        connection.exec_driver_sql("create table users (email text unique, card text)")
        connection.exec_driver_sql("insert into users values ('a@x.org', '1')")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        nobody = f"http://127.0.0.1:{free.getsockname()[1]}"
        app = flask.Flask(__name__)

        @app.get("/db")
        def db() -> str:
            with engine.begin() as connection:
                values = {"e": "a@x.org", "c": SECRET}
                connection.execute(sa.text("insert into users values (:e, :c)"), values)
            return ""

        @app.get("/http")
        def http() -> str:
            with requests.Session() as session:
                session.trust_env = False
                return session.get(f"{nobody}/ok?token={SECRET}").text

        @app.get("/own")
        def own() -> str:
            raise ValueError(f"no such card: '{SECRET}'")

        yield app.test_client()
    engine.dispose()


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("/db", "(sqlite3.IntegrityError) UNIQUE constraint failed: users.email"),
        ("/http", "Max retries exceeded with url: /ok?token=REDACTED"),
    ],
)
def test_a_server_span_tells_no_more_than_the_client_span(
    seen: Seen, client: Any, path: str, message: str
) -> None:
    assert client.get(path).status_code == 500
    span = seen.spans()[f"GET {path}"]
    assert span.status.status_code is StatusCode.ERROR
    assert message in span.status.description
    (event,) = span.events
    assert event.attributes[names.EXCEPTION_MESSAGE] == span.status.description
    # The frames are told all the same: they say where it happened.
    assert f"in {path[1:]}\n" in event.attributes[names.EXCEPTION_STACKTRACE]
    assert span.status.description in event.attributes[names.EXCEPTION_STACKTRACE]
    (record,) = (each.log_record for each in seen.records.get_finished_logs())
    assert message in record.attributes[names.EXCEPTION_MESSAGE]
    assert f"in {path[1:]}\n" in record.attributes[names.EXCEPTION_STACKTRACE]
    assert SECRET not in seen.told()


def test_an_application_s_own_exception_is_told_in_full(seen: Seen, client: Any) -> None:
    client.get("/own")
    message = f"no such card: '{SECRET}'"
    span = seen.spans()["GET /own"]
    assert span.status.description == message
    assert span.events[0].attributes[names.EXCEPTION_MESSAGE] == message
    assert f"ValueError: {message}" in span.events[0].attributes[names.EXCEPTION_STACKTRACE]
    (record,) = (each.log_record for each in seen.records.get_finished_logs())
    assert record.attributes[names.EXCEPTION_MESSAGE] == message


def test_an_operation_tells_no_more_either(seen: Seen) -> None:
    engine = sa.create_engine("sqlite://")
    calls = Calls("operations", seen.tracer)
    with (
        pytest.raises(sa.exc.OperationalError, match=SECRET),
        calls.start("checkout"),
        engine.begin() as conn,
    ):
        conn.execute(sa.text("insert into nope values (:c)"), {"c": SECRET})
    assert seen.spans()["checkout"].status.description == "(sqlite3.OperationalError) no such table: nope"
    assert SECRET not in seen.told()


def test_nor_does_a_span_of_the_application() -> None:
    seen = Seen(TracerProvider(shutdown_on_exit=False))
    engine = sa.create_engine("sqlite://")
    for start in (
        lambda: seen.tracer.start_as_current_span("block"),
        lambda: seen.tracer.start_span("with"),
    ):
        with pytest.raises(sa.exc.OperationalError, match=SECRET), start(), engine.begin() as conn:
            conn.execute(sa.text("insert into nope values (:c)"), {"c": SECRET})
    for span in seen.spans().values():
        assert span.status.description == ("OperationalError: (sqlite3.OperationalError) no such table: nope")
        assert span.events[0].attributes[names.EXCEPTION_MESSAGE].endswith("no such table: nope")
    assert len(seen.spans()) == 2
    assert SECRET not in seen.told()


@pytest.mark.usefixtures("seen")
def test_the_application_s_own_handlers_are_given_it_all(
    client: Any, caplog: pytest.LogCaptureFixture
) -> None:
    client.get("/db")
    (record,) = [each for each in caplog.records if each.levelno == logging.ERROR]
    assert record.exc_info
    assert SECRET in str(record.exc_info[1])
    assert names.EXCEPTION_MESSAGE not in vars(record)
