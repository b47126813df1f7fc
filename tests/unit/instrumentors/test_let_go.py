"""Switched off, the instrumentors let go of the providers that they recorded with."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import flask
import sqlalchemy as sa
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from spanwise.instrumentors.flask import FlaskInstrumentor
from spanwise.instrumentors.sqlalchemy import SQLAlchemyInstrumentor
from spanwise.meters.provider import MeterProvider
from spanwise.spans.provider import TracerProvider


def used_once(engine: sa.Engine) -> Any:
    """A weak reference to a reader whose provider was used and shut down."""
    reader = InMemoryMetricReader()
    meters = MeterProvider([reader], shutdown_on_exit=False)
    spans = TracerProvider(shutdown_on_exit=False)
    providers = {"meter_provider": meters, "tracer_provider": spans}
    instrumentors = SQLAlchemyInstrumentor(), FlaskInstrumentor()
    for instrumentor in instrumentors:
        instrumentor.instrument(**providers)
    app = flask.Flask("shop")

    @app.get("/")
    def page() -> str:
        with engine.connect() as connection:
            return str(connection.execute(sa.text("select 1")).scalar())

    with app.test_client().get("/") as answer:
        assert answer.text == "1"
    data: Any = reader.get_metrics_data()
    assert len(data.resource_metrics[0].scope_metrics) == 2
    for instrumentor in instrumentors:
        instrumentor.uninstrument()
    meters.shutdown()
    spans.shutdown()
    return weakref.ref(reader)


def test_providers_can_go() -> None:
    engine = sa.create_engine("sqlite://")
    readers = [used_once(engine) for _ in range(3)]
    for _ in range(2):  # what has a finalizer goes with the second
        gc.collect()
    assert [reader() for reader in readers] == [None] * 3
