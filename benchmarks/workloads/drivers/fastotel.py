"""fastotel: its span processor in the stock SDK, contrib's instrumentations, wired in code as it asks."""

from __future__ import annotations

from typing import Any

from drivers.otel import emit, flush

__all__ = ["emit", "flush", "instrument", "start"]


def start() -> None:
    """Makes the provider, and instruments the libraries."""
    from fastotel import OTLPSpanProcessor
    from opentelemetry import trace
    from opentelemetry.instrumentation.flask import FlaskInstrumentor
    from opentelemetry.instrumentation.redis import RedisInstrumentor
    from opentelemetry.instrumentation.sqlalchemy import SQLAlchemyInstrumentor
    from opentelemetry.sdk.trace import TracerProvider

    provider = TracerProvider()
    provider.add_span_processor(OTLPSpanProcessor())
    trace.set_tracer_provider(provider)
    FlaskInstrumentor().instrument()
    SQLAlchemyInstrumentor().instrument()
    RedisInstrumentor().instrument()


def instrument(app: Any, engine: Any) -> None:
    """Done at the start."""
